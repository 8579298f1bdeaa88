"""Every transformation's errors, and traced or transformed as in eager; oracle: eager, by value."""

import re

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import InputError
from tracing import compile_and_compare, export_and_compare, jvp_and_compare

from .contract import SIZE

pytestmark = pytest.mark.traced


def _grids_like(transformation):
    """Ask for grids of the size of an image, as networks do."""

    def function(theta, image):
        size = image.shape[2:]
        grids = [transformation.grid(theta, size, align_corners=c) for c in (False, True)]
        return torch.stack(grids)

    return function


def _there_and_back(family):
    """Map points by every other method of the transformation."""
    transformation = family.make()

    def function(theta, points):
        moved = transformation.transform_points(theta, points)
        back = transformation.inverse_points(theta, 0.9 * moved)
        if "compose" in family.closed:
            back = transformation.transform_points(transformation.compose(theta, theta), back)
        if "inverse" in family.closed:
            back = transformation.transform_points(transformation.inverse(theta), back)
        return back

    return function


def _theta_and_image(family, n, size):
    theta = family.theta(n)
    return theta, theta.new_zeros(n, 1, *size[: family.make().ndim])


@pytest.mark.parametrize("wrong", [(2, 1), (2, 40), (2,), (2, 1, 1)])
def test_theta_of_a_wrong_shape(family, wrong):
    transformation = family.make()
    with pytest.raises(InputError) as error:
        transformation.grid(torch.zeros(wrong), SIZE[: transformation.ndim])
    message = str(error.value)
    assert type(transformation).__name__ in message
    assert str(wrong) in message
    assert f"(N, {transformation.num_parameters})" in message
    names = transformation.entries  # of very many only some are named
    assert " ".join(names if len(names) <= 64 else names[:32]) in message


def test_every_method_checks_theta(family):
    transformation, wrong, points = family.make(), torch.zeros(2, 5), family.points(2)
    size = SIZE[: transformation.ndim]
    for call in (
        lambda: transformation.pixels(wrong, size, size),
        lambda: transformation.transform_points(wrong, points),
        lambda: transformation.inverse_points(wrong, points),
        lambda: transformation.jacobian_determinant(wrong, size),
        lambda: transformation.values(wrong),
        lambda: transformation.describe(wrong),
    ):
        with pytest.raises(InputError, match=r"was given theta of shape \(2, 5\)"):
            call()


def test_inverse_checks_theta(invertible):
    with pytest.raises(InputError, match=r"was given theta of shape \(2, 5\)"):
        invertible.make().inverse(torch.zeros(2, 5))


def test_compose_checks_theta(composable):
    theta, wrong = composable.theta(2), torch.zeros(2, 5)
    for pair in ((theta, wrong), (wrong, theta)):
        with pytest.raises(InputError, match=r"was given theta of shape \(2, 5\)"):
            composable.make().compose(*pair)


def test_a_family_that_is_not_closed_says_so(open_family):
    transformation, theta = open_family.make(), open_family.theta(2)
    calls = {
        "inverse": lambda: transformation.inverse(theta),
        "compose": lambda: transformation.compose(theta, theta),
    }
    for name in set(calls) - set(open_family.closed):
        with pytest.raises(InputError, match="no theta of the family") as error:
            calls[name]()
        assert type(transformation).__name__ in str(error.value)


def test_theta_of_integers(family):
    transformation = family.make()
    name = type(transformation).__name__
    with pytest.raises(InputError, match=f"{name}.*torch.int64.*floating"):
        transformation.check(torch.ones(2, transformation.num_parameters, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [(2, 4), (2, 4, 5), (2, 4, 4), (2, 1, 4, 2)])
def test_points_of_a_wrong_shape(family, wrong):
    transformation = family.make()
    for method in (transformation.transform_points, transformation.inverse_points):
        with pytest.raises(InputError) as error:
            method(family.theta(2), torch.zeros(wrong))
        assert str(wrong) in str(error.value)
        assert f"(N, K, {transformation.ndim})" in str(error.value)


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_the_inverse_of_a_singular_sample_names_it(singular, bad):
    transformation, theta, points = singular.make(), singular.theta(5), singular.points(5)
    theta[3] = bad
    with pytest.raises(InputError, match=r"sample 3 of") as error:
        transformation.inverse(theta)
    assert type(transformation).__name__ in str(error.value)
    back = transformation.inverse_points(theta, points)
    assert torch.equal(back.isnan().all(-1).all(-1), torch.arange(5) == 3)
    theta[1] = bad
    with pytest.raises(InputError, match=re.escape("sample 1, 3 of")):
        transformation.inverse(theta)


def test_vmap(family):
    transformation, theta, points = family.make(), family.theta(4), family.points(4)
    size = SIZE[: transformation.ndim]
    grids = torch.func.vmap(lambda t: transformation.grid(t[None], size)[0])(theta)
    assert_close(grids, transformation.grid(theta, size))
    there_and_back = _there_and_back(family)
    mapped = torch.func.vmap(there_and_back)(theta[:, None], points[:, None])
    one_by_one = map(there_and_back, theta[:, None], points[:, None])
    assert_close(mapped, torch.stack(list(one_by_one)))
    parts = torch.func.vmap(lambda t: dict(transformation.describe(t[None])))(theta)
    assert_close({k: v[:, 0] for k, v in parts.items()}, dict(transformation.describe(theta)))


def test_jvp(family):
    transformation, points = family.make(), family.points()
    size = SIZE[: transformation.ndim]
    jvp_and_compare(lambda t: transformation.grid(t, size), family.theta())
    jvp_and_compare(lambda t: _there_and_back(family)(t, points), family.theta())


# Tracing takes seconds: by default grids are compiled and maps of points exported, once per kind,
# the other way round for affine maps only. `tests/test_export.py` exports grids of every family.


@pytest.mark.costly
def test_compile_grid(family):
    cases = [_theta_and_image(family, 13, (17, 19, 23)), _theta_and_image(family, 11, (18, 14, 5))]
    compile_and_compare(_grids_like(family.make()), cases)


@pytest.mark.only_all
def test_compile_grid_by_inductor(family):
    cases = [_theta_and_image(family, 13, (17, 19, 23)), _theta_and_image(family, 11, (18, 14, 5))]
    compile_and_compare(_grids_like(family.make()), cases, backend="inductor")


def test_compile_points(affine):
    cases = [(affine.theta(n), affine.points(n)[:, :k]) for n, k in ((13, 11), (17, 10))]
    compile_and_compare(_there_and_back(affine), cases)


def test_export_grid(affine):
    sizes = ((5, 7, 9), (8, 11, 4), (3, 2, 6), (24, 20, 13))
    cases = [_theta_and_image(affine, n, s) for n, s in zip((2, 3, 1, 4), sizes, strict=True)]
    spatial = range(2, affine.make().ndim + 2)
    export_and_compare(_grids_like(affine.make()), cases, [(0,), (0, *spatial)])


@pytest.mark.costly
def test_export_points(family):
    cases = [(family.theta(n), family.points(n)[:, :k]) for n, k in ((2, 5), (4, 9), (3, 2))]
    export_and_compare(_there_and_back(family), cases, [(0,), (0, 1)])


def test_what_is_no_tensor(family):
    transformation, points = family.make(), family.points(1)
    with pytest.raises(InputError, match=r"as theta was given a list; give a tensor"):
        transformation.transform_points([[0.0]], points)
    with pytest.raises(InputError, match=r"as points was given a ndarray; give a tensor"):
        transformation.inverse_points(family.theta(1), points.numpy())
