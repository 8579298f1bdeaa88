"""Kernels that widen, compiled; oracles: the reference, and plain calls where nothing shrinks."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    KERNELS,
    Affine,
    Attention,
    Projective,
    ThinPlateSpline,
    explain,
    sample,
    warp,
)

from .paths import needs_library

pytestmark = needs_library

PADDINGS = ("zeros", "constant", "border", "reflection", "wrap", "renormalise")
MODES = ("nearest", "bilinear", "bicubic", "lanczos2", "bspline2", "bspline3", "gaussian")
#: θ by what becomes of the axes: they stay, they turn, or one map of three does not shrink.
MAPS = {
    "kept": [[1.1, 0, 0.1, 0, -0.8, 0.05], [0.9, 0, -0.4, 0, 1.2, 0.3], [1, 0, 0, 0, 1, 0]],
    "turned": [
        [0.8, -0.6, 0.1, 0.6, 0.8, 0],
        [0.9, 0.3, -0.5, 0.2, 1.1, 0],
        [1, 0.2, 0, -0.4, 2, 1],
    ],
    "mixed": [[0.1, 0.02, 0, 0, 0.2, 0], [1, 0, 0, 0, 1, 0], [0.9, 0.2, 0.4, 0.1, 0.7, 0]],
}


def _outcome(call, backend, *inputs):
    """Return the values of a call, and the gradients to its inputs."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    values = call(*leaves, backend=backend)
    weights = torch.linspace(-1, 2, values.numel(), dtype=torch.float64).sin().reshape(values.shape)
    return [values.detach(), *torch.autograd.grad((values * weights).sum(), leaves)]


def _compare(call, *inputs, rtol=1e-9):
    for found, due in zip(*(_outcome(call, b, *inputs) for b in ("cpu", "reference")), strict=True):
        assert_close(found, due, rtol=rtol, atol=rtol * max(1.0, due.abs().max().item()))


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_affine_maps(mode, padding_mode):
    if mode.startswith("bspline") and padding_mode == "renormalise":
        return
    image, corners = torch.randn(3, 2, 23, 17, dtype=torch.float64), padding_mode == "wrap"
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": corners}
    inputs = [image] + [torch.tensor([0.3, -2.0]).double()] * (padding_mode == "constant")

    def call(image, *rest, backend):
        *fill, theta = rest
        fills = {"fill_value": fill[0]} if fill else {}
        asked = {"size": (7, 9), "antialias": 3, "backend": backend, **options, **fills}
        return warp(image, theta, Affine(), **asked)

    aside = torch.tensor([0, 0, 0.0173, 0, 0, 0.0211]).double()  # of kinks, where rounding decides
    for theta in MAPS.values():
        _compare(call, *inputs, torch.tensor(theta, dtype=torch.float64) * 1.0137 + aside)


@pytest.mark.parametrize("family", [Projective, Attention, lambda: ThinPlateSpline((3, 3))])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "renormalise"])
def test_other_maps(family, padding_mode):
    family, image = family(), torch.randn(2, 2, 19, 23, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    theta = family.identity().double() + 0.1 * torch.randn(
        2, family.num_parameters, dtype=torch.float64, generator=generator
    )

    def call(image, theta, backend):
        options = {"padding_mode": padding_mode, "mode": "bicubic", "antialias": 4}
        return warp(image, theta, family, size=(9, 8), backend=backend, **options)

    _compare(call, image, theta)


@pytest.mark.parametrize("ndim", [2, 3])
def test_grids_and_volumes(ndim):
    source, size = (9, 12, 11)[-ndim:], (4, 5, 5)[-ndim:]
    affine, image = Affine(ndim), torch.randn(2, 1, *source, dtype=torch.float64)
    drawn = torch.randn(1, affine.num_parameters, generator=torch.Generator().manual_seed(0))
    theta = affine.identity()[None].double() + drawn.double() / 6
    grid = affine.grid(theta, size)
    options = {"antialias": 3, "padding_mode": "border"}
    _compare(lambda i, g, backend: sample(i, g, backend=backend, **options), image, grid)
    _compare(
        lambda i, t, backend: warp(i, t, affine, size=size, backend=backend, **options),
        image,
        theta,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", MAPS)
def test_dtypes_and_channels_last(dtype, kind):
    image = torch.rand(3, 5, 40, 30).to(dtype).contiguous(memory_format=torch.channels_last)
    theta = torch.tensor(MAPS[kind])
    found, due = (
        warp(image, theta, Affine(), size=11, antialias=True, backend=backend)
        for backend in ("cpu", "reference")
    )
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_close(found, due, rtol=0, atol=2e-5 if dtype == torch.float32 else 8e-3)


def test_what_does_not_shrink_stays_to_the_bit():
    image = torch.rand(3, 2, 23, 17)
    theta = torch.tensor(MAPS["mixed"])
    plain, found = (warp(image, theta, Affine(), size=(7, 9), antialias=a) for a in (False, True))
    shrinks = [bool((a != b).any()) for a, b in zip(plain, found, strict=True)]
    assert shrinks == [False, True, True]
    assert_identical(found[0], plain[0])


@pytest.mark.parametrize("kind", MAPS)
def test_threads_change_no_bit(kind):
    image, theta = torch.rand(3, 3, 90, 70), torch.tensor(MAPS[kind])
    theta = torch.cat((theta, theta.flip(0))).repeat(4, 1)[:12]

    def call(image, theta, backend):
        return warp(image, theta, Affine(), size=40, antialias=True, backend=backend)

    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(_outcome(call, "cpu", image.repeat(4, 1, 1, 1), theta))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert_identical(one, other)


def test_one_image_is_cut_into_strips():
    image, theta = torch.rand(1, 1, 200, 150).double(), torch.tensor(MAPS["turned"]).double()

    def call(image, theta, backend):
        return warp(image, theta, Affine(), size=(60, 31), antialias=True, backend=backend)

    _compare(call, image, theta)
    _compare(call, image, torch.tensor(MAPS["kept"]).double())


def test_explain_tells():
    image, affine = torch.zeros(1, 1, 8, 8), Affine()
    for options, due in (({}, "cpu"), ({"padding_mode": ("zeros", "wrap")}, "reference")):
        told = explain(image, affine.identity()[None], affine, antialias=True, **options)
        assert told.splitlines()[0].endswith(f": {due}")
    narrow = KERNELS["gaussian"].with_phi(0.1)
    told = explain(image, affine.identity()[None], affine, antialias=True, mode=narrow)
    assert "it has no gaussian narrower" in told
