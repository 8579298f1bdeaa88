"""Bounded entries; oracles: arctan in NumPy, gradients, bounds that a user reads off."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, Attention, InputError
from spatial_transformers.grid.bounds import Squash
from tracing import compile_and_compare, export_and_compare

NAMES = ("a", "b", "c", "d")
START = torch.tensor([0.0, 1.0, -0.3, 0.7])
#: Two-sided and not symmetric, below only, above only, none.
BOUNDS = {"a": (-2.0, 0.5), "b": (0.1, None), "c": (None, 0.4), "d": (None, None)}


def _squash(bounds=BOUNDS, start=START):
    return Squash(bounds, NAMES[: len(start)], start, "It")


def _limits(dtype):
    low = [-math.inf if BOUNDS[name][0] is None else BOUNDS[name][0] for name in NAMES]
    high = [math.inf if BOUNDS[name][1] is None else BOUNDS[name][1] for name in NAMES]
    return torch.tensor(low, dtype=dtype), torch.tensor(high, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_is_exact_and_has_slope_1(dtype):
    theta = START.to(dtype)[None].requires_grad_()
    for function in (_squash(), _squash().inverse):
        values = function(theta)
        assert_identical(values.detach(), theta.detach())
        (slope,) = torch.autograd.grad(values.sum(), theta)
        assert_close(slope, torch.ones_like(slope), rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_values_are_the_stated_squash():
    theta = 3 * torch.randn(500, 4, dtype=torch.float64)
    away, start = theta.numpy() - START.double().numpy(), START.double().numpy()
    expected = theta.numpy().copy()
    for i, name in enumerate(NAMES):
        for bound, side in zip(BOUNDS[name], (away[:, i] <= 0, away[:, i] > 0), strict=True):
            if bound is not None:
                span = abs(bound - start[i])
                expected[side, i] = start[i] + span * 2 / np.pi * np.arctan(
                    np.pi / 2 * away[side, i] / span
                )
    np.testing.assert_allclose(_squash()(theta).numpy(), expected, rtol=0, atol=1e-14)


def test_a_side_without_a_bound_reads_theta_itself():
    theta = torch.tensor([[1e-9, 1.7e9, -1e9, 1e-30]])
    free = torch.tensor([False, True, True, True])
    assert_identical(_squash()(theta)[:, free], theta[:, free])
    assert_identical(_squash().inverse(theta)[:, free], theta[:, free])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_theta_stay_within_bounds_to_the_last_bit(dtype):
    n = 2000
    start, names = torch.randn(n), [str(i) for i in range(n)]
    low, high = start - 3 * torch.rand(n).double().exp(), start + torch.rand(n).double().exp()
    pairs = dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    squash = Squash(pairs, names, start, "It")
    theta = torch.tensor([5.0, 20.0, 1e30, torch.inf], dtype=dtype)[:, None].expand(-1, n)
    for sign in (1, -1):
        values = squash(sign * theta)
        assert ((values >= low.to(dtype)) & (values <= high.to(dtype))).all()
    assert_close(squash(theta)[-1], high.to(dtype), rtol=0, atol=8 * torch.finfo(dtype).eps)
    assert_close(squash(-theta)[-1], low.to(dtype), rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_values_grow_with_theta_and_gradients_stay_finite():
    theta = torch.linspace(-40, 40, 4001, dtype=torch.float64)[:, None].repeat(1, 4)
    theta[:2] = torch.tensor([[-torch.inf], [-1e300]])
    theta.requires_grad_()
    values = _squash()(theta)
    assert (values.detach().diff(dim=0)[1:] >= 0).all()
    (slope,) = torch.autograd.grad(values.sum(), theta)
    assert ((slope >= 0) & (slope <= 1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_slope_leads_back_from_wherever_theta_is(dtype):
    """A θ of 241 where the bound is ±1.5 would have no gradient at all under tanh."""
    far = torch.tensor([1e1, 2.41e2, 1e6], dtype=dtype)
    theta = torch.cat((far, -far))[:, None].requires_grad_()
    squash = Squash((-1.5, 1.5), ["a"], torch.zeros(1), "It")
    (slope,) = torch.autograd.grad(squash(theta).sum(), theta)
    assert (slope > 0).all()
    expected = 1 / (1 + (np.pi / 2 * theta.detach().double() / 1.5) ** 2)
    assert_close(slope.double(), expected, rtol=1e-5, atol=0)


def test_the_inverse_keeps_its_digits_near_a_bound():
    values = torch.tensor([[1 - 2.0**-20], [2.0**-20 - 1]])
    squash = Squash((-1, 1), ["a"], torch.zeros(1), "It")
    expected = 2 / np.pi * np.tan(np.pi / 2 * values.double().numpy())
    np.testing.assert_allclose(squash.inverse(values).numpy(), expected, rtol=1e-6)


def test_nan_passes():
    assert _squash()(torch.full((1, 4), torch.nan)).isnan().all()


def test_the_inverse_has_a_gradient_at_a_distance_of_1_on_a_free_side():
    values = torch.tensor([[0.1, 2.0, -50.0, 50.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(_squash().inverse(values).sum(), values)
    turned = math.cos(math.pi / 2 * 0.2)  # 0.1 of 0.5
    assert_close(slope, torch.tensor([[turned**-2, 1, 1, 1]]))


def test_inverse_undoes_and_leaves_the_bounds_with_nan():
    theta = START.double() + torch.randn(200, 4, dtype=torch.float64)
    assert_close(_squash().inverse(_squash()(theta)), theta, rtol=0, atol=1e-9)
    low, high = _limits(torch.float64)
    assert _squash().inverse(low[None])[0, :2].tolist() == [-math.inf] * 2
    assert _squash().inverse(high[None])[0, [0, 2]].tolist() == [math.inf] * 2
    assert _squash().inverse(low[None] - 0.1)[0, :2].isnan().all()
    assert _squash().inverse(high[None] + 0.1)[0, [0, 2]].isnan().all()


@pytest.mark.parametrize("away", [0.0, 0.3, -0.3, 3.0])
def test_first_and_second_derivatives(away):
    theta = (START.double() + away)[None].requires_grad_()
    assert gradcheck(_squash(), theta)
    assert gradgradcheck(_squash(), theta)
    values = _squash()((START.double() + away / 10)[None]).requires_grad_()
    assert gradcheck(_squash().inverse, values)
    assert gradgradcheck(_squash().inverse, values)


def test_one_pair_bounds_all_entries():
    start = torch.tensor([0.0, 0.5])
    values = _squash((-1, 2), start)(torch.tensor([[9e9, -9e9], [-9e9, 9e9]]))
    assert values.tolist() == [[2, -1], [-1, 2]]


def test_bounds_of_the_caller_are_copied():
    bounds = {"a": (-1.0, 1.0)}
    squash = _squash(bounds)
    bounds["a"] = (-9.0, 9.0)
    assert squash.bounds == {"a": (-1.0, 1.0)}


def test_a_scale_stays_above_its_bound():
    attention = Attention(bounds={"s": (0.1, None)})
    theta = torch.tensor([[-1e9, 5.0, -5.0], [7.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert_close(attention.values(theta)[:, 0], torch.tensor([0.1, 7.0, 1.0]))
    assert (attention.values(theta)[0, 0] >= 0.1).all()
    assert_identical(attention.values(theta)[:, 1:], theta[:, 1:])
    assert_identical(attention.describe(theta)["scale"], attention.values(theta)[:, 0])
    assert_identical(attention.matrix(theta)[:, 0, 0], attention.values(theta)[:, 0])
    back = attention.from_matrix(attention.matrix(theta[1:]))
    assert_close(back, theta[1:])
    assert repr(attention) == "Attention(ndim=2, bounds={'s': (0.1, None)})"


def _upright():
    bounds = {"rotation": (-math.pi / 2, math.pi / 2), "sx": (0.1, 3)}
    return Affine(parameters="geometric", bounds=bounds)


def test_geometric_parts_stay_within_their_bounds():
    affine = _upright()
    theta = affine.identity() + 100 * torch.randn(100, 6)
    values = affine.values(theta)
    assert (values[:, 0].abs() <= torch.tensor(math.pi / 2)).all()
    assert ((values[:, 1] >= 0.1) & (values[:, 1] <= 3)).all()
    assert_identical(values[:, 2:], theta[:, 2:])
    theta = affine.identity() + 0.2 * torch.randn(100, 6, dtype=torch.float64)
    assert_close(affine.from_matrix(affine.matrix(theta)), theta, rtol=0, atol=1e-9)


def test_compositions_within_the_bounds_are_found():
    affine = _upright()
    outer, inner = affine.identity() + 0.2 * torch.rand(2, 50, 6, dtype=torch.float64) - 0.1
    points = torch.randn(50, 5, 2, dtype=torch.float64)
    composed = affine.transform_points(affine.compose(outer, inner), points)
    chained = affine.transform_points(outer, affine.transform_points(inner, points))
    assert_close(composed, chained, rtol=0, atol=1e-12)


def test_the_identity_starts_a_bounded_family_with_a_gradient():
    affine = _upright()
    theta = affine.identity()[None].requires_grad_()
    assert_identical(affine.grid(theta, 4).detach(), affine.grid(theta.detach(), 4))
    (slope,) = torch.autograd.grad(affine.values(theta).sum(), theta)
    assert_close(slope, torch.ones(1, 6), rtol=0, atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("align", ["compile", "export"])
def test_bounds_trace(align):
    affine = _upright()
    cases = [(affine.identity() + torch.randn(n, 6),) for n in (5, 7)]
    if align == "compile":
        compile_and_compare(affine.matrix, cases)
    else:
        export_and_compare(affine.matrix, cases, [(0,)])


@pytest.mark.traced
def test_results_out_of_bounds_name_the_sample():
    affine = _upright()
    theta = affine.identity().repeat(4, 1)
    theta[1, 1] = theta[3, 1] = -9  # values of 0.1: the inverse's scale is 10
    with pytest.raises(InputError, match=r"sample 1, 3 of the batch .*out of its bounds"):
        affine.inverse(theta)
    theta = affine.identity().repeat(4, 1)
    theta[2, 1] = 9  # values of 3, and 9 after composition
    with pytest.raises(InputError, match=r"Affine.*sample 2 of the batch .*out of its bounds"):
        affine.compose(theta, theta)
    attention = Attention(bounds={"s": (0.1, None)})
    with pytest.raises(InputError, match=r"Attention.*sample 0 of the batch .*out of its bounds"):
        attention.from_matrix(torch.tensor([[[0.05, 0.0, 0.0], [0.0, 0.05, 0.0]]]))


@pytest.mark.traced
def test_unknown_entries_are_named():
    with pytest.raises(InputError, match=r"Attention\(ndim=2\).*bounds of 'sx', 'typo'; .*s tx ty"):
        Attention(bounds={"typo": (0, 1), "s": (0.1, None), "sx": (0, 2)})


@pytest.mark.traced
@pytest.mark.parametrize(
    "pair", [(1.0, 2.0), (0.5, 1), (2, 3), (None, 0.9), (3, -3), (math.nan, 2)]
)
def test_bounds_without_room_for_the_identity(pair):
    with pytest.raises(InputError, match=r"of s, which is 1 at the identity; .*strictly between"):
        Attention(bounds={"s": pair})
    with pytest.raises(InputError, match=r"Attention.*of s, which is 1 at the identity"):
        Attention(bounds=pair)


@pytest.mark.traced
@pytest.mark.parametrize("pair", [0.5, (0.5,), (0, 1, 2), "no", ("0", "2"), None])
def test_what_is_not_a_pair(pair):
    with pytest.raises(InputError, match=r"Attention.* of s; give the lowest and the highest"):
        Attention(bounds={"s": pair})
