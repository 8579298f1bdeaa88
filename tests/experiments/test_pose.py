"""θ in human units: the share of a grid outside, counted by hand."""

import pytest
import torch

from spatial_transformers import Affine, Attention
from spatial_transformers.experiments.pose import in_words, outside, summarise


def test_outside():
    theta = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [torch.nan] * 3])
    assert outside(Attention(), theta).tolist() == [0, 50, 75, 100]


def test_outside_in_3d():
    theta = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
    assert outside(Attention(ndim=3), theta).tolist() == [50, 87.5]


def test_summary():
    turns = torch.tensor([[0.0, -1, 0, 1, 0, 0], [0.0, 1, 0, -1, 0, 0]])
    summary = summarise(Affine(), turns)
    assert summary["rotation (deg)"] == {"mean": 0, "std": pytest.approx(90)}
    assert summary["scale x"] == {"mean": 1, "std": 0}


def test_words():
    words = in_words(Affine(), torch.tensor([[0.0, -0.5, 0.1, 0.5, 0, 0]]))
    assert words[0].splitlines()[:2] == ["rotation (deg) +90", "scale x 0.50"]
    assert "translation x (%) +5" in words[0]
