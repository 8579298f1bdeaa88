"""The spatial transformer as a module in networks; oracles: ramps, and `warp` by the same θ."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    KERNELS,
    Affine,
    Attention,
    Compose,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    PiecewiseAffine,
    Sampler,
    SpatialTransformer,
    ThinPlateSpline,
    warp,
)


class Constant(nn.Module):
    """A localisation network that predicts given numbers."""

    def __init__(self, theta):
        super().__init__()
        self.register_buffer("theta", theta)

    def forward(self, image):
        return self.theta


corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])

SIZE = (12, 15, 10)


def _at_identity(ndim=2, network=LocalisationFCN, transformation=Affine, size=None, **options):
    transformation = transformation(ndim)
    localisation = network(transformation, in_channels=2, input_size=8, lr_multiplier=1.0)
    return SpatialTransformer(localisation, transformation, Sampler(**options), size=size)


def _posed(ndim=2, **options):
    """A transformer whose θ depends on its input and is not the identity."""
    stn = _at_identity(ndim, **options)
    with torch.no_grad():
        for parameter in stn.localisation.head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return stn


def _image(ndim=2, n=3, dtype=torch.float32):
    return torch.randn(n, 2, *SIZE[:ndim], dtype=dtype)


def test_options_of_the_sampler_reach_it_and_are_learned():
    """A Φ and a fill are parameters; masks are sampled by their own kernel, never antialiased."""
    image, fill = _image(), nn.Parameter(torch.tensor([0.5, -0.5]))
    options = {"padding_mode": "constant", "antialias": 3}
    kernel = KERNELS["gaussian"].learnable()
    stn = _posed(size=5, mode=kernel, fill_value=fill, **options)
    found, theta = stn(image, return_theta=True)
    due = warp(
        image, theta, stn.transformation, size=5, mode="gaussian", fill_value=fill, **options
    )
    assert_close(found, due)
    assert {"sampler.mode.phi", "sampler.fill_value"} <= {
        name for name, _ in stn.named_parameters()
    }
    found.square().sum().backward()
    assert kernel.phi.grad.any()
    assert fill.grad.all()
    assert "antialias=3" in repr(stn)
    mask = torch.randint(9, (3, 1, 12, 15), dtype=torch.uint8)
    assert_identical(
        stn.warp(mask, theta, mode="nearest", padding_mode="zeros"),
        warp(mask, theta, stn.transformation, size=5, mode="nearest"),
    )


@corners
@dimensions
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_starts_by_returning_its_input_bit_for_bit(ndim, padding_mode, align_corners):
    for network, transformation in ((LocalisationFCN, Affine), (LocalisationCNN, Attention)):
        options = {"padding_mode": padding_mode, "align_corners": align_corners}
        stn = _at_identity(ndim, network, transformation, **options)
        for mode in ("bilinear", "nearest"):
            stn.sampler = Sampler(mode, **options)
            image = _image(ndim)
            assert_identical(stn(image), image)
    large = torch.randn(1, 2, *(224, 161) if ndim == 2 else (31, 20, 33))
    assert_identical(stn(large), large)


@pytest.mark.parametrize("size", [(28, 28), (5, 40), 7, [1, 1], torch.Size((3, 2))])
def test_output_size_is_free(size):
    stn = _at_identity(size=size)
    assert stn(_image()).shape[2:] == ((7, 7) if size == 7 else tuple(size))


@dimensions
def test_return_theta(ndim):
    stn, image = _posed(ndim), _image(ndim)
    warped, theta = stn(image, return_theta=True)
    assert_identical(theta, stn.localisation(image))
    assert_identical(warped, stn(image))
    assert_identical(warped, stn.warp(image, theta))
    assert_identical(warped, warp(image, theta, stn.transformation))


def test_options_reach_the_sampler():
    options = {
        "mode": "nearest",
        "padding_mode": "constant",
        "fill_value": [7.0, -7.0],
        "align_corners": True,
        "backend": "reference",
    }
    stn, image, theta = _posed(size=(9, 20), **options), _image(), torch.randn(3, 6)
    expected = warp(image, theta, Affine(), size=(9, 20), **options)
    assert_identical(stn.warp(image, theta), expected)
    assert (expected[:, 0] == 7).any()
    bilinear = warp(image, theta, Affine(), size=(9, 20), **(options | {"mode": "bilinear"}))
    assert_identical(stn.warp(image, theta, mode="bilinear"), bilinear)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_padding_reaches_the_sampler(padding_mode):
    stn, image, theta = _posed(padding_mode=padding_mode), _image(), torch.randn(3, 6)
    expected = warp(image, theta, Affine(), padding_mode=padding_mode)
    assert_identical(stn.warp(image, theta), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.int16])
def test_integer_masks_go_along(dtype):
    stn, image = _posed(), _image()
    _, theta = stn(image, return_theta=True)
    mask = torch.randint(0, 100, (3, 1, *SIZE[:2])).to(dtype)
    warped = stn.warp(mask, theta, mode="nearest")
    assert warped.dtype == dtype
    assert_identical(warped.double(), stn.warp(mask.double(), theta, mode="nearest"))
    assert not torch.equal(warped, mask)


def _ramp(height, width):
    """An image whose channels are its own normalised coordinates."""
    y = (torch.arange(height).double() + 0.5) * 2 / height - 1
    x = (torch.arange(width).double() + 0.5) * 2 / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])[None]


def test_theta_holds_at_every_resolution():
    """Within the image, a ramp in normalised coordinates is sampled at T_θ(G) itself."""
    theta = torch.tensor([[0.5, -0.2, 0.1, 0.3, 0.4, -0.1]]).double()
    stn = _at_identity(size=(16, 24))
    expected = Affine().grid(theta, (16, 24)).movedim(-1, 1)
    for resolution in ((40, 40), (80, 60), (333, 41)):
        assert_close(stn.warp(_ramp(*resolution), theta), expected)


def test_without_a_size_the_other_image_keeps_its_own():
    assert _at_identity().warp(torch.rand(3, 1, 50, 70), torch.zeros(3, 6)).shape[2:] == (50, 70)


@dimensions
def test_first_layer_and_between_layers(ndim):
    conv = nn.Conv2d if ndim == 2 else nn.Conv3d
    first, between = _at_identity(ndim), _at_identity(ndim, size=6)
    model = nn.Sequential(
        first, conv(2, 2, 3), nn.Tanh(), between, nn.Flatten(), nn.Linear(2 * 6**ndim, 4)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    image, losses = _image(ndim), []
    for _ in range(5):
        loss = F.cross_entropy(model(image), torch.arange(3))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name  # the localisation networks too are alive
    for stn in (first, between):
        assert not torch.equal(stn.localisation.head.bias, stn.transformation.identity())


def test_copies():
    stn, image = _posed(size=(9, 9), padding_mode="constant", fill_value=2.0), _image()
    saved = io.BytesIO()
    torch.save(stn, saved)
    saved.seek(0)
    twins = (
        copy.deepcopy(stn),
        pickle.loads(pickle.dumps(stn)),
        torch.load(saved, weights_only=False),
    )
    for twin in twins:
        assert_identical(twin(image), stn(image))
        assert repr(twin) == repr(stn)


def test_state_is_that_of_the_localisation_alone():
    stn, other = _posed(), _posed(size=(5, 5))
    others = [name for name in stn.state_dict() if not name.startswith("localisation.")]
    assert others == ["_extra_state"]  # what θ means
    other.load_state_dict(stn.state_dict())
    other.size = None
    image = _image()
    assert_identical(other(image), stn(image))


@pytest.mark.parametrize("family", [ThinPlateSpline, PiecewiseAffine])
def test_bounds_hold_once_after_a_state_is_loaded(family):
    """Families of points set their bounds anew, about the points of the state."""
    bounded, image = family(3, bounds=(-0.1, 0.1)), _image()
    localisation = LocalisationFCN(bounded, in_channels=2, perturbation=0.1, input_size=8)
    stn = SpatialTransformer(localisation, bounded).eval()
    before = stn(image)
    stn.load_state_dict(stn.state_dict())
    assert_identical(stn(image), before)


@dimensions
def test_built_on_meta_then_loaded(ndim):
    stn, image = _posed(ndim), _image(ndim)
    with torch.device("meta"):
        empty = _at_identity(ndim)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    empty.load_state_dict(stn.state_dict(), assign=True)
    assert_identical(empty(image), stn(image))


def test_any_module_is_a_localisation_network():
    image = _image()
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 15, 3))
    stn = SpatialTransformer(linear, Attention(), Sampler(), reach=None)
    warped, theta = stn(image, return_theta=True)
    assert_identical(theta, linear(image))
    assert_identical(warped, warp(image, linear(image), Attention()))


def test_repr_tells_options():
    shown = repr(_at_identity(size=9, padding_mode="constant", fill_value=2.0))
    for part in ("size=(9, 9)", "mode='bilinear'", "fill_value=2.0", "Affine(ndim=2)"):
        assert part in shown


def test_a_state_whose_theta_means_something_else_is_refused():
    """Entries of a matrix read as angles would move every image, without a word."""
    matrix, parts = Affine(), Affine(parameters="geometric")
    states = [
        SpatialTransformer(LocalisationFCN(family, in_channels=2, input_size=8), family)
        for family in (matrix, parts, Affine(bounds={"tx": (-1.0, 1.0)}))
    ]
    for stn in states:
        for other in states:
            if stn is other:
                stn.load_state_dict(other.state_dict())
            else:
                with pytest.raises(InputError, match=r"whose theta means .*Affine \("):
                    stn.load_state_dict(other.state_dict())
    old = {k: v for k, v in states[0].state_dict().items() if k != "_extra_state"}
    states[1].load_state_dict(old)  # which does not say


@pytest.mark.parametrize("kind", [Affine, Attention])
def test_theta_is_what_is_used(kind):
    """Under bounds the numbers of the network are others: 241 where the bound is ±1.5."""
    bounded, far = kind(bounds=(-1.5, 1.5)), 240 * torch.randn(3, kind().num_parameters)
    image = _image()
    stn = SpatialTransformer(Constant(far), bounded, Sampler(), reach=None)
    warped, theta = stn(image, return_theta=True)
    assert theta.abs().max() <= 1.5
    assert_identical(theta, bounded.values(far))
    assert_identical(warped, warp(image, far, bounded))
    assert_identical(warped, stn.warp(image, theta))
    assert_identical(warped, warp(image, theta, kind()))
    assert_identical(stn.transformation.values(theta), theta)


def test_theta_is_what_is_used_by_joined_transformations():
    joined = Compose(Attention(bounds={"s": (0.2, 2.0)}), Affine(bounds=(-1.5, 1.5)))
    far, image = 30 * torch.randn(3, 9), _image()
    stn = SpatialTransformer(Constant(far), joined, Sampler(), reach=None)
    warped, theta = stn(image, return_theta=True)
    assert (theta[:, 0] >= 0.2).all()
    assert (theta[:, 3:].abs() <= 1.5).all()
    assert_identical(warped, warp(image, far, joined))
    assert_identical(warped, stn.warp(image, theta))
    assert_identical(joined.values(far), theta)  # its own bounds are where they were


def test_a_bounded_transformer_is_copied_and_moved():
    bounded = Affine(bounds=(-1.5, 1.5))
    localisation = LocalisationFCN(bounded, in_channels=2, input_size=8, perturbation=9.0)
    stn, image = SpatialTransformer(localisation, bounded), _image()
    for twin in (copy.deepcopy(stn), pickle.loads(pickle.dumps(stn))):
        assert_identical(twin.eval()(image), stn.eval()(image))
    double = copy.deepcopy(stn).double()
    assert_close(double(image.double()).float(), stn(image), rtol=0, atol=1e-3)
