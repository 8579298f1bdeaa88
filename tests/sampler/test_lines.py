"""Lines of text in one batch; oracles: `warp` of each line alone, OpenCV's arc lengths, SciPy's."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad, trapezoid
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    CPAB,
    Affine,
    Attention,
    Compose,
    Displacement,
    FreeForm,
    LocalisationCNN,
    Projective,
    Sampler,
    Similarity,
    SpatialTransformer,
    ThinPlateSpline,
    text_rows,
    warp,
    warp_lines,
)
from spatial_transformers.grid import Deformation

SPLINE = ThinPlateSpline(text_rows(16, margin=0.05), parameters="positions")
FAMILIES = {
    "affine": (Affine(), 0.4),
    "bounded": (Affine(bounds=(-2.0, 2.0)), 0.4),
    "projective": (Projective(), 0.1),
    "spline": (SPLINE, 0.1),
    "free-form": (FreeForm((4, 6)), 0.1),
    "displacement": (Displacement((2, 5)), 0.1),
    "cpab": (CPAB(2, steps=2), 0.2),
    "compose": (Compose(Attention(), SPLINE), 0.1),
}
corners = pytest.mark.parametrize("align_corners", [False, True])


def drawn(name, lines=3, dtype=torch.float32):
    family, spread = FAMILIES[name]
    noise = spread * torch.randn(lines, family.num_parameters, dtype=dtype)
    return family, family.identity().to(dtype) + noise


def widths_of(theta, family, source, height, align_corners=False, **limits):
    image = torch.zeros(1, 1, *source)
    sampler = Sampler(align_corners=align_corners)
    return warp_lines(image, theta, family, height=height, sampler=sampler, **limits)[1]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.sampled_from([*FAMILIES]),
    st.sampled_from(["bilinear", "nearest", "lanczos3"]),
    st.sampled_from(["zeros", "constant", "border"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
    st.sampled_from([torch.float32, torch.float64]),
)
@pytest.mark.traced  # the import hook makes so many small calls several times slower
def test_each_line_is_bitwise_what_warp_gives_for_it_alone(
    name, mode, padding_mode, align_corners, antialias, seed, dtype
):
    torch.manual_seed(seed)
    family, theta = drawn(name, 4, dtype)
    images = torch.randn(4, 2, 14, 37, dtype=dtype)
    filled = padding_mode == "constant"
    fill = [0.5, -2.0] if filled else None
    sampler = Sampler(
        mode,
        padding_mode=padding_mode,
        fill_value=fill,
        align_corners=align_corners,
        antialias=antialias,
    )
    v, widths = warp_lines(images, theta, family, height=9, multiple_of=4, sampler=sampler)
    assert v.shape[:3] == (4, 2, 9)
    assert v.shape[3] == -(-int(widths.max()) // 4) * 4
    outside = torch.tensor(fill or [0.0, 0.0], dtype=dtype)[:, None, None]
    for n, width in enumerate(widths.tolist()):
        alone = sampler.warp(images[n : n + 1], theta[n : n + 1], family, size=(9, width))
        assert_identical(v[n, :, :, :width], alone[0])
        padding = v[n, :, :, width:]
        assert_identical(padding, outside.expand_as(padding))


@corners
@pytest.mark.parametrize("source", [(20, 61), (9, 4), (32, 400)])
def test_an_image_at_its_own_height_is_itself(source, align_corners):
    images = torch.randn(2, 3, *source)
    theta = Affine().identity().expand(2, -1)
    sampler = Sampler(align_corners=align_corners)
    v, widths = warp_lines(images, theta, Affine(), height=source[0], sampler=sampler)
    assert widths.tolist() == [source[1]] * 2
    assert_identical(v, images)


@corners
def test_a_turned_crop_is_as_wide_as_its_sides_say(align_corners):
    """Oracle: a rectangle of so many pixels, whose corners OpenCV turns."""
    source, box = (300, 500), ((260.0, 140.0), (231.0, 33.0), 27.0)  # centre, size, degrees
    top_left, top_right, bottom_left = cv2.boxPoints(box)[[1, 2, 0]].astype(np.float64)
    centre = (np.array(source[::-1]) - 1) / 2
    half = (np.array(source[::-1]) - int(align_corners)) / 2
    x, y, t = (
        v / half
        for v in (
            (top_right - top_left) / 2,
            (bottom_left - top_left) / 2,
            (top_right + bottom_left) / 2 - centre,
        )
    )
    theta = torch.tensor(np.stack((x, y, t), 1).flatten(), dtype=torch.float32)[None]
    (found,) = widths_of(theta, Affine(), source, 33, align_corners).tolist()
    assert found == (225 if align_corners else 231)  # 1 + 32 · 231 / 33, and 33 · 231 / 33


@pytest.mark.parametrize("name", FAMILIES)
def test_a_width_is_length_over_height(name):
    """Oracle: OpenCV's lengths of finely sampled rows and columns, and SciPy's integral of them."""
    source, (family, theta) = (40, 170), drawn(name, 5, torch.float64)
    theta = family.identity() + (theta - family.identity()) / 2
    grid = family.grid(theta, (161, 401), align_corners=True).numpy()
    pixels = (grid * (np.array(source[::-1]) / 2)).astype(np.float32)
    found = widths_of(theta, family, source, 200, max_width=10**5).tolist()
    for width, mapped in zip(found, pixels, strict=True):
        length, height = (
            trapezoid([cv2.arcLength(np.ascontiguousarray(c), False) for c in curves]) / n
            for curves, n in ((mapped, 160), (mapped.swapaxes(0, 1), 400))
        )
        assert width == pytest.approx(200 * length / height, rel=5e-3, abs=0.51)


class Curve(Deformation):
    """Target coordinates through a function, whatever θ is."""

    entries = ("nothing",)

    def __init__(self, function):
        super().__init__(2)
        self.function = function

    def identity(self):
        return torch.zeros(1)

    def describe(self, theta):
        return {}

    def _displacement(self, values, coordinates):
        x, y = torch.broadcast_tensors(*coordinates)
        moved = torch.stack(self.function(x, y), -1) - torch.stack((x, y), -1)
        return moved.expand(len(values), *moved.shape[1:])


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_a_line_along_an_arc_is_as_wide_as_the_middle_of_the_arc_is_long(degrees):
    angle, height, radius = math.radians(degrees), 0.2, 0.8

    def arc(x, y):
        r = radius - y * height / 2
        return r * torch.sin(x * angle / 2), 1 - r * torch.cos(x * angle / 2)

    (found,) = widths_of(torch.zeros(1, 1), Curve(arc), (70, 70), 100).tolist()
    assert found == pytest.approx(100 * radius * angle / height, rel=1e-3, abs=0.51)


def test_a_line_along_a_parabola_is_as_wide_as_it_is_long():
    """Oracle: SciPy's integral of its length, in an image of 2 × 1."""
    family = Curve(lambda x, y: (x, x**2 / 2 + 0.1 * y))
    (found,) = widths_of(torch.zeros(1, 1), family, (60, 120), 50).tolist()
    length, _ = quad(lambda x: math.hypot(2, x), -1, 1)
    assert found == pytest.approx(50 * length / 0.2, rel=1e-3)


