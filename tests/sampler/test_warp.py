"""`warp` is grid and sampler in one, exact at the identity; oracles: float64 torch, closed form."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spatial_transformers import Affine, sample, warp

from .oracles import (
    NAMES,
    PADDINGS,
    SOURCES,
    TARGETS,
    cotangent,
    gradients,
    grid_sample,
    slope_at_identity,
)

backends = pytest.mark.parametrize("backend", NAMES)
modes = pytest.mark.parametrize("mode", ["nearest", "bilinear"])
corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])
paddings = pytest.mark.parametrize("padding_mode", PADDINGS)

BIG = ((127, 3), (2, 128), (129, 5), (3, 1000), (641, 2))
VOLUMES = ((1, 1, 1), (2, 1, 3), (4, 7, 5), (6, 3, 11), (9, 17, 2), (5, 33, 12))
PLANES = tuple((n, 71 - n) for n in range(1, 71))
FILL = 0.7


def _fill(padding_mode, value=FILL):
    return value if padding_mode == "constant" else None


def _theta(n, ndim, spread=0.3):
    return Affine(ndim).identity().double() + spread * torch.randn(n, ndim * (ndim + 1)).double()


def _identity(ndim):
    return Affine(ndim).identity()[None]


def _warp(**options):
    """Return `warp` as a function of image and θ."""

    def call(image, theta):
        return warp(image, theta, Affine(image.ndim - 2), **options)

    return call


def _torch(image, theta, size, **options):
    ndim = image.ndim - 2
    shape = [len(theta), 1, *size]
    corners = options["align_corners"]
    grid = F.affine_grid(theta.unflatten(1, (ndim, ndim + 1)), shape, align_corners=corners)
    return grid_sample(image, grid, **options)


@backends
@modes
@paddings
@corners
@dimensions
def test_agrees_with_affine_grid_and_grid_sample(backend, mode, padding_mode, align_corners, ndim):
    source, target, fill = SOURCES[ndim], TARGETS[ndim], _fill(padding_mode)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    image, theta = torch.randn(3, 2, *source).double(), _theta(3, ndim)
    found = gradients(_warp(size=target, backend=backend, fill_value=fill, **options), image, theta)
    due = gradients(lambda u, t: _torch(u, t, target, fill=fill, **options), image, theta)
    assert_close(found, due)


@backends
@paddings
@corners
@pytest.mark.parametrize("sizes", [PLANES, BIG, VOLUMES], ids=["planes", "big", "volumes"])
def test_identity_is_exact_with_the_right_hand_slope(backend, padding_mode, align_corners, sizes):
    options = {"padding_mode": padding_mode, "align_corners": align_corners}
    fill = _fill(padding_mode)
    call = _warp(backend=backend, fill_value=fill, **options)
    for size in sizes:
        image, theta = torch.randn(1, 2, *size), _identity(len(size))
        values, to_image, to_theta = gradients(call, image, theta)
        assert torch.equal(values, image), size
        assert torch.equal(to_image, cotangent(values)), size
        due, scale = slope_at_identity(image, fill=fill, **options)
        assert ((to_theta[0] - due).abs() <= 2e-6 * scale).all(), size


@backends
@modes
@dimensions
def test_identity_copies_and_mirrors_every_dtype(backend, mode, ndim):
    size = (5, 6, 7)[-ndim:]
    mirror = _identity(ndim)
    mirror[0, 0] = -1
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        image = torch.randn(2, 3, *size).to(dtype)
        call = _warp(mode=mode, backend=backend)
        assert torch.equal(call(image, _identity(ndim)), image)
        assert torch.equal(call(image, mirror), image.flip(-1))


@dimensions
def test_integer_images(ndim):
    image = torch.randint(2**53, 2**53 + 99, (1, 2, *SOURCES[ndim]))
    mirror = _identity(ndim)
    mirror[0, 0] = -1
    assert torch.equal(_warp(mode="nearest")(image, mirror), image.flip(-1))


@backends
@modes
@paddings
@corners
@dimensions
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_theta_that_is_not_finite(backend, mode, padding_mode, align_corners, ndim, number):
    fill, options = _fill(padding_mode), {"mode": mode, "align_corners": align_corners}
    call = _warp(padding_mode=padding_mode, fill_value=fill, backend=backend, **options)
    image, width = torch.randn(1, 2, *(4, 5, 6)[:ndim]), ndim * (ndim + 1)
    theta = _theta(width + 1, ndim).float()
    theta[range(width), range(width)] = number  # each entry in turn; the last image has none
    values, to_image, to_theta = gradients(call, image, theta)
    for tensor in (values, to_image, to_theta):
        assert tensor.isfinite().all()
    translations = range(ndim, width, ndim + 1)
    assert (values[translations] == (fill or 0)).all()
    assert (to_theta[translations] == 0).all()
    assert torch.equal(values[-1:], call(image, theta[-1:]))


@backends
@paddings
@dimensions
def test_far_theta_stays_finite(backend, padding_mode, ndim):
    call = _warp(padding_mode=padding_mode, fill_value=_fill(padding_mode), backend=backend)
    image, theta = torch.randn(1, 2, *SOURCES[ndim]), _identity(ndim)
    for number in (1e3, 1e8, -1e12, 1e20, -1e30, 3e38, -torch.finfo(torch.float32).max):
        theta[0, ndim] = number
        values, to_image, to_theta = gradients(call, image, theta)
        assert all(t.isfinite().all() for t in (values, to_image, to_theta))
        if padding_mode in ("zeros", "constant"):
            assert (values == (_fill(padding_mode) or 0)).all()
            assert not to_theta.any()
        if padding_mode == "border":
            column = image[..., -1:] if number > 0 else image[..., :1]
            assert_close(values, column.expand_as(values))


@backends
@dimensions
def test_theta_keeps_its_precision(backend, ndim):
    """Under autocast, and when it or the image come in half precision."""
    image, theta = torch.randn(1, 2, *SOURCES[ndim]), _theta(2, ndim).float()
    call = _warp(backend=backend)
    plain = gradients(call, image, theta)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradients(call, image, theta)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))
    assert torch.equal(call(image, theta.bfloat16()), call(image, theta.bfloat16().float()))
    half = image.bfloat16()
    assert torch.equal(call(half, theta), call(half.float(), theta).bfloat16())


class Multiplying(Affine):
    """An affine map by a matrix product, which autocast lowers."""

    def _evaluate(self, values, positions, extents, source):
        ones = torch.ones_like(positions[0])
        scaled = [p / e for p, e in zip(positions, extents, strict=True)]
        points = torch.stack(torch.broadcast_tensors(*scaled, ones), -1)
        moved = points.flatten(1, -2) @ self._matrix(values).mT
        shape = (*moved.shape[:1], *points.shape[1:-1], self.ndim)
        scale, centre = torch.tensor(source.scale), torch.tensor(source.centre)
        return moved.reshape(shape) * scale + centre


@backends
def test_autocast_does_not_reach_the_grid(backend):
    image, theta = torch.randn(2, 1, 9, 224), _theta(2, 2).float()
    plain = warp(image, theta, Multiplying(), backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(image, theta, Multiplying(), backend=backend), plain)


@backends
@dimensions
def test_sizes_and_batches(backend, ndim):
    image, theta = torch.randn(1, 2, *SOURCES[ndim]).double(), _theta(3, ndim)
    call = _warp(backend=backend)
    assert call(image, theta).shape == (3, 2, *SOURCES[ndim])
    assert _warp(size=4, backend=backend)(image, theta).shape == (3, 2, *[4] * ndim)
    each = torch.cat([call(image, t[None]) for t in theta])
    assert_close(call(image, theta), each)
    images = torch.randn(3, 2, *SOURCES[ndim]).double()
    assert_close(call(images, theta[:1]), torch.cat([call(u[None], theta[:1]) for u in images]))
    assert call(images[:0], theta[:0]).shape == (0, 2, *SOURCES[ndim])


@backends
@dimensions
def test_is_sample_on_the_grid(backend, ndim):
    affine, image, theta = Affine(ndim), torch.randn(2, 2, *SOURCES[ndim]).double(), _theta(2, ndim)
    grid = affine.grid(theta, TARGETS[ndim])
    found = warp(image, theta, affine, size=TARGETS[ndim], backend=backend)
    assert_close(found, sample(image, grid, backend=backend))
