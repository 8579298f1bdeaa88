"""The page of a report: sections of a sentence or two and a figure, in one file."""

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..._drawing import few_colours, pixels
from .. import metrics, picture
from ..base import Network
from ..compare import verdict
from ..registry import named
from ..task import Classification
from . import charts
from .findings import Alignment, Findings
from .lesson import lessons

_DPI = 110
_COLOURS = 128
_CONFUSED = 10  # pairs of classes that are listed
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  color: #222; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
img { max-width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left }
.number { text-align: right } .lead { font-size: 1.15rem } details { margin-top: 2rem }
"""


def written(findings: Findings) -> str:
    """Return the page."""
    title = f"{findings.recipe.model} on {findings.recipe.experiment}"
    body = "\n".join(
        part
        for section in (_summary, _curves, _cases, _means, _theta, _confusion, _facts)
        for part in section(findings)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n"
        "</html>\n"
    )


def _summary(findings: Findings) -> Iterator[str]:
    found, baseline = findings.metrics, findings.baseline
    yield _text(f"{_sentence(metrics.in_words(found))}.", "lead")
    if baseline is not None:
        yield _text(f"{_sentence(verdict(found, baseline))}.", "lead")
    elif findings.alignment is not None:
        yield _text(
            "Whether the transformer pays is not known: the network without it was not trained. "
            "The same command with --baseline and --resume does so."
        )
    if findings.alignment is not None:
        yield from map(_text, lessons(findings.alignment))
    for name, value in found["independent"].items():
        metric = named(findings.recipe.experiment).headline
        yield _text(f"On images that {name} made, {metric.name} is {metric.in_words(value)}.")


def _curves(findings: Findings) -> Iterator[str]:
    metric = findings.task.metrics[0]
    if not findings.metrics.get("validation", {}).get(metric.key):
        return
    yield "<h2>Training</h2>"
    if not findings.recipe.hold_out:
        yield _text("The validation images trained, too, so the curve says how well they are fit.")
    yield _figure(
        charts.curves(metric, findings.metrics, findings.baseline),
        f"validation {metric.name} by epoch",
    )


def _cases(findings: Findings) -> Iterator[str]:
    for which, (inputs, target) in findings.cases.items():
        yield f"<h2>The {which} read</h2>"
        if findings.alignment is not None:
            yield _text(
                "Above, the input with the grid at which it is read, the thick line at its top. "
                "Below, what the transformer makes of it."
            )
        yield _figure(charts.cases(findings, inputs, target), f"the {which} read images")


def _means(findings: Findings) -> Iterator[str]:
    if findings.alignment is None:
        return
    means = findings.alignment.means
    yield "<h2>The mean image</h2>"
    kept = [
        torch.stack((before.kept.mean(), after.kept.mean())) for before, after in means.values()
    ]
    before, after = (100 * torch.stack(kept).mean(0)).tolist()
    yield _text(
        f"Images that lie alike have a sharp mean. It keeps {before:.0f} % of the images' "
        f"contrast before the transformer, and {after:.0f} % behind it."
    )
    yield _figure(charts.means(means), "mean images")


def _theta(findings: Findings) -> Iterator[str]:
    alignment = findings.alignment
    if alignment is None:
        return
    yield "<h2>What the transformer does</h2>"
    theta = alignment.theta
    for number, one in enumerate(theta.unbind(1) if theta.ndim == 3 else [theta], 1):
        which = f"Transformer {number} of each image. " if theta.ndim == 3 else ""
        yield _text(f"{which}θ of the test images, in human units:")
        described = alignment.transformer.transformation.describe(one)
        yield _figure(charts.histograms(described), "histograms of θ")
    yield _text(
        "How much of what it read lay outside the image, on the average of "
        f"{len(alignment.images)} test images, while it was trained:"
    )
    yield _figure(charts.outside(alignment), "share outside the image by step")
    yield _text("How it came to read these images:")
    yield _film(findings.network, alignment)


def _confusion(findings: Findings) -> Iterator[str]:
    if findings.labels is None:
        return
    assert isinstance(findings.task, Classification)
    names = findings.task.names
    pairs, classes = findings.labels, len(names)
    counts = torch.bincount(classes * pairs[:, 0] + pairs[:, 1], minlength=classes**2)
    counts = counts.view(classes, classes)
    yield "<h2>What was taken for what</h2>"
    yield _figure(charts.confusion(counts, names), "confusion matrix")
    yield from _confused(counts, [escape(name) for name in names])


def _confused(counts: Tensor, names: list[str]) -> Iterator[str]:
    """List the pairs of classes that were confused most."""
    shown = counts.sum(1).tolist()
    wrong = counts.clone().fill_diagonal_(0).flatten()
    order = wrong.argsort(descending=True, stable=True)[:_CONFUSED].tolist()
    rows = [(i // len(names), i % len(names), int(wrong[i])) for i in order if wrong[i]]
    if rows:
        yield "<table><tr><th>shown</th><th>read as</th><th>times</th><th>of</th></tr>"
        for a, b, times in rows:
            yield (
                f"<tr><td>{names[a]}</td><td>{names[b]}</td>"
                f'<td class="number">{times:,}</td><td class="number">{shown[a]:,}</td></tr>'
            )
        yield "</table>"


def _facts(findings: Findings) -> Iterator[str]:
    yield "<details><summary>The recipe</summary><table>"
    for name, value in findings.recipe.as_json().items():
        yield f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
    yield "</table></details>"


def _film(network: Network, alignment: Alignment) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        picture.film(network, alignment.images, alignment.steps, alignment.history, path)
        return _image(path.read_bytes(), "gif", "film of the alignment")


def _figure(figure: Figure, words: str) -> str:
    buffer = BytesIO()
    few_colours(pixels(figure, _DPI), _COLOURS).save(buffer, "PNG", optimize=True)
    return _image(buffer.getvalue(), "png", words)


def _image(content: bytes, kind: str, words: str) -> str:
    encoded = b64encode(content).decode()
    return f'<p><img alt="{escape(words)}" src="data:image/{kind};base64,{encoded}"></p>'


def _text(words: str, style: str = "") -> str:
    return f'<p class="{style}">{escape(words)}</p>' if style else f"<p>{escape(words)}</p>"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
