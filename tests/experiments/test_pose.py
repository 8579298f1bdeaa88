"""θ of many images in human units, and what aligns."""

import math

import pytest
import torch

from spatial_transformers import Affine, Attention, Projective
from spatial_transformers.experiments.pose import alignment, summarise


def test_summary():
    turns = torch.tensor([[0.0, -1, 0, 1, 0, 0], [0.0, 1, 0, -1, 0, 0]])
    summary = summarise(Affine(), turns)
    assert summary["rotation (deg)"] == {"mean": 0, "std": pytest.approx(90)}
    assert summary["scale x"] == {"mean": 1, "std": 0}


def moved(angles, scales, shifts):
    """Return θ of maps that turn, scale and shift, in this order."""
    cos, sin = scales * angles.deg2rad().cos(), scales * angles.deg2rad().sin()
    return torch.stack((cos, -sin, shifts, sin, cos, 0 * shifts), 1)


def test_transformers_side_by_side_are_summarised_apart():
    """What leaves the image is of all of them."""
    theta = torch.tensor([[[0.5, -0.5, 0.0], [0.5, 0.8, 0.2]], [[0.5, -0.3, 0.0], [0.5, 0.8, 0.0]]])
    summary = summarise(Attention(), theta)
    places = {k: v for k, v in summary.items() if "translation x" in k}
    first, second = (places[f"translation x (%), transformer {k}"] for k in (1, 2))
    assert (first["mean"], first["std"]) == (pytest.approx(-20), pytest.approx(5))
    assert (second["mean"], second["std"]) == (pytest.approx(40), pytest.approx(0, abs=1e-4))
    assert 0 < summary["outside (%)"]["mean"] < 50
    assert len(summary) == 1 + 2 * 3
    assert summarise(Attention(), theta[:, :1]).keys() == summarise(Attention(), theta[:, 0]).keys()


@pytest.mark.parametrize("undoes", [Affine(), Projective()])
def test_alignment(undoes):
    """What the transformer undoes is aligned; what it leaves is told by class and part."""
    labels = torch.arange(600) % 2
    angles = 60 * torch.linspace(-1, 1, 600) + 170 * labels
    shifts = 0.2 * torch.rand(600)
    given = moved(angles, torch.ones(600), shifts)
    none = torch.zeros(600, undoes.num_parameters - 6)  # of projection
    undone = torch.cat((moved(-angles, torch.ones(600), torch.zeros(600)), none), 1)
    found = alignment((Affine(), given), (undoes, undone), labels)
    assert found["rotation (deg)"] == {
        "before": pytest.approx(30, abs=0.3),
        "after": pytest.approx(0, abs=1e-3),
    }
    far = torch.cat([(own - own.median()).abs() for own in (shifts[::2], shifts[1::2])]).median()
    assert found["translation x (%)"]["after"] == pytest.approx(50 * far.item(), abs=1e-3)
    assert found["scale x"] == pytest.approx({"before": 0, "after": 0}, abs=1e-5)


def test_alignment_counts_points_beyond_a_horizon():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 4, 0], [1.0, 0, 0, 0, 1, 0, 0, 0]])
    still = Affine(), Affine().identity().expand(2, -1)
    found = alignment(still, (Projective(), theta), torch.zeros(2))
    assert all(math.isfinite(parts["after"]) for parts in found.values())
