"""Translations; oracle: shifts by whole pixels."""

import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Translation, warp


def test_whole_pixels_shift_the_image():
    image = torch.rand(1, 2, 6, 8)
    theta = torch.tensor([[2 * 2 / 8, -1 * 2 / 6]])  # 2 pixels right, 1 up: the picture moves back
    expected = torch.zeros_like(image)
    expected[:, :, 1:, :-2] = image[:, :, :-1, 2:]
    assert_close(warp(image, theta, Translation()), expected, rtol=0, atol=1e-6)


def test_inverse_and_compose_are_minus_and_plus():
    a, b = torch.randn(2, 5, 3)
    assert_identical(Translation(3).inverse(a), -a)
    assert_close(Translation(3).compose(a, b), a + b)


def test_describe():
    parts = Translation().describe(torch.tensor([[0.5, -1.0]]))
    assert {k: v.item() for k, v in parts.items()} == {
        "translation x (%)": 25.0,
        "translation y (%)": -50.0,
    }
