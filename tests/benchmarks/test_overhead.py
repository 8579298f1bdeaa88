"""What transformers add: networks that note their passes, and a clock that says what is due."""

import json

import pytest
import torch
from torch import nn

from spatial_transformers import InputError
from spatial_transformers.benchmarks import overhead
from spatial_transformers.commands import main
from spatial_transformers.experiments.svhn import MODELS

PASSES = []


class _Counted(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.layer = nn.Linear(64, 1)

    def forward(self, image):
        PASSES.append((self.model, "forward", tuple(image.shape)))
        result = self.layer(image)
        result.register_hook(lambda _: PASSES.append((self.model, "backward")))
        return result, None


def _clock(calls, repeats, device):
    """Call each once, and say 10 ms, and 2 ms more for each transformer."""
    for call in calls.values():
        call()
    return {name: repeats * [0.01 + 0.002 * MODELS[name]] for name in calls}


def test_the_ratio_is_that_of_both_passes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(overhead, "of_the_paper", _Counted)
    monkeypatch.setattr(overhead, "alternate", _clock)
    PASSES.clear()
    path = tmp_path / "new" / "overhead.json"
    assert main(["bench", "overhead", "--repeats", "7", "--json", str(path)]) == 0
    passes = (("forward", (16, 3, 64, 64)), ("backward",))
    assert [(model, *each) for model in MODELS for each in passes] == PASSES
    found = json.loads(path.read_text())
    rows = {row["network"]: (row["transformers"], row["ms"], row["ratio"]) for row in found["rows"]}
    assert rows == {
        "cnn": (0, 10, 1),
        "st-cnn": (1, 12, pytest.approx(1.2)),
        "4-deep-st-cnn": (4, 18, pytest.approx(1.8)),
    }
    assert found["repeats"] == 7
    printed = capsys.readouterr().out
    assert printed.strip() == overhead.table(found)
    assert "| 4-deep-st-cnn | 4 | 18 | +80.0 % |" in printed


def test_networks_have_the_width_of_the_paper():
    network = overhead.of_the_paper("cnn")
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [48, 64, 128, 160, 192, 192, 192, 192]
    assert network(torch.rand(2, 3, 64, 64))[0].shape == (2, 5, 11)


def test_less_than_one_repeat_is_refused():
    with pytest.raises(InputError, match="0 repeats and None threads were asked for"):
        overhead.bench(repeats=0)