def test_rows_and_columns_of_different_lengths_count_by_their_mean():
    """Oracle: SciPy's integrals, of a line that is widest at its edges."""
    family = Curve(lambda x, y: (x * (1 + 3 * y**2) / 5, y / 5))
    (found,) = widths_of(torch.zeros(1, 1), family, (64, 64), 400).tolist()
    length, _ = quad(lambda y: (1 + 3 * y**2) / 5, -1, 1)
    height, _ = dblquad(lambda y, x: math.hypot(6 * x * y, 1) / 10, -1, 1, -1, 1)
    assert found == pytest.approx(400 * length / height, rel=2e-3)


def test_turning_moving_scaling_and_mirroring_change_no_width():
    torch.manual_seed(3)
    positions = SPLINE.identity().double() + 0.1 * torch.randn(6, 32, dtype=torch.float64)
    points = positions.unflatten(1, (-1, 2))
    turn = Similarity().matrix(torch.tensor([[0.6, 1.1, 0.2, -0.3]], dtype=torch.float64))[0]
    moved = points @ turn[:, :2].mT + turn[:, 2]
    mirrored = points * torch.tensor([-1.0, 1.0]).double()
    found = [
        widths_of(p.flatten(1), SPLINE, (64, 64), 100).tolist() for p in (points, moved, mirrored)
    ]
    assert found[0] == found[1] == found[2]
    assert len({*found[0]}) > 3


