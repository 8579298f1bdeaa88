"""What every transformation owes its users; oracles: the regular grid, identities, gradcheck."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import warp
from spatial_transformers.grid.flow import Flow
from spatial_transformers.grid.regular import regular_grid, unnormalise

from .contract import SIZE, SOURCE

corners = pytest.mark.parametrize("align_corners", [False, True])

#: Lengths of an axis, all of them for one family of those that evaluate alike.
LENGTHS = (*range(1, 130), 224, 299, 1000, 1023, 4097)
SOME_LENGTHS = (1, 2, 3, 5, 7, 28, 41, 49, 127, 1023)

EXTREMES = (0.0, 1.0, -1.0, 1e-38, 1e38, -1e38, torch.inf, -torch.inf, torch.nan)


def _flat(grid):
    return grid.flatten(1, -2)  # (N, K, ndim)


def test_entries_count_and_identity_agree(family):
    transformation = family.make()
    identity = transformation.identity()
    assert transformation.num_parameters == len(transformation.entries) == len(identity)
    assert len(set(transformation.entries)) == len(transformation.entries)
    assert identity.ndim == 1


def test_identity_is_float32_on_the_cpu_whatever_the_defaults(family):
    identity = family.make().identity()
    assert (identity.dtype, identity.device.type) == (torch.float32, "cpu")
    with torch.device("meta"):
        transformation = family.make()
        assert_identical(transformation.identity(), identity)
    assert_identical(transformation.identity(), identity)


def test_identity_keeps_points(neutral):
    identity, points = neutral.make().identity()[None], neutral.points(1, torch.float32)
    assert_identical(neutral.make().transform_points(identity, points), points)


@corners
@pytest.mark.parametrize("size", [(5, 7, 4), (1, 3, 1), (28, 28, 2), (2, 225, 3)])
def test_grid_of_the_identity_is_the_regular_grid(neutral, size, align_corners):
    transformation = neutral.make()
    size = size[: transformation.ndim]
    grid = transformation.grid(transformation.identity()[None], size, align_corners=align_corners)
    assert_identical(grid[0], regular_grid(size, ndim=len(size), align_corners=align_corners))


# At these sizes the regular grid is exact, also in float32.
@pytest.mark.parametrize(("size", "align_corners"), [((8, 4, 2), False), ((9, 5, 3), True)])
def test_grid_maps_the_points_of_the_regular_grid(family, size, align_corners):
    transformation, theta = family.make(), family.theta()
    size = size[: transformation.ndim]
    regular = regular_grid(size, ndim=len(size), align_corners=align_corners).double()
    grid = transformation.grid(theta, size, align_corners=align_corners)
    assert grid.shape == (3, *size, len(size))
    mapped = transformation.transform_points(theta, _flat(regular[None]).expand(3, -1, -1))
    assert_close(_flat(grid), mapped, rtol=0, atol=1e-14)


def test_one_number_is_a_size_for_all_axes(family):
    transformation, theta = family.make(), family.theta()
    size = (4,) * transformation.ndim
    assert_identical(transformation.grid(theta, 4), transformation.grid(theta, size))
    assert_identical(
        transformation.pixels(theta, 4, 6), transformation.pixels(theta, size, [6] * len(size))
    )


@corners
@pytest.mark.parametrize("source", [SOURCE, SIZE, (1, 8, 1)])
def test_pixels_are_the_grid_unnormalised(family, source, align_corners):
    transformation, theta = family.make(), family.theta()
    size, source = SIZE[: transformation.ndim], source[: transformation.ndim]
    grid = transformation.grid(theta, size, align_corners=align_corners)
    pixels = transformation.pixels(theta, size, source, align_corners=align_corners)
    assert_close(pixels, unnormalise(grid, source, align_corners), rtol=0, atol=1e-13)


@corners
def test_pixels_of_the_identity_are_exact_integers(neutral, align_corners, request):
    transformation = neutral.make()
    identity = transformation.identity()[None]
    every = neutral.evaluates_first or request.config.option.all
    for n in LENGTHS if every else SOME_LENGTHS:
        for axis in range(transformation.ndim):  # the axis of coordinates; sizes are reversed
            size = [3] * transformation.ndim
            size[-1 - axis] = n
            pixels = transformation.pixels(identity, size, size, align_corners=align_corners)
            along = pixels[0, ..., axis].movedim(-1 - axis, -1)
            assert_identical(along, torch.arange(float(n)).expand_as(along))


@pytest.mark.parametrize("reverse", [False, True])
def test_inverse_undoes(invertible, reverse):
    transformation, theta = invertible.make(), invertible.theta(32, torch.float32)
    points = invertible.points(32, torch.float32)
    there, back = theta, transformation.inverse(theta)
    if reverse:
        there, back = back, there
    moved = transformation.transform_points(there, points)
    assert (moved - points).abs().max() > 0.02
    undone = transformation.transform_points(back, moved)
    assert_close(undone, points, rtol=0, atol=invertible.accuracy)


def test_inverse_points_undoes(family):
    transformation, theta = family.make(), family.theta(32, torch.float32)
    points = family.points(32, torch.float32)
    moved = transformation.transform_points(theta, points)
    undone = transformation.inverse_points(theta, moved)
    assert_close(undone, points, rtol=0, atol=family.accuracy)


def test_compose_maps_by_inner_first(composable):
    transformation, outer, inner = composable.make(), composable.theta(), composable.theta()
    points = composable.points()
    chained = transformation.transform_points(outer, transformation.transform_points(inner, points))
    composed = transformation.compose(outer, inner)
    assert composed.shape == outer.shape
    assert_close(transformation.transform_points(composed, points), chained, rtol=0, atol=1e-12)


def test_a_batch_of_one_composes_with_all(composable):
    transformation, one, many = composable.make(), composable.theta(1), composable.theta()
    all_of_one = one.expand_as(many)
    assert_identical(transformation.compose(one, many), transformation.compose(all_of_one, many))
    assert_identical(transformation.compose(many, one), transformation.compose(many, all_of_one))


def test_a_batch_of_one_serves_all(family):
    transformation, points = family.make(), family.points()
    one, many = family.theta(1), family.theta()
    all_of_one = one.expand_as(many)
    for method in (transformation.transform_points, transformation.inverse_points):
        assert_close(method(one, points), method(all_of_one, points), rtol=0, atol=1e-14)
        every_point = points[:1].expand_as(points)
        assert_close(method(many, points[:1]), method(many, every_point), rtol=0, atol=1e-14)


@corners
def test_jacobian_determinant_is_that_of_small_steps(family, align_corners):
    transformation, theta = family.make(), family.theta(2)
    size = SIZE[: transformation.ndim]
    regular = regular_grid(size, ndim=len(size), align_corners=align_corners, dtype=torch.float64)
    points = _flat(regular[None]).expand(2, -1, -1)
    step, here = 1e-6, transformation.transform_points(theta, points)
    steps = step * torch.eye(len(size), dtype=torch.float64)
    ahead, behind = (
        torch.stack([transformation.transform_points(theta, points + s) for s in signed], -1)
        for signed in (steps, -steps)
    )
    expected = torch.linalg.det((ahead - behind) / (2 * step)).unflatten(1, size)
    found = transformation.jacobian_determinant(theta, size, align_corners=align_corners)
    bends = (ahead + behind - 2 * here[..., None]).abs().amax((-2, -1)).unflatten(1, size)
    smooth = (bends < 5e-12) | (not family.kinked)  # slopes on both sides agree
    assert smooth.any()
    assert_close(found[smooth], expected[smooth], rtol=1e-5, atol=1e-5)


@pytest.fixture
def check(check_derivatives):
    """Check derivatives of functions of batches; entry by entry of a batch of one."""

    def check(function, *inputs):
        leaves = [x.requires_grad_() for x in inputs]
        check_derivatives(function, leaves, alone=[x[:1].detach().requires_grad_() for x in inputs])

    return check


def test_gradients(family, check):
    transformation = family.make()
    size = (2, 3, 2)[: transformation.ndim]
    theta, points = family.theta(2), family.points(2)[:, :3]
    check(lambda t: transformation.grid(t, size), theta)
    check(lambda t: transformation.pixels(t, size, size, align_corners=True), theta)
    check(transformation.transform_points, theta, points)
    check(lambda t: transformation.jacobian_determinant(t, size), theta)


def test_gradients_of_inverse_points(family, check):
    theta, points = family.theta(2), family.points(2)[:, :3]
    moved = family.make().transform_points(theta, points)
    check(family.make().inverse_points, theta, moved)


def test_gradients_of_inverse(invertible, check):
    check(invertible.make().inverse, invertible.theta(2))


def test_gradients_of_compose(composable, check):
    theta = composable.theta(2)
    check(composable.make().compose, theta, theta.flip(0))


def _everything(family, theta, points):
    transformation = family.make()
    size = SIZE[: transformation.ndim]
    closed = {
        "inverse": lambda: transformation.inverse(theta),
        "compose": lambda: transformation.compose(theta, theta),
    }
    return (
        transformation.grid(theta, size),
        transformation.pixels(theta, size, SOURCE[: transformation.ndim]),
        transformation.transform_points(theta, points),
        transformation.inverse_points(theta, points),
        transformation.jacobian_determinant(theta, size),
        transformation.values(theta),
        *(closed[name]() for name in family.closed),
        *transformation.describe(theta).values(),
    )


def test_theta_and_points_meet_in_the_wider_dtype(family):
    """Also where points lie on control points, whose terms cancel."""
    transformation, theta, points = family.make(), family.theta(), family.points()
    points[:, 0] = -1.0
    for method in (transformation.transform_points, transformation.inverse_points):
        for of_theta, of_points in ((torch.float32, None), (None, torch.float32)):
            given = theta.to(of_theta), points.to(of_points)
            found = method(*given)
            assert_identical(found, method(*(t.double() for t in given)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_float32_for_lower_precision(family, dtype):
    theta, points = family.theta(dtype=dtype), family.points(dtype=dtype)
    wide = _everything(family, theta.float(), points.float())
    for found, expected in zip(_everything(family, theta, points), wide, strict=True):
        assert expected.dtype == torch.float32
        assert_identical(found, expected, equal_nan=True)


def test_float64_stays_float64(family):
    results = _everything(family, family.theta(), family.points())
    assert {result.dtype for result in results} == {torch.float64}


def test_autocast_changes_nothing(family):
    theta, points = family.theta(dtype=torch.float32), family.points(dtype=torch.float32)
    expected = _everything(family, theta, points)
    with torch.autocast("cpu", torch.bfloat16):
        found = _everything(family, theta, points)
    for a, b in zip(found, expected, strict=True):
        assert_identical(a, b, equal_nan=True)


def test_describe_is_finite_with_a_value_per_image(family):
    transformation = family.make()
    parts = transformation.describe(family.theta(5))
    assert parts
    for part in parts.values():
        assert part.shape == (5,)
        assert part.isfinite().all()


def test_describe_reads_the_identity_as_nothing_done(family):
    transformation = family.make()
    parts = transformation.describe(transformation.identity().expand(2, -1))
    for name, part in parts.items():
        assert_identical(part, torch.full((2,), 1.0 if "scale" in name else 0.0))


def test_no_theta_crashes(family):
    transformation = family.make()
    chosen = torch.randint(len(EXTREMES), (200, transformation.num_parameters))
    theta = torch.tensor(EXTREMES)[chosen]
    theta[: len(EXTREMES)] = torch.tensor(EXTREMES)[:, None]
    points, size = family.points(200, torch.float32), SIZE[: transformation.ndim]
    assert transformation.grid(theta, size).shape == (200, *size, transformation.ndim)
    assert transformation.pixels(theta, size, size).shape == (200, *size, transformation.ndim)
    assert transformation.transform_points(theta, points).shape == points.shape
    assert transformation.jacobian_determinant(theta, size).shape == (200, *size)
    assert {part.shape for part in transformation.describe(theta).values()} == {(200,)}


@pytest.mark.parametrize("spread", [3.0, 100.0, 1e18])
def test_a_wild_theta_has_a_finite_gradient_through_the_sampler(family, spread):
    transformation = family.make()
    if isinstance(transformation, Flow):
        spread = min(spread, 100.0)  # beyond, the flow's own slopes overflow
    identity = transformation.identity()
    theta = identity + (spread * torch.randn(20, len(identity)))
    image = torch.rand(1, 1, *(9, 11, 6)[: transformation.ndim])
    for align_corners in (False, True):
        theta = theta.detach().requires_grad_()
        warped = warp(image, theta, transformation, align_corners=align_corners)
        (slope,) = torch.autograd.grad(warped.sum(), theta)
        assert warped.isfinite().all()
        assert slope.isfinite().all()


def test_a_batch_of_none_is_fine(family):
    for result in _everything(family, family.theta(0), family.points(0)):
        assert len(result) == 0
