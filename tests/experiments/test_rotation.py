"""Distortion R: its angles, and its picture against scipy's rotation."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from spatial_transformers.experiments.data import rotation


def rotate(images, **changes):
    options = {"size": images.shape[-1], "share": 1.0, "seed": 0, "epoch": 0} | changes
    return rotation.rotate(images, torch.arange(len(images)), **options)


@pytest.mark.parametrize("degrees", [-73.0, 20.0, 90.0])
def test_against_scipy(monkeypatch, degrees):
    angle = torch.tensor([degrees], dtype=torch.float64)
    monkeypatch.setattr(rotation, "uniform", lambda *args, **kwargs: angle)
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((28, 28)), 1)
    turned = rotate(torch.from_numpy(image)[None, None])[0, 0].numpy()
    expected = ndimage.rotate(image, degrees, reshape=False, order=1)
    inside = np.hypot(*np.mgrid[-13.5:14, -13.5:14]) < 12
    np.testing.assert_allclose(turned[inside], expected[inside], atol=1e-6)


def test_angles_span_the_paper_s_range(monkeypatch):
    seen = []
    uniform = rotation.uniform
    monkeypatch.setattr(
        rotation, "uniform", lambda *a, **k: seen.append(uniform(*a, **k)) or seen[-1]
    )
    rotate(torch.zeros(5000, 1, 2, 2))
    assert seen[0].min() < -89
    assert seen[0].max() > 89
    assert seen[0].abs().max() <= 90


def test_share_leaves_room_on_the_canvas():
    turned = rotate(torch.ones(50, 1, 8, 8), size=32, share=0.5)
    border = torch.cat([turned[..., :3, :], turned[..., -3:, :]])
    assert border.abs().max() == 0
    assert turned.sum((1, 2, 3)).allclose(torch.tensor(256.0), rtol=0.05)  # 16 × 16 pixels of 1


def test_epochs_differ_and_repeat():
    images = torch.rand(4, 1, 9, 9)
    assert not torch.equal(rotate(images), rotate(images, epoch=1))
    assert torch.equal(rotate(images, epoch=1), rotate(images, epoch=1))
