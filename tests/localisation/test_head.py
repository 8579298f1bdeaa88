"""The regression layer: identity at first, alive, precise; oracle: the layer's own definition."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, Attention, InputError, RegressionHead

transformations = pytest.mark.parametrize(
    "transformation", [Affine(), Affine(3), Attention(), Attention(3)], ids=repr
)


def _randomised(transformation, in_features=16, **options):
    head = RegressionHead(in_features, transformation, **options)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def _assert_at_identity(head, transformation, features):
    expected = transformation.identity().expand(len(features), -1)
    assert_identical(head(features), expected)


@transformations
def test_identity_at_first(transformation):
    head = RegressionHead(32, transformation)
    _assert_at_identity(head, transformation, torch.randn(5, 32) * 100)


@transformations
def test_theta_is_linear_in_the_features(transformation):
    head, features = _randomised(transformation), torch.randn(5, 16)
    assert_close(head(features), features @ head.weight.mT + head.bias)


def test_alive_at_the_start():
    head = RegressionHead(32, Affine())
    features = torch.randn(5, 32)
    head(features).square().sum().backward()
    assert_close(head.weight.grad, 2 * Affine().identity()[:, None] * features.sum(0))
    assert_close(head.bias.grad, 10 * Affine().identity())


def test_features_get_a_gradient_after_one_step():
    head = RegressionHead(32, Affine())
    features = torch.randn(5, 32, requires_grad=True)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    F.mse_loss(head(features), torch.randn(5, 6)).backward()
    assert not features.grad.any()
    optimiser.step()
    F.mse_loss(head(features), torch.randn(5, 6)).backward()
    assert features.grad.ne(0).all()


def test_another_start():
    start = torch.tensor([0.5, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    head = RegressionHead(32, Attention(), start=start)
    for _ in range(2):
        assert_identical(head(torch.randn(5, 32)), start.detach().float().expand(5, -1))
        head.bias.data.normal_()
        head.reset_parameters()
    assert len(list(head.parameters())) == 2


def test_a_start_that_is_no_theta_is_refused():
    nan = torch.tensor([1.0, float("nan"), 0])
    for start in (torch.zeros(6), torch.zeros(0, 3), torch.zeros(1, 1, 3), nan):
        with pytest.raises(InputError, match=r"start of shape .*; give Attention\(.* 3 finite"):
            RegressionHead(32, Attention(), start=start)


@pytest.mark.parametrize("perturbation", [0.01, 0.3])
def test_perturbation_is_the_standard_deviation_of_theta(perturbation):
    head = RegressionHead(4096, Affine(3), perturbation=perturbation)
    theta = head(torch.randn(2000, 4096)) - Affine(3).identity()
    assert_close(theta.std(), torch.tensor(perturbation), rtol=0.03, atol=0)
    assert theta.mean().abs() < 0.03 * perturbation


def test_reset_returns_to_the_identity():
    head = _randomised(Affine())
    head.reset_parameters()
    _assert_at_identity(head, Affine(), torch.randn(5, 16))


def test_materialised_from_meta():
    head = RegressionHead(16, Affine(), device="meta")
    assert head.weight.is_meta
    assert head.bias.is_meta
    head.to_empty(device="cpu").reset_parameters()
    _assert_at_identity(head, Affine(), torch.randn(5, 16))


def test_under_a_meta_device():
    with torch.device("meta"):
        head = RegressionHead(16, Affine())
    assert head.weight.is_meta
    head.load_state_dict(_randomised(Affine()).state_dict(), assign=True)
    assert not head.weight.is_meta
    head.reset_parameters()
    _assert_at_identity(head, Affine(), torch.randn(5, 16))


def test_autocast_changes_nothing():
    head, features = _randomised(Affine()), torch.randn(5, 16)
    expected = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(features)
    assert found.dtype == torch.float32
    assert_identical(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_from_parameters_of_lower_precision(dtype):
    head, features = _randomised(Affine()).to(dtype), torch.randn(5, 16).to(dtype)
    wide = copy.deepcopy(head).float()
    assert head(features).dtype == torch.float32
    assert_identical(head(features), wide(features.float()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_of_the_parameters(dtype):
    head = RegressionHead(16, Affine(), dtype=dtype)
    assert {parameter.dtype for parameter in head.parameters()} == {dtype}
    assert head(torch.randn(5, 16, dtype=torch.float64)).dtype == torch.float64


def test_no_reference_to_the_transformation_is_kept():
    transformation = Affine()
    head = RegressionHead(16, transformation)
    gone = weakref.ref(transformation)
    del transformation
    gc.collect()
    assert gone() is None
    assert not any(isinstance(m, Affine) for m in head.modules())


def test_state_is_weight_and_bias_and_what_they_mean():
    head = RegressionHead(16, Attention(), lr_multiplier=0.25)
    state = head.state_dict()
    assert [*state] == ["weight", "bias", "_extra_state"]
    assert state["_extra_state"].tolist() == [0.25, 1, 0, 0]


@pytest.mark.parametrize("multiplier", [1.0, 0.1])
@pytest.mark.parametrize("other_multiplier", [1.0, 0.1])
@pytest.mark.parametrize("maps", [(), (1,), (2,)], ids=str)
def test_a_state_predicts_the_same_whatever_the_start_was(multiplier, other_multiplier, maps):
    """And a head that is started anew begins where the one that was saved began."""
    first, other = torch.rand(*maps, 3), torch.rand(*maps, 3)
    trained = RegressionHead(4, Attention(), start=first, lr_multiplier=multiplier)
    with torch.no_grad():
        trained.weight.normal_()
        trained.bias.add_(torch.randn_like(trained.bias))
    fresh = RegressionHead(4, Attention(), start=other, lr_multiplier=other_multiplier)
    fresh.load_state_dict(trained.state_dict())
    features = torch.rand(5, 4)
    assert_close(fresh(features), trained(features), rtol=0, atol=1e-5)
    fresh.reset_parameters()
    assert_close(fresh(features), first.expand(5, *first.shape))


def test_a_state_without_what_it_means_is_one_of_multiplier_1():
    old = RegressionHead(4, Attention())
    with torch.no_grad():
        old.weight.normal_()
        old.bias.normal_()
    state = {"weight": old.weight, "bias": old.bias}
    slow = RegressionHead(4, Attention(), start=torch.rand(3), lr_multiplier=0.1)
    slow.load_state_dict(state)
    features = torch.rand(5, 4)
    assert_close(slow(features), old(features), rtol=0, atol=1e-5)


def test_a_state_of_another_width_is_refused():
    state = RegressionHead(4, Affine()).state_dict()
    with pytest.raises(InputError, match="predicts 6 numbers, into one that predicts 3"):
        RegressionHead(4, Attention()).load_state_dict(state)


def test_repr_tells_widths():
    assert repr(RegressionHead(16, Attention())) == "RegressionHead(16, Attention(ndim=2))"
