"""What lies outside is what the pictures say; oracles: `numpy.pad`, `equation_3`, OpenCV."""

from itertools import permutations, product

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import KERNELS, InputError, explain, sample
from spatial_transformers.sampler.padding import FILLING, PADDING_MODES, move_inside

from .oracles import (
    PHI,
    SOURCES,
    TARGETS,
    assert_near,
    equation_3,
    gradients,
    normalise,
    off_kinks,
    unnormalise,
)

modes = pytest.mark.parametrize("mode", KERNELS)
paddings = pytest.mark.parametrize("padding_mode", PADDING_MODES)
dimensions = pytest.mark.parametrize("ndim", [1, 2, 3])
DTYPES = (torch.float64, torch.float32)

corners = pytest.mark.parametrize("align_corners", [False, True])
lengths = pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
REACH = 30  # pixels looked at on either side


def _image(n, size):
    return torch.randn(n, 2, *size, dtype=torch.float64)


def _moved(x, length, padding_mode, align_corners):
    """Return the coordinates inside, and their slopes."""
    x = x.clone().requires_grad_()
    moved = move_inside(x, length, padding_mode, align_corners)
    (slope,) = torch.autograd.grad(moved.sum(), x)
    return moved.detach(), slope


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_whole_pixels_as_numpy_pads(length, align_corners, padding_mode):
    reflection = "reflect" if align_corners else "symmetric"
    mode = {"border": "edge", "reflection": reflection}[padding_mode]
    x = torch.arange(-REACH, length + REACH, dtype=torch.float64)
    moved, _ = _moved(x, length, padding_mode, align_corners)
    due = np.pad(np.arange(length), REACH, mode=mode)
    assert moved.tolist() == due.tolist()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_between_pixels_linear_as_numpy_pads(length, align_corners, padding_mode):
    reflection = "reflect" if align_corners else "symmetric"
    mode = {"border": "edge", "reflection": reflection}[padding_mode]
    whole = np.arange(-REACH, length + REACH)
    padded = np.pad(np.arange(length), REACH, mode=mode)
    x = (torch.rand(500, dtype=torch.float64) * 2 - 1) * (REACH - 1) + length / 2
    moved, slope = _moved(x, length, padding_mode, align_corners)
    assert_close(moved, torch.from_numpy(np.interp(x, whole, padded)))
    floor = (x.floor().long() + REACH).numpy()
    assert_close(slope, torch.from_numpy((padded[floor + 1] - padded[floor]).astype(float)))


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_slope_is_zero_at_and_beyond_the_end_pixels_centres(length, align_corners, padding_mode):
    ends = torch.tensor([0.0, length - 1.0, -0.5, length - 0.5])
    moved, slope = _moved(ends, length, padding_mode, align_corners)
    due = torch.tensor([0, length - 1, 0, length - 1])
    if padding_mode == "reflection" and align_corners and length > 1:  # half a pixel back inside
        due = torch.tensor([0, length - 1, 0.5, length - 1.5])
        slope = slope[:2]
    assert moved.tolist() == due.tolist()
    assert not slope.any()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
@pytest.mark.parametrize("x", [1e6, -1e6, 1e12, -1e30, 3e38])
def test_far_coordinates_come_inside(length, align_corners, padding_mode, x):
    moved, slope = _moved(torch.tensor([x]), length, padding_mode, align_corners)
    assert 0 <= moved.item() <= length - 1
    assert slope.isfinite().all()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", FILLING)
def test_filling_modes_move_nothing(length, align_corners, padding_mode):
    x = torch.linspace(-9, 9, 50)
    moved, slope = _moved(x, length, padding_mode, align_corners)
    assert torch.equal(moved, x)
    assert slope.eq(1).all()


