"""What transformers add to a step: a network that waits says what is due."""

import json
import time

import pytest
import torch
from torch import nn

from spatial_transformers import InputError
from spatial_transformers.benchmarks import overhead
from spatial_transformers.commands import main
from spatial_transformers.experiments.svhn import MODELS


class _Waits(nn.Module):
    """Takes 10 ms, and 2 ms more for each transformer: half of it forward, half backward."""

    def __init__(self, model):
        super().__init__()
        self.seconds = 0.01 + 0.002 * MODELS[model]
        self.layer = nn.Linear(64, 1)

    def forward(self, image):
        time.sleep(self.seconds / 2)
        result = self.layer(image)
        result.register_hook(lambda _: time.sleep(self.seconds / 2))
        return result, None


def test_the_ratio_is_that_of_the_steps(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(overhead, "of_the_paper", _Waits)
    path = tmp_path / "new" / "overhead.json"
    assert main(["bench", "overhead", "--repeats", "5", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    ratios = {row["network"]: row["ratio"] for row in found["rows"]}
    assert ratios["cnn"] == 1
    assert ratios["st-cnn"] == pytest.approx(1.2, abs=0.15)
    assert ratios["4-deep-st-cnn"] == pytest.approx(1.8, abs=0.25)
    assert found["repeats"] == 5
    assert next(row["ms"] for row in found["rows"]) > 9  # both passes
    printed = capsys.readouterr().out
    assert printed.strip() == overhead.table(found)
    assert "| cnn | 0 |" in printed


def test_networks_have_the_width_of_the_paper():
    network = overhead.of_the_paper("cnn")
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [48, 64, 128, 160, 192, 192, 192, 192]
    assert network(torch.rand(2, 3, 64, 64))[0].shape == (2, 5, 11)


def test_less_than_one_repeat_is_refused():
    with pytest.raises(InputError, match="0 repeats and None threads were asked for"):
        overhead.bench(repeats=0)
