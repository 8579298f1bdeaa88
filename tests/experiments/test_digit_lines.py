"""Lines of digits; oracles: itertools' groups for what CTC reads, and Pillow's resizing."""

from itertools import groupby

import numpy as np
import pytest
import torch
from PIL import Image

from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.digit_lines import LONGEST, SIZE, SPANS, VIEW, bent, real
from spatial_transformers.experiments.digit_lines.task import Transcription
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named

NAME = "digit-lines"
BLANK = 10


def _logits(labels):
    return torch.nn.functional.one_hot(labels, BLANK + 1).float()


def test_columns_are_read_as_ctc_says():
    labels = torch.randint(0, 4, (300, 12), generator=torch.Generator().manual_seed(0))
    labels[labels == 3] = BLANK
    read = Transcription(BLANK).read(_logits(labels))
    assert read.shape == labels.shape
    for row, found in zip(labels.tolist(), read.tolist(), strict=True):
        due = [label for label, _ in groupby(row) if label != BLANK]
        assert found == due + [BLANK] * (12 - len(due))


def test_a_line_is_wrong_unless_all_of_it_is_read():
    task = Transcription(BLANK)
    columns = torch.tensor([[1, 1, BLANK, 1, 2, BLANK, BLANK, BLANK]]).expand(4, -1)
    lines = [[1, 1, 2], [1, 2], [1, 1, 2, 2], [1, 1, 3]]
    targets = torch.tensor([line + [BLANK] * (LONGEST - len(line)) for line in lines])
    scores = task.scores(_logits(columns), None, targets)
    assert scores["error"].tolist() == [False, True, True, True]
    assert task.captions(_logits(columns), targets)[1] == "12, read as 112"


def test_a_picture_holds_the_whole_line():
    """No point of its edge lies in the line's box, and short lines are bent less."""
    count = 3000
    slopes = []
    for length in (8, 1):
        points = bent(Draws(0, 0, torch.arange(count)), torch.full((count,), length))
        assert points.shape == (count, *SIZE, 2)
        inside = points.abs().amax(-1) < 0.97
        edge = torch.ones(SIZE, dtype=torch.bool)
        edge[1:-1, 1:-1] = False
        assert not inside[:, edge].any()
        for axis in (1, 2):  # and it is no larger than it must be
            spans = inside.any(axis).double().mean(1)
            assert spans.min() > 0.2
            assert spans.mean() > 0.5
        across, down = (points[..., 1].diff(dim=axis).abs().mean() for axis in (2, 1))
        slopes.append(across / down)
    assert slopes[0] > 2 * slopes[1]


def test_networks_are_of_one_size_and_see_the_same_picture():
    images, sizes = torch.rand(2, 3, *SIZE), []
    for model, columns in (("cnn", VIEW[1]), ("st-cnn", VIEW[1]), ("cnn-48", SIZE[1])):
        recipe = defaults(NAME, model=model)
        network = named(NAME).network(recipe).eval()
        output, theta = network(images)
        assert output.shape == (2, columns // 4, BLANK + 1)
        assert (theta is None) == (model != "st-cnn")
        sizes.append(count_parameters(network))
    assert max(sizes) < 1.07 * min(sizes)  # whole filters


@pytest.fixture
def words(tmp_path):
    """A folder with photographs of both parts, one of nine digits: red tells x, and green y."""
    images = tmp_path / "digit_words" / "images"
    images.mkdir(parents=True)
    lines = ["file,split,digits,width,height,digit_boxes_xywh_pixels"]
    digits = ("12", "test"), ("0" * 9, "test"), ("12345678", "test"), ("7", "train")
    for number, (said, split) in enumerate(digits):
        x, y = (np.linspace(0, 255, n) for n in (150, 90 + number))
        colours = np.broadcast_arrays(x, y[:, None], 128)
        pixels = np.stack(colours, -1).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
        lines.append(f"{number}.png,{split},{said},150,{90 + number},")
    (images.parent / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_photographs_lie_whole_in_loose_crops(words):
    found = named(NAME).independent(defaults(NAME), words)["photographs"]
    assert found.targets.tolist() == [[1, 2] + 6 * [BLANK], [*range(1, 9)]]
    for red, green, blue in found.inputs.double():
        assert (blue - 128).abs().max() <= 1
        for ramp in (red, green.T):
            assert (ramp - ramp[:1]).abs().max() <= 1
            row = ramp[0]
            assert row[0] <= 1
            assert row[-1] >= 254
            assert row.diff().min() >= 0
            inside = ((row > 2) & (row < 253)).double().mean()
            assert SPANS[0] - 0.08 < inside < SPANS[1]
    assert real(words, "train").targets[:, 0].tolist() == [7]
    assert named(NAME).independent(defaults(NAME), None) == {}