@lengths
@corners
def test_wrap_as_numpy_pads(length, align_corners):
    """Between the last pixel and the first, too; with slope 1 everywhere."""
    x = torch.arange(-REACH, length + REACH, dtype=torch.float64)
    moved, slope = _moved(x, length, "wrap", align_corners)
    assert moved.tolist() == np.pad(np.arange(length), REACH, mode="wrap").tolist()
    assert slope.eq(1).all()
    x = (torch.rand(500, dtype=torch.float64) * 2 - 1) * REACH
    moved, slope = _moved(x, length, "wrap", align_corners)
    assert ((moved >= 0) & (moved < length)).all()
    turns = (x - moved) / length
    assert_close(turns, turns.round())
    assert slope.eq(1).all()


@corners
def test_wrap_samples_a_ring(align_corners):
    """No seam: what is rolled by whole pixels is sampled at places that many pixels on."""
    image, pixels = _image(1, (8,)), off_kinks(1, (8,), (50,))
    options = {"padding_mode": "wrap", "align_corners": align_corners}
    for mode in KERNELS:
        due = sample(image, normalise(pixels, (8,), align_corners), mode=mode, **options)
        for shift in (3, -5, 8, 80):
            grid = normalise(pixels + shift, (8,), align_corners)
            assert_close(sample(image.roll(shift, -1), grid, mode=mode, **options), due)


def _plain(mode, padding_mode):
    return lambda u, g: sample(u, g, mode=mode, padding_mode=padding_mode)


@modes
def test_renormalise_keeps_constants_and_knows_nothing_far_away(mode):
    image = torch.full((1, 1, 6, 5), 2.5, dtype=torch.float64)
    pixels = off_kinks(1, (6, 5), (9, 9)) * 0.9
    grid = normalise(pixels, (6, 5), False)
    values = _plain(mode, "renormalise")(image, grid)
    covered = _plain(mode, "zeros")(torch.ones_like(image), grid)
    assert (covered > 1e-3).any()
    assert_close(values, torch.where(covered > 1e-3, 2.5, 0.0).double(), rtol=1e-9, atol=1e-9)
    far = torch.full((1, 1, 1, 2), 60.0, dtype=torch.float64)
    far = gradients(_plain(mode, "renormalise"), image, far)
    assert not any(t.any() for t in far)


def test_renormalise_is_the_plain_sample_inside():
    image, pixels = _image(1, (30, 31)), off_kinks(1, (6, 5), (7, 7)) / 4 + 14
    for mode in set(KERNELS) - {f"bspline{n}" for n in range(2, 8)}:  # whose reach is unbounded
        grid = normalise(pixels, (30, 31), False)
        found, due = (_plain(mode, p)(image, grid) for p in ("renormalise", "zeros"))
        assert_close(found, due)


def test_every_mode_is_tested_here():
    assert set(PADDING_MODES) == {*FILLING, "border", "reflection", "wrap"}


# OpenCV's `remap`, which rounds coordinates to 1/32 pixel: so all are multiples of that. Its
# INTER_LANCZOS4 is another kernel than any of ours: of 8 pixels, with weights of a table.

CV_BORDERS = {
    ("zeros", False): cv2.BORDER_CONSTANT,
    ("constant", False): cv2.BORDER_CONSTANT,
    ("border", False): cv2.BORDER_REPLICATE,
    ("reflection", False): cv2.BORDER_REFLECT,
    ("reflection", True): cv2.BORDER_REFLECT_101,
    ("wrap", False): cv2.BORDER_WRAP,
}
CV_MODES = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,  # a = −0.75 as well
}