@pytest.mark.parametrize("ratio", [0.5, 1.5, 2.5, 32.5, 33.5])
def test_half_a_pixel_is_rounded_up_whatever_the_rounding_errors(ratio):
    """A line of so many pixels and a half, in 41 places and turns."""
    turns = torch.linspace(0, 3, 41)
    s = torch.stack((turns.cos(), turns.sin()), 1) / 40
    x, y = ratio * s, s.flip(1) * torch.tensor([-1.0, 1.0])
    theta = torch.stack((x[:, 0], y[:, 0], turns, x[:, 1], y[:, 1], -turns), 1)
    found = widths_of(theta, Affine(), (64, 64), 1)
    assert found.tolist() == [math.floor(ratio + 0.5)] * 41


@corners
def test_what_has_no_length_or_height_gets_the_smallest_width(align_corners):
    nan, inf = math.nan, math.inf
    theta = torch.tensor(
        [
            [0.0, 0, 0, 0, 0, 0],  # a point
            [0.0, 0, 0, 0, 1, 0],  # no length
            [1.0, 0, 0, 0, 0, 0],  # no height
            [nan, 0, 0, 0, 1, 0],
            [1.0, 0, inf, 0, 1, 0],
            [1e38, 0, 0, 0, 1e38, 0],  # too far to measure
            [1e-3, 0, 0, 0, 1, 0],  # short
            [1.0, 0, 0, 0, 1e-4, 0],  # long
            [1.0, 0, 0, 0, 1, 0],
        ]
    )
    found = widths_of(theta, Affine(), (30, 90), 30, align_corners, min_width=5, max_width=500)
    assert found.tolist() == [5, 5, 5, 5, 5, found[5].item(), 5, 500, 90]
    v, _ = warp_lines(torch.rand(1, 1, 30, 90), theta, Affine(), height=30)
    assert v.isfinite().all()
    behind = torch.tensor([[1.0, 0, 0, 0, 1, 0, 2, 0, 1]])[:, : Projective().num_parameters]
    assert widths_of(behind, Projective(), (30, 90), 30, min_width=7).tolist() == [7]


def test_gradients_are_those_of_each_line_and_of_the_fill():
    torch.manual_seed(5)
    family, theta = drawn("spline", 3, torch.float64)
    images = torch.randn(3, 2, 12, 30, dtype=torch.float64, requires_grad=True)
    theta.requires_grad_()
    fill = torch.nn.Parameter(torch.randn(2, dtype=torch.float64))
    sampler = Sampler(padding_mode="constant", fill_value=fill)
    v, widths = warp_lines(images, theta, family, height=8, sampler=sampler)
    cotangent = torch.randn_like(v)
    found = torch.autograd.grad(v, (images, theta, fill), cotangent)
    total = 0
    for n, width in enumerate(widths.tolist()):
        one = sampler.warp(images[n : n + 1], theta[n : n + 1], family, size=(8, width))
        total = total + (one[0] * cotangent[n, :, :, :width]).sum()
        total = total + (fill[:, None, None] * cotangent[n, :, :, width:]).sum()
    wanted = torch.autograd.grad(total, (images, theta, fill))
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_second_derivatives():
    torch.manual_seed(6)
    theta = (Affine().identity() + 0.1 * torch.randn(2, 6)).double().requires_grad_()
    images = torch.randn(2, 1, 6, 9, dtype=torch.float64)

    def lines(theta):
        return warp_lines(images, theta, Affine(), height=3, widths=[4, 5], sampler=cubic)[0]

    cubic = Sampler("bicubic")
    assert torch.autograd.gradcheck(lines, theta)
    assert torch.autograd.gradgradcheck(lines, theta)


