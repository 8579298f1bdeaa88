"""The report of a run; oracles: the run's own metrics, an HTML parser, and means that are known."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from spatial_transformers.commands import main
from spatial_transformers.experiments import registry, report
from spatial_transformers.experiments.report import charts
from spatial_transformers.experiments.report.findings import Mean, find
from spatial_transformers.experiments.report.lesson import lessons
from spatial_transformers.experiments.task import Classification

from . import volumes

CLASSES = {"<i>stop & go": (200, 30, 30), "b": (30, 60, 200)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (root / "in" / name).mkdir(parents=True)
        for k in range(9):
            pixels = np.full((24, 24, 3), 230, np.uint8)
            y, x = rng.integers(2, 10, 2)
            pixels[y : y + 12, x : x + 12] = colour
            Image.fromarray(pixels).save(root / "in" / name / f"{k}.png")
    out = root / "run"
    command = ["train", "folder", "--data", str(root / "in"), "--epochs", "2", "--out", str(out)]
    assert main([*command, "--baseline"]) == 0
    return out


class Parts(HTMLParser):
    """Collects texts, and what other files a page asks for."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.images, self.tags, self.asked = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                (self.images if value.startswith("data:image/") else self.asked).append(value)

    def handle_data(self, data):
        self.texts.append(data)


def read(path):
    return Parts(path.read_text(encoding="utf-8"))


def test_one_page_says_it_all_and_asks_for_nothing(trained, tmp_path, capsys):
    page = tmp_path / "r.html"
    assert main(["report", str(trained), "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    parts = read(page)
    assert not parts.asked
    assert not parts.tags & {"script", "i", "link"}
    text = "".join(parts.texts)
    assert "whether the transformer pays is open" in text.lower()  # of two images
    for heading in ("Training", "The worst read", "The best read", "The mean image"):
        assert heading in text
    kinds = [image.partition(";")[0].rpartition("/")[2] for image in parts.images]
    assert kinds == ["png"] * 6 + ["gif", "png"]
    for image in parts.images:
        Image.open(BytesIO(base64.b64decode(image.partition(",")[2]))).verify()


def test_what_is_found_is_what_the_run_found(trained):
    found = find(trained, None)
    shown, read_as = found.labels.unbind(1)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert 100 * (shown != read_as).double().mean() == pytest.approx(metrics["test_error"])
    assert len(found.alignment.theta) == metrics["test_images"]
    for name, (before, after) in found.alignment.means.items():
        assert before.count == after.count == (shown == [*CLASSES].index(name)).sum()
    worst, best = (torch.nn.functional.cross_entropy(
        found.network(inputs)[0], target, reduction="none"
    ) for inputs, target in (found.cases["worst"], found.cases["best"]))  # fmt: skip
    assert worst.min() >= best.median()
    assert worst.diff().max() <= 1e-6
    assert best.diff().min() >= -1e-6


def test_without_a_transformer_there_is_less_to_say(trained, tmp_path):
    report.write(trained / "baseline", tmp_path / "r.html")
    parts = read(tmp_path / "r.html")
    text = "".join(parts.texts)
    assert "The mean image" not in text
    assert "transformer" not in text.partition("The recipe")[0]
    assert len(parts.images) == 4


@pytest.mark.parametrize(
    ("bias", "spread", "words"),
    [
        (0.0, 0.001, "has learned nothing yet: θ has hardly left its start"),
        (0.3, 0.001, "does the same to all images, as a fixed crop would"),
        (0.0, 0.3, None),
    ],
)
def test_it_is_said_that_nothing_is_learned(trained, bias, spread, words):
    alignment = find(trained, None).alignment
    drawn = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    start = alignment.history[:1] * 0 + alignment.transformer.transformation.identity()
    theta = start[0, 0] + bias + spread * drawn
    said = [*lessons(replace(alignment, theta=theta, history=start))]
    assert [words in sentence for sentence in said] == [True] if words else not said


def test_what_hardly_varies_fills_no_axis():
    described = {"rotation (deg)": 3 + 0.01 * torch.rand(9), "scale": 1 + torch.rand(9)}
    narrow, wide = (panel.get_xlim() for panel in charts.histograms(described).axes)
    assert narrow[0] < -1
    assert narrow[1] > 7
    assert wide[1] - wide[0] < 1.2
    run = {"validation": {"error": [3.0, 2.0, 1.0]}}
    axes = charts.curves(Classification(2).metrics[0], run, None).axes[0]
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_mean_keeps_the_contrast_of_images_that_lie_alike():
    images = torch.rand(1, 1, 3, 8, 8).expand(5, 2, -1, -1, -1)
    alike, apart = Mean(), Mean()
    for half in images.split((2, 3)):
        alike.add(half)
    assert torch.allclose(alike.kept, torch.ones(2, dtype=torch.float64))
    assert torch.allclose(alike.image, images[0])
    apart.add(torch.randn(400, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert apart.kept.item() == pytest.approx(1 / 400, rel=0.3)


def test_volumes_and_numbers_are_reported_too(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.EXPERIMENTS, "balls", volumes.EXPERIMENT)
    out = tmp_path / "balls"
    assert main(["train", "balls", "--out", str(out)]) == 0
    report.write(out, tmp_path / "r.html")
    text = "".join(read(tmp_path / "r.html").texts)
    assert "Whether the transformer pays is not known" in text
    assert "What was taken for what" not in text


@pytest.mark.parametrize(
    ("removed", "out", "reason"),
    [
        ("model.safetensors", "r.html", "finish the run with `stn train --resume`"),
        ("metrics.json", "r.html", "finish the run with `stn train --resume`"),
        ("poses.safetensors", "r.html", "poses.safetensors"),
        (None, "r.pdf", "give a name that ends in .html"),
    ],
)
def test_refusals(trained, tmp_path, capsys, removed, out, reason):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    if removed:
        (run / removed).unlink()
    assert main(["report", str(run), "--out", str(tmp_path / out)]) == 2
    refused = capsys.readouterr().err.splitlines()[-1]
    assert refused.startswith("stn report: ")
    assert reason in refused
    assert not (tmp_path / out).exists()
