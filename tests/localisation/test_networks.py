"""Both localisation networks; oracles: identity at first, equality of independent routes."""

import copy
import gc
import pickle
import weakref
from functools import partial

import pytest
import torch
from torch import nn

from equality import assert_identical
from spatial_transformers import (
    CPAB,
    Affine,
    Attention,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    SpatialTransformer,
)
from spatial_transformers.localisation.resize import resize

NETWORKS = {
    "cnn": LocalisationCNN,
    "cnn-norm": partial(LocalisationCNN, norm="batch"),
    "paper": LocalisationCNN.paper,
    "fcn": LocalisationFCN,
    "fcn-norm": partial(LocalisationFCN, norm="batch"),
}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
dimensions = pytest.mark.parametrize("ndim", [2, 3])

IMAGES = {
    2: [(8, 8), (9, 8), (17, 33), (28, 28), (60, 41), (225, 8), (224, 224)],
    3: [(8, 8, 8), (9, 17, 8), (30, 12, 21), (8, 64, 8)],
}


def _alive(network, ndim=2, **options):
    """A network whose θ depends on its input from the start."""
    return network(Affine(ndim), in_channels=2, perturbation=0.5, **options).eval()


def _is_fcn(network):
    return getattr(network, "func", network) is LocalisationFCN


def _narrow(network):
    return {"hidden": (5,)} if _is_fcn(network) else {"filters": (3, 4), "hidden": 5}


def _shapes(module):
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


@networks
def test_another_start(network):
    start = torch.tensor([0.5, 0.1, 0.0])
    theta = network(Attention(), in_channels=2, start=start)(torch.rand(3, 2, 20, 30))
    assert_identical(theta, start.expand(3, -1))


@networks
@dimensions
def test_identity_at_first_for_any_image(network, ndim):
    for transformation in (Affine(ndim), Attention(ndim)):
        module = network(transformation, in_channels=2, **_narrow(network))
        for size in IMAGES[ndim]:
            theta = module(torch.randn(3, 2, *size))
            assert_identical(theta, transformation.identity().expand(3, -1))


@networks
def test_signals(network):
    module = network(CPAB(4, ndim=1), in_channels=2, perturbation=0.5).eval()
    for length in (5, 64, 300):
        theta = module(torch.randn(3, 2, length))
        assert theta.shape == (3, 3)
        assert (theta[0] != theta[1]).any()
    stn = SpatialTransformer(network(CPAB(4, ndim=1), in_channels=2), CPAB(4, ndim=1))
    signal = torch.randn(3, 2, 50)
    assert_identical(stn(signal), signal)


@networks
@pytest.mark.parametrize("n", range(2, 33))
def test_any_input_size_in_2d(network, n):
    for size in ((n, n), (32, n), (n, 13)):
        module = _alive(network, input_size=size, **_narrow(network))
        image = torch.randn(2, 2, 20, 24)
        assert module(image).shape == (2, 6)
        assert_identical(module(image), module(resize(image, size)))


@networks
@pytest.mark.parametrize("n", [2, 3, 7, 13, 14, 15, 24, 32])
def test_any_input_size_in_3d(network, n):
    module = _alive(network, 3, input_size=n, **({} if _is_fcn(network) else {"filters": 4}))
    image = torch.randn(1, 2, 9, 12, 10)
    assert module(image).shape == (1, 12)
    assert_identical(module(image), module(resize(image, (n, n, n))))


@networks
@dimensions
def test_theta_depends_on_the_image_and_on_every_parameter(network, ndim):
    module = _alive(network, ndim)
    theta = module(torch.randn(4, 2, *[20] * ndim))
    assert (theta[0] - theta[1]).abs().max() > 1e-3
    theta.square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.any(), name


@networks
@dimensions
def test_not_dead_after_one_step(network, ndim):
    module = network(Affine(ndim), in_channels=2)
    image, target = torch.randn(4, 2, *[12] * ndim), torch.randn(4, module.head.bias.numel())
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for alive in (False, True):
        optimiser.zero_grad()
        (module(image) - target).square().mean().backward()
        assert module.head.weight.grad.any()
        assert bool(next(module.body.parameters()).grad.any()) == alive
        optimiser.step()


@networks
@dimensions
def test_state_loads_elsewhere(network, ndim):
    module, other = _alive(network, ndim), _alive(network, ndim)
    image = torch.randn(2, 2, *[20] * ndim)
    assert not torch.equal(other(image), module(image))
    other(torch.randn(2, 2, *[33] * ndim))  # an image of another size leaves no trace
    other.load_state_dict(module.state_dict())
    assert_identical(other(image), module(image))


