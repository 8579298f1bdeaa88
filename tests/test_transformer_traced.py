"""The spatial transformer's errors, and traced or transformed; oracles: eager, differences."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, vmap
from torch.testing import assert_close

from spatial_transformers import (
    Affine,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    Sampler,
    SpatialTransformer,
)
from tracing import compile_and_compare, export_and_compare, jvp_and_compare

pytestmark = pytest.mark.traced

dimensions = pytest.mark.parametrize("ndim", [2, 3])
starts = pytest.mark.parametrize("perturbation", [0.0, 0.3])  # all on kinks, and none

BIAS = "localisation.head.bias"
SIZES = ((12, 9, 10), (17, 14, 11), (8, 23, 13), (30, 8, 8))


def _stn(ndim, network=LocalisationCNN, perturbation=0.3, size=None, **options):
    affine = Affine(ndim)
    localisation = network(
        affine, in_channels=1, input_size=8, perturbation=perturbation, lr_multiplier=1.0
    )
    return SpatialTransformer(localisation, affine, Sampler(**options), size=size)


def _cases(ndim, dtype, batches=(2, 3, 1, 4)):
    sizes = [size[:ndim] for size in SIZES[: len(batches)]]
    return [(torch.randn(n, 1, *s, dtype=dtype),) for n, s in zip(batches, sizes, strict=True)]


def _loss_of_bias(stn, image):
    def loss(bias):
        return functional_call(stn, {BIAS: bias}, (image,)).square().sum()

    return loss


class Returns(nn.Module):
    """A localisation network that returns whatever it was given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, image):
        return self.value


class Posed(nn.Module):
    """A network that starts at identity, with every other image of a batch put in a pose."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("pose", 0.2 * torch.randn_like(network.head.bias))

    def forward(self, image):
        odd = torch.arange(len(image))[:, None] % 2
        return self.network(image) + odd * self.pose


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((torch.zeros(2, 6), None), r"Returns returned tuple; .*one tensor \(N, P\)"),
        (None, "Returns returned NoneType"),
        (torch.zeros(2, 3), r"theta of shape \(2, 3\); give \(N, 6\).*m11 m12 tx"),
        (torch.zeros(2, 2, 3), r"theta of shape \(2, 2, 3\)"),
        (torch.ones(2, 6, dtype=torch.int64), "torch.int64 theta; give a floating dtype"),
        (torch.zeros(3, 6), "by theta was asked with batches of 2 and 3"),
    ],
)
def test_a_wrong_localisation_output(value, message):
    stn = SpatialTransformer(Returns(value), Affine())
    with pytest.raises(InputError, match=message):
        stn(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (4, 4, 4)}, r"give \(H, W\)"),
        ({"size": 0}, "at least 1 pixel"),
        ({"mode": "cubist"}, "'cubist' was asked for; known modes"),
        ({"padding_mode": "wool"}, "'wool' was asked for; known"),
        ({"padding_mode": "constant"}, "without a fill_value"),
        ({"fill_value": 1.0}, "goes with 'constant'"),
    ],
)
def test_wrong_options_are_refused_when_building(options, message):
    size = options.pop("size", None)
    with pytest.raises(InputError, match=message):
        SpatialTransformer(nn.Identity(), Affine(), Sampler(**options), size=size)


def test_wrong_images():
    with pytest.raises(InputError, match="asked to warp an image of shape"):
        _stn(2).warp(torch.zeros(2, 1, 8, 8, 8), torch.zeros(2, 6))
    with pytest.raises(InputError, match="use mode='nearest'"):
        _stn(2).warp(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, 6))


@pytest.mark.costly
@starts
@dimensions
def test_compile(ndim, perturbation):
    size = 7 if perturbation else None
    stn = _stn(ndim, perturbation=perturbation, size=size).double()
    compile_and_compare(stn, _cases(ndim, torch.float64, (2, 3)))


# In 2-D the cpu backend's own test compiles by inductor.
@pytest.mark.parametrize("ndim", [pytest.param(2, marks=pytest.mark.only_all), 3])
def test_compile_by_inductor(ndim):
    stn = _stn(ndim, LocalisationFCN, perturbation=0.0)
    stn.localisation = Posed(stn.localisation)
    compile_and_compare(stn.double(), _cases(ndim, torch.float64, (2, 3)), backend="inductor")


@pytest.mark.costly
@dimensions
@pytest.mark.parametrize("network", [LocalisationCNN, LocalisationFCN])
@pytest.mark.parametrize("size", [None, 7])
def test_export(ndim, network, size):
    stn, axes = _stn(ndim, network, size=size).double(), (0, *range(2, ndim + 2))
    export_and_compare(stn, _cases(ndim, torch.float64), [axes])


@dimensions
def test_vmap_over_images(ndim):
    stn, ((image,),) = _stn(ndim), _cases(ndim, torch.float32, (4,))
    found = vmap(lambda u: stn(u[None])[0])(image)
    assert_close(found, stn(image))


def test_vmap_over_theta():
    stn, image, theta = _stn(2), torch.randn(1, 1, 12, 9), torch.randn(5, 6)
    found = vmap(lambda t: stn.warp(image, t[None])[0])(theta)
    assert_close(found, stn.warp(image, theta))


def test_ensemble_by_stacked_parameters():
    members, image = [_stn(2) for _ in range(3)], torch.randn(2, 1, 12, 9)
    parameters, buffers = torch.func.stack_module_state(members)
    found = vmap(lambda p, b: functional_call(members[0], (p, b), (image,)))(parameters, buffers)
    assert_close(found, torch.stack([member(image) for member in members]))


@dimensions
def test_hessian_in_theta(ndim):
    stn, ((image,),) = _stn(ndim, size=4).double(), _cases(ndim, torch.float64, (2,))
    loss, bias, step = _loss_of_bias(stn, image), stn.get_parameter(BIAS).detach(), 1e-6
    gradient = torch.func.grad(loss)
    columns = [
        (gradient(bias + step * e) - gradient(bias - step * e)) / (2 * step)
        for e in torch.eye(len(bias), dtype=bias.dtype)
    ]
    found = hessian(loss)(bias)
    assert found.abs().min() > 1e-3  # no entry of it is trivially right
    assert_close(found, torch.stack(columns, -1), rtol=1e-6, atol=1e-6)


@dimensions
def test_second_backward_is_the_hessian(ndim):
    stn, ((image,),) = _stn(ndim, size=4).double(), _cases(ndim, torch.float64, (2,))
    bias = stn.get_parameter(BIAS)
    (gradient,) = torch.autograd.grad(stn(image).square().sum(), bias, create_graph=True)
    rows = [torch.autograd.grad(g, bias, retain_graph=True)[0] for g in gradient]
    assert_close(torch.stack(rows), hessian(_loss_of_bias(stn, image))(bias.detach()))


@dimensions
def test_forward_mode(ndim):
    stn, ((image,),) = _stn(ndim, size=4).double(), _cases(ndim, torch.float64, (2,))
    jvp_and_compare(stn, image)
    bias = stn.get_parameter(BIAS).detach()
    jvp_and_compare(lambda b: functional_call(stn, {BIAS: b}, (image,)), bias)
