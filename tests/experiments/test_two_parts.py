"""Two parts on clutter; oracles: numpy's masks of boxes, and what each part's canvas shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spatial_transformers import Attention
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.pairs import Pairs
from spatial_transformers.experiments.data.samples import InMemory
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.pose import overlaps
from spatial_transformers.experiments.registry import defaults, named
from spatial_transformers.experiments.two_parts import MODELS, PARTS_APART, combination

NAME = "two-parts"


def _corners(count):
    """Return the upper left corner of each part in pixels: (N, 2, 2) as x, y."""
    family, theta = PARTS_APART.place(Draws(0, 0, torch.arange(count)))
    theta = theta.flatten(0, 1)
    corner = torch.tensor([[[-1.0, -1.0]]], dtype=torch.float64).expand(len(theta), -1, -1)
    return (24 * family.inverse_points(theta, corner) + 24).view(-1, 2, 2)


def test_parts_lie_apart_on_the_canvas():
    corners = _corners(4000)
    assert corners.min() > -1e-9
    assert corners.max() < 32 + 1e-9
    gaps = (corners[:, 0] - corners[:, 1]).abs()
    assert (gaps.max(1).values >= 16 - 1e-9).all()
    for axis in range(2):  # the second may be behind along either axis, and lies anywhere on it
        assert 0.5 < (corners[:, 1, axis] - corners[:, 0, axis] > 16).double().mean() < 0.75
        for part in range(2):
            reached = torch.histc(corners[:, part, axis], 8, 0, 32)
            assert reached.min() > 0.4 * 4000 / 8


def test_nothing_of_a_part_lies_off_its_box():
    corners = _corners(20)
    white = torch.ones(20, 2, 28, 28)
    canvases = PARTS_APART(white, Draws(0, 0, torch.arange(20)), white)
    at = torch.arange(48) + 0.5
    for canvas, corner in zip(canvases.flatten(0, 1), corners.flatten(0, 1), strict=True):
        depth = torch.minimum(at - corner[:, None], corner[:, None] + 16 - at)  # into the box
        depth = torch.minimum(depth[1][:, None], depth[0])
        assert canvas[depth > 1].min() > 1 - 1e-5
        assert canvas[depth < -1].max() == 0


def test_the_class_is_the_combination():
    first, second = torch.arange(5).repeat(5), torch.arange(5, 10).repeat_interleave(5)
    assert sorted(combination(first, second).tolist()) == [*range(25)]
    pools = (InMemory(torch.zeros(n, 1, 28, 28), torch.arange(n) % 5) for n in (7, 3))
    pairs = Pairs.of(*pools, combination, times=2, seed=0)
    assert len(pairs) == 14
    assert torch.bincount(pairs.partners[:7]).min() >= 2  # second ones are used equally often
    data = named(NAME).data(defaults(NAME, digits="scikit-learn"), None)
    images, classes = data.train.take(torch.arange(len(data.train)))
    assert images.shape[1:] == (2, 28, 28)
    assert (data.train.first.targets < 5).all()
    assert (data.train.second.targets >= 5).all()
    assert sorted({*classes.tolist()}) == [*range(25)]


def test_overlaps_are_those_of_masks():
    """Oracle: numpy's count of pixels in both boxes and in either."""
    low = torch.rand(2, 6, 2, dtype=torch.float64) - 1
    side = 0.3 + torch.rand(2, 6, 1, dtype=torch.float64) / 2
    scale, centre = side / 2, low + side / 2
    view = torch.cat((scale[0], centre[0]), 1)
    part = torch.cat((1 / scale[1], -centre[1] / scale[1]), 1)  # the canvas → the part
    found = overlaps((Attention(), part[:, None]), (Attention(), view))
    at = (np.arange(2000) + 0.5) / 1000 - 1
    due = []
    for n in range(6):
        rows, columns = (
            [(low[k, n, axis].item() < at) & (at < (low + side)[k, n, axis].item()) for k in (0, 1)]
            for axis in (1, 0)
        )
        one, other = (r[:, None] & c for r, c in zip(rows, columns, strict=True))
        due.append((one & other).sum() / (one | other).sum())
    assert found == {"transformer 1": {"part 1": pytest.approx(np.mean(due), abs=2e-3)}}


def test_networks_are_of_one_size():
    pixels = []
    for model in MODELS:
        network = named(NAME).network(defaults(NAME, model=model)).eval()
        assert 390_000 < count_parameters(network) <= 400_000
        network.classifier.register_forward_pre_hook(
            lambda _, given: pixels.append(given[0][0].numel())
        )
        logits, _ = network(torch.rand(2, 1, 48, 48))
        assert logits.shape == (2, 25)
    assert pixels == [48 * 48, 32 * 32, 2 * 32 * 32, 48 * 48]  # 3 × 3, 2 × 2 and 1 are averaged


def test_a_rehearsal_trains_and_says_whom_each_frames(tmp_path):
    (cell,) = reproduce.cells(NAME, ["parts/2x-st-cnn/attention"], quick=True)
    recipe = replace(cell.recipe, epochs=1, batch_size=300)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] > 200
    for frame in found["overlaps"].values():
        assert all(0 < frame[part] < 1 for part in ("part 1", "part 2"))
    run.show(tmp_path, tmp_path / "picture.png", count=3)