@networks
@dimensions
def test_parameters_do_not_depend_on_options_of_no_concern(network, ndim):
    module = network(Affine(ndim), in_channels=1)
    base, size = _shapes(module), module.input_size[0]
    assert _shapes(network(Affine(ndim), in_channels=1, input_size=size)) == base
    assert _shapes(network(Affine(ndim), in_channels=1, perturbation=0.1)) == base


@networks
@dimensions
@pytest.mark.parametrize("by_context", [False, True])
def test_built_on_meta_then_loaded(network, ndim, by_context):
    module, image = _alive(network, ndim), torch.randn(2, 2, *[20] * ndim)
    with torch.device("meta" if by_context else "cpu"):
        empty = _alive(network, ndim, device=None if by_context else "meta")
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    empty.load_state_dict(module.state_dict(), assign=True)
    assert_identical(empty(image), module(image))


@networks
def test_copies(network):
    module, image = _alive(network), torch.randn(2, 2, 20, 20)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_identical(twin(image), module(image))


@networks
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_theta_is_float32_or_better(network, dtype):
    image = torch.randn(2, 2, 20, 20)
    wide = torch.promote_types(dtype, torch.float32)
    assert _alive(network, dtype=dtype)(image.to(dtype)).dtype == wide
    assert _alive(network).to(dtype)(image.to(dtype)).dtype == wide
    with torch.autocast("cpu", torch.bfloat16):
        assert _alive(network)(image).dtype == torch.float32


@networks
def test_no_reference_to_the_transformation_is_kept(network):
    transformation = Affine()
    module = network(transformation, in_channels=1)
    gone = weakref.ref(transformation)
    del transformation
    gc.collect()
    assert gone() is None
    assert not any(isinstance(part, Affine) for part in module.modules())


def test_widths_of_the_paper_and_others():
    shapes = _shapes(LocalisationFCN(Affine(), in_channels=1, input_size=8, hidden=(5, 7)))
    said = (7,)  # multiplier and start
    assert list(shapes.values()) == [(5, 64), (5,), (7, 5), (7,), (6, 7), (6,), said]
    shapes = _shapes(LocalisationCNN.paper(Affine(), in_channels=3, filters=4, hidden=9))
    assert list(shapes.values()) == [
        *[(4, 3, 5, 5), (4,), (4, 4, 5, 5), (4,)],
        *[(9, 4 * 10 * 10), (9,), (6, 9), (6,), said],
    ]
    options = {"filters": (3, 4, 5), "hidden": 9, "norm": None, "input_size": 60}
    shapes = _shapes(LocalisationCNN(Affine(), in_channels=2, **options))
    assert list(shapes.values()) == [
        *[(3, 2, 5, 5), (3,), (4, 3, 5, 5), (4,), (5, 4, 5, 5), (5,)],
        *[(9, 5 * 4 * 4), (9,), (6, 9), (6,), said],
    ]


@pytest.mark.parametrize(
    ("size", "network", "padding"),
    [
        (14, LocalisationCNN.paper, 0),
        (13, LocalisationCNN.paper, 2),
        ((13, 40), LocalisationCNN.paper, 2),
        ((14, 40), LocalisationCNN.paper, 0),
        (16, LocalisationCNN, 0),
        (15, LocalisationCNN, 2),
    ],
)
def test_small_inputs_keep_their_size(size, network, padding):
    module = network(Affine(), in_channels=1, input_size=size)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert [convolution.padding for convolution in convolutions] == [(padding, padding)] * 2


@dimensions
@pytest.mark.parametrize("name", ["cnn-norm", "fcn-norm"])
def test_batch_norm_is_state_that_travels(name, ndim):
    module, other = (_alive(NETWORKS[name], ndim) for _ in range(2))
    image = torch.randn(4, 2, *[20] * ndim)
    before = module(image)
    module.train()(image * 3 + 1)
    after = module.eval()(image)
    assert not torch.equal(after, before)
    other.load_state_dict(module.state_dict())
    assert_identical(other(image), after)


@pytest.mark.traced
@networks
@pytest.mark.parametrize("wrong", [0, (8, 8, 8), (8, 0)])
def test_an_input_size_that_is_none(network, wrong):
    with pytest.raises(InputError, match=r"give \(H, W\), each at least 1 pixel"):
        network(Affine(), in_channels=1, input_size=wrong)


@pytest.mark.traced
@pytest.mark.parametrize("wrong", [1, (1, 8), (8, 1)])
def test_one_pixel_is_too_little_for_the_cnn(wrong):
    with pytest.raises(InputError, match="give 2 pixels or more"):
        LocalisationCNN(Affine(), in_channels=1, input_size=wrong)