@pytest.mark.parametrize(("images", "maps"), [(1, 2), (2, 2), (2, 1), (1, 1)])
def test_several_lines_of_each_image(images, maps):
    torch.manual_seed(1)
    family, n = Attention(per_axis=True), max(images, maps)
    image = torch.rand(images, 3, 24, 50)
    theta = family.identity() + 0.3 * torch.rand(maps, 3, 4)
    v, widths = warp_lines(image, theta, family, height=12, multiple_of=8)
    assert widths.shape == (n, 3)
    assert v.shape == (n, 3, 3, 12, -(-int(widths.max()) // 8) * 8)
    each = image.expand(n, -1, -1, -1).repeat_interleave(3, 0)
    own = theta.expand(n, -1, -1).flatten(0, 1)
    flat, same = warp_lines(each, own, family, height=12, multiple_of=8)
    assert_identical(v.flatten(0, 1), flat)
    assert_identical(widths.flatten(), same)


@pytest.mark.parametrize(("images", "maps"), [(1, 4), (4, 1), (1, 1), (4, 4)])
def test_a_batch_of_one_serves_all(images, maps):
    torch.manual_seed(2)
    image, (family, theta) = torch.rand(images, 1, 20, 40), drawn("affine", maps)
    v, widths = warp_lines(image, theta, family, height=10)
    n = max(images, maps)
    assert (len(v), len(widths)) == (n, n)
    all_images, all_theta = image.expand(n, -1, -1, -1), theta.expand(n, -1)
    assert_identical((v, widths), warp_lines(all_images, all_theta, family, height=10))


@pytest.mark.parametrize("images", [0, 1])
def test_no_lines(images):
    image = torch.rand(images, 3, 20, 40)
    v, widths = warp_lines(image, torch.zeros(0, 6), Affine(), min_width=5, multiple_of=4)
    assert (v.shape, widths.shape) == ((0, 3, 32, 8), (0,))


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_widths_that_are_given(kind):
    image, theta = torch.rand(2, 1, 20, 40), Affine().identity().expand(2, -1)
    v, widths = warp_lines(image, theta, Affine(), widths=kind([30, 3000]), min_width=100)
    assert widths.tolist() == [30, 3000]
    assert_identical(v[:1, :, :, :30], warp(image[:1], theta[:1], Affine(), size=(32, 30)))
    three = theta[None].expand(2, 2, 6)
    grown = warp_lines(image, three, Affine(), widths=torch.tensor([[3, 4], [5, 6]]))[1]
    assert grown.tolist() == [[3, 4], [5, 6]]


def test_one_width_for_all_batches():
    theta = torch.tensor([[0.2, 0, 0, 0, 1, 0], [9.0, 0, 0, 0, 1, 0]])
    v, widths = warp_lines(
        torch.rand(2, 1, 32, 64), theta, Affine(), max_width=100, multiple_of=100
    )
    assert v.shape == (2, 1, 32, 100)
    assert widths.tolist() == [13, 100]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_the_image_keeps_its_dtype(dtype):
    image = (200 * torch.rand(2, 3, 16, 40)).to(dtype)
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0], [0.5, 0, 0, 0, 1, 0]]).bfloat16()
    sampler = Sampler("nearest", padding_mode="constant", fill_value=7)
    v, widths = warp_lines(image, theta, Affine(), height=16, sampler=sampler)
    assert (v.dtype, widths.dtype, widths.tolist()) == (dtype, torch.int64, [40, 20])
    assert_identical(v[0], image[0])
    assert (v[1, :, :, 20:] == 7).all()


def test_channels_last_stays():
    image = torch.rand(3, 4, 16, 40).contiguous(memory_format=torch.channels_last)
    family, theta = drawn("affine")
    v, _ = warp_lines(image, theta, family)
    assert v.is_contiguous(memory_format=torch.channels_last)
    assert_identical(v, warp_lines(image.contiguous(), theta, family)[0].contiguous())


def test_autocast_changes_no_width():
    family, theta = drawn("spline", 8)
    plain = warp_lines(torch.rand(1, 1, 32, 200), theta, family)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_identical(warp_lines(torch.rand(1, 1, 32, 200), theta, family)[1], plain)


def test_behind_a_spatial_transformer():
    family = ThinPlateSpline(text_rows(6, margin=0.05), parameters="positions")
    localisation = LocalisationCNN(family, in_channels=1, perturbation=0.1)
    stn = SpatialTransformer(localisation, family, Sampler(antialias=True), size=1)
    images = torch.rand(3, 1, 40, 120)
    _, theta = stn(images, return_theta=True)
    v, widths = warp_lines(images, theta, stn.transformation, sampler=stn.sampler)
    v.square().mean().backward()
    assert all(60 < width < 180 for width in widths.tolist())
    assert localisation.head.weight.grad.abs().sum() > 0