@pytest.mark.parametrize(("padding_mode", "align_corners"), CV_BORDERS)
@pytest.mark.parametrize("mode", CV_MODES)
def test_is_remap(mode, padding_mode, align_corners):
    source = (16 + align_corners, 8 + align_corners)  # spans that normalise without rounding
    pixels = torch.randint(-12 * 32, 28 * 32, (1, 20, 30, 2)).float() / 32
    if mode == "nearest":  # which of two pixels a half belongs to is each library's own choice
        pixels = pixels.round() + torch.randint(-15, 16, pixels.shape) / 32
    image, fill = torch.randn(1, 1, *source), 0.7 if padding_mode == "constant" else None
    options = {"padding_mode": padding_mode, "align_corners": align_corners, "fill_value": fill}
    found = sample(image, normalise(pixels, source, align_corners), mode=mode, **options)
    border = {"borderMode": CV_BORDERS[padding_mode, align_corners], "borderValue": fill or 0.0}
    x, y = (p.contiguous().numpy() for p in pixels[0].unbind(-1))
    due = cv2.remap(image[0, 0].numpy(), x, y, CV_MODES[mode], **border)
    assert_near([found[0, 0]], [torch.from_numpy(due)], 3e-6)


# Every kernel, in the image that a padding continues.


def _inputs(mode, padding_mode, image, grid, phi_shape=()):
    """Return all that takes a gradient: image, grid, and where there are, fill and Φ."""
    fill = [torch.linspace(0.7, -1.2, image.shape[1]).double()] * (padding_mode == "constant")
    entries = torch.tensor(PHI.get(mode, ()), dtype=torch.float64)
    return [image, grid, *fill, *[entries.expand(*phi_shape, -1).clone()] * (mode in PHI)]


def _named(mode, padding_mode, rest):
    """Return fill and Φ of what follows image and grid."""
    return {
        "fill_value": rest[0] if padding_mode == "constant" else None,
        "phi": rest[-1] if mode in PHI else None,
    }


def _sample(mode, padding_mode, **options):
    def call(u, g, *rest):
        named = _named(mode, padding_mode, rest)
        phi = named.pop("phi")
        kernel = mode if phi is None else KERNELS[mode].with_phi(phi)
        return sample(u, g, mode=kernel, padding_mode=padding_mode, **named, **options)

    return call


def _due(mode, padding_mode, align_corners):
    def call(u, g, *rest):
        fill, phi = _named(mode, padding_mode, rest).values()
        pixels = unnormalise(g, u.shape[2:], align_corners)
        return equation_3(u, pixels, mode, padding_mode, align_corners, fill, phi)

    return call


@pytest.mark.traced  # the import hook makes so many small calls several times slower
@dimensions
@paddings
@modes
def test_is_equation_3(mode, padding_mode, ndim):
    """Values, and gradients to image, coordinates, fill and Φ."""
    source, target, image = SOURCES[ndim], TARGETS[ndim], _image(2, SOURCES[ndim])
    # a prefilter enlarges rounding, that of bspline7 18 times per axis
    single = 2e-4 if ndim == 3 and mode in ("bspline6", "bspline7") else 4e-5
    for align_corners in (False, True):
        pixels = off_kinks(2, source, target)
        if padding_mode == "renormalise":  # far from the image, it divides by next to nothing
            lengths = torch.tensor(source[::-1])
            pixels = torch.where(pixels < -1, pixels.frac().abs(), pixels)
            pixels = torch.where(pixels > lengths, lengths - 2 + pixels.frac(), pixels)
        grid = normalise(pixels, source, align_corners)
        found = _sample(mode, padding_mode, align_corners=align_corners)
        due = _due(mode, padding_mode, align_corners)
        given = [t.float() for t in _inputs(mode, padding_mode, image, grid)]  # of either dtype
        exact = gradients(due, *[t.double() for t in given])
        for dtype, tolerance in zip(DTYPES, (1e-11, single), strict=True):
            assert_near(gradients(found, *[t.to(dtype) for t in given]), exact, tolerance)


# Gradients, first and second, to image, coordinates, Φ and fill.


@pytest.fixture
def check(check_derivatives):
    def check(mode, padding_mode, ndim, phi_shape=()):
        source = (3, 2, 2)[-ndim:]
        image = torch.randn(1, 1, *source, dtype=torch.float64)
        grid = normalise(off_kinks(1, source, (2, 1, 1)[-ndim:]), source, False)
        inputs = [t.requires_grad_() for t in _inputs(mode, padding_mode, image, grid, phi_shape)]
        check_derivatives(_sample(mode, padding_mode, backend="reference"), inputs)

    return check


