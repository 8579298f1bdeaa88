"""Antialiased resizing; oracles: torch's interpolate in 2-D, separability in 3-D."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import InputError
from spatial_transformers.localisation.resize import fixed_size, resize
from tracing import compile_and_compare, export_and_compare, jvp_and_compare, outcome

#: source and target: larger, smaller, mixed, odd, not square, far apart, down to one pixel
SIZES = [
    ((8, 8), (32, 32)),
    ((64, 64), (32, 32)),
    ((9, 40), (32, 16)),
    ((33, 31), (32, 32)),
    ((97, 13), (7, 29)),
    ((224, 150), (14, 33)),
    ((5, 6), (1, 1)),
    ((1, 1), (3, 4)),
    ((1, 50), (2, 2)),
]


def _interpolate(image, size):
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def _along(vector, target):
    """Resize one axis by the oracle."""
    return _interpolate(vector[None, None, None], (1, target))[0, 0, 0]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_values_and_gradients_are_those_of_interpolate(source, target):
    image = (torch.randn(2, 3, *source, dtype=torch.float64),)
    found = outcome(lambda u: resize(u, target), image)
    assert_close(found, outcome(lambda u: _interpolate(u, target), image), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("source", "target"),
    [((8, 9, 10), (16, 16, 16)), ((40, 21, 17), (16, 5, 16)), ((1, 30, 8), (4, 4, 4))],
)
def test_a_volume_is_resized_axis_by_axis(source, target):
    a, b, c = (torch.randn(n, dtype=torch.float64) for n in source)
    volume = torch.einsum("i,j,k->ijk", a, b, c)[None, None]
    resized = [_along(v, n) for v, n in zip((a, b, c), target, strict=True)]
    expected = torch.einsum("i,j,k->ijk", *resized)[None, None]
    assert_close(resize(volume, target), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("source", "target"), [*SIZES, ((8, 9, 30), (16, 4, 16))])
def test_constants_stay(source, target):
    image = torch.full((1, 2, *source), 3.7)
    assert_close(resize(image, target), torch.full((1, 2, *target), 3.7), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(32, 32), (7, 30), (1, 1), (16, 16, 16), (3, 9, 5)])
def test_an_image_of_that_size_is_returned_bit_for_bit(size, dtype):
    image = torch.randn(2, 3, *size).to(dtype)
    assert_identical(resize(image, size), image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once_at_the_end(dtype):
    image = torch.randn(2, 3, 40, 23).to(dtype)
    expected = resize(image.float(), (16, 9)).to(dtype)
    assert_identical(resize(image, (16, 9)), expected)


def test_autocast_changes_nothing():
    image = torch.randn(2, 3, 40, 23)
    expected = resize(image, (16, 9))
    with torch.autocast("cpu", torch.bfloat16):
        assert_identical(resize(image, (16, 9)), expected)


def test_channels_last_and_a_batch_of_none():
    image = torch.randn(2, 3, 40, 23)
    last = image.contiguous(memory_format=torch.channels_last)
    assert_close(resize(last, (16, 9)), resize(image, (16, 9)))
    assert resize(image[:0], (16, 9)).shape == (0, 3, 16, 9)


def test_size_unless_given():
    assert fixed_size(None, 2) == (32, 32)
    assert fixed_size(None, 3) == (16, 16, 16)
    assert fixed_size(9, 2) == (9, 9)
    assert fixed_size((5, 9), 2) == (5, 9)


@pytest.mark.traced
@pytest.mark.parametrize("wrong", [(8, 8, 8), 0, (8, 0)])
def test_a_size_that_is_none(wrong):
    with pytest.raises(InputError, match=r"give \(H, W\), each at least 1 pixel"):
        fixed_size(wrong, 2)


@pytest.mark.traced
@pytest.mark.parametrize("target", [(8, 9), (5, 6, 7)])
def test_traced_for_any_size(target):
    sizes = ((13, 6, 14), (4, 17, 8), (5, 9, 20), (30, 3, 2))  # both sides of the target
    cases = [
        (torch.rand(n, 1, *size[: len(target)]),)
        for n, size in zip((2, 3, 1, 4), sizes, strict=True)
    ]
    compile_and_compare(lambda u: resize(u, target), cases[:2])
    export_and_compare(lambda u: resize(u, target), cases, [(0, *range(2, len(target) + 2))])


@pytest.mark.traced
def test_forward_mode():
    jvp_and_compare(lambda u: resize(u, (5, 9)), torch.rand(2, 1, 12, 4, dtype=torch.float64))