@paddings
@modes
def test_gradients_and_their_gradients(mode, padding_mode, check):
    check(mode, padding_mode, 2)


@pytest.mark.parametrize(
    ("mode", "padding_mode"), [("bicubic", "wrap"), ("bspline2", "renormalise")]
)
def test_gradients_in_3_d(mode, padding_mode, check):
    check(mode, padding_mode, 3)


@pytest.mark.parametrize("shape", [(1,), (1, 2)])
def test_gradients_to_phi_of_every_image_and_axis(shape, check):
    check("mitchell", "constant", 2, shape)


AXES = [
    *permutations(("zeros", "border", "wrap"), 2),
    ("constant", "wrap"),
    ("reflection", "wrap"),
    ("border", "renormalise"),
    ("wrap", "zeros", "reflection"),
]
DIFFERENT = [(("border", "wrap"), mode) for mode in KERNELS]
DIFFERENT += product(AXES, ("nearest", "bilinear", "lanczos2", "bspline3"))


@pytest.mark.parametrize(("align_corners", "antialias"), [(False, False), (True, 2)])
@pytest.mark.parametrize(("paddings", "mode"), DIFFERENT)
def test_axes_that_differ_as_numpy_pads_them(paddings, mode, align_corners, antialias):
    """Oracle: an image that `numpy.pad` has continued, one axis after the other."""
    ndim, fill, around = len(paddings), 0.7 if "constant" in paddings else None, 20
    image = _image(1, (5, 8, 6)[-ndim:])
    at = torch.randn(1, *(3,) * (ndim - 1), 4, ndim, dtype=torch.float64) * 3 + 2
    options = {"mode": mode, "align_corners": align_corners, "antialias": antialias}

    def continued(image, outside):
        pixels = image.numpy()
        for axis, padding_mode in enumerate(paddings, start=2):
            how = {"border": "edge", "wrap": "wrap"}.get(padding_mode, "constant")
            if padding_mode == "reflection":
                how = "reflect" if align_corners else "symmetric"
            widths = [(around, around) if a == axis else (0, 0) for a in range(ndim + 2)]
            value = {"constant_values": outside} if how == "constant" else {}
            pixels = np.pad(pixels, widths, how, **value)
        grid = normalise(at + around, pixels.shape[2:], align_corners)
        return sample(torch.from_numpy(pixels), grid, **options)

    grid = normalise(at, image.shape[2:], align_corners)
    found = sample(image, grid, padding_mode=paddings, fill_value=fill, **options)
    due = continued(image, fill or 0)
    if "renormalise" in paddings:
        covered = continued(torch.ones_like(image), 0)
        due = (due / covered).where(covered > 1e-3, 0)
    assert_close(found, due, rtol=1e-4, atol=1e-5)


def test_axes_that_are_alike_are_one_padding():
    image, grid = torch.rand(1, 1, 4, 5), torch.rand(1, 3, 3, 2) * 3
    both = explain(image, grid, padding_mode=["border", "border"])
    assert both == explain(image, grid, padding_mode="border")
    assert "cpu: it pads all axes alike" in explain(image, grid, padding_mode=("border", "wrap"))


@pytest.mark.traced  # a name that is none
@pytest.mark.parametrize(
    ("padding_mode", "fault"),
    [
        (("border",), "image of 2 axes"),
        (("border", "wrap", "zeros"), "image of 2 axes"),
        ((), "known: zeros"),
        (("border", "wrapped"), "known: zeros"),
        (("constant", "zeros"), "give one at most"),
    ],
)
def test_axes_that_make_no_sense_are_refused(padding_mode, fault):
    with pytest.raises(InputError, match=fault):
        sample(torch.rand(1, 1, 4, 5), torch.rand(1, 3, 3, 2), padding_mode=padding_mode)
