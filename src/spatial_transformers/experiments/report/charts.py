"""The figures of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..._drawing import draw_image, figure_of
from ..._errors import brief
from ..pose import summarise
from ..task import Metric
from .findings import Alignment, Findings, Mean

_WITH, _WITHOUT = "#2e6f95", "#9aa5ab"
_NAMED = 30  # classes, above which a confusion matrix has no names at its sides
_BINS = 40
_LONGEST = 18  # letters of a name
_LEAST, _LEAST_SCALE = {"(deg)": 10.0, "(%)": 10.0}, 0.2  # widths of histograms
_ACROSS = 4  # histograms in a row


def curves(metric: Metric, found: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> Figure:
    """Return the validation metric after each epoch, of both networks."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    lines = [("with the transformer", found, _WITH)]
    if baseline is not None:
        lines.append(("without", baseline, _WITHOUT))
    for label, run, colour in lines:
        values = run["validation"][metric.key]
        axes.plot(range(1, len(values) + 1), values, color=colour, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation {metric.label}")
    axes.set_ylim(bottom=0)
    if baseline is not None:  # a single line may be of a network without a transformer
        axes.legend(frameon=False)
    return figure


def confusion(counts: Tensor, names: Sequence[str]) -> Figure:
    """Return how often each class (row) was read as each (column), as a share of the row."""
    classes = len(names)
    side = min(max(4.0, 0.3 * classes + 1.5), 9.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    if classes <= _NAMED:
        said = [brief(name, _LONGEST) for name in names]
        axes.set_xticks(range(classes), said, rotation=90, fontsize=8)
        axes.set_yticks(range(classes), said, fontsize=8)
    axes.set_xlabel("read as")
    axes.set_ylabel("shown")
    figure.colorbar(image, label="% of the images shown", shrink=0.7)
    return figure


def means(groups: Mapping[str, tuple[Mean, Mean]]) -> Figure:
    """Return the mean image of each group, before the transformer and behind it."""
    rows = 1 + len(next(iter(groups.values()))[1].image)
    figure = Figure(figsize=(1.5 * len(groups) + 0.6, 1.7 * rows + 0.2), layout="constrained")
    axes = figure.subplots(rows, len(groups), squeeze=False)
    for column, (name, (before, after)) in enumerate(groups.items()):
        low, high = before.image.min(), before.image.max()
        for row, view in enumerate((*before.image, *after.image)):
            title = brief(name, _LONGEST) if row == 0 else ""
            draw_image(axes[row, column], (view - low) / (high - low + 1e-12), title)
    axes[0, 0].set_ylabel("before")
    for row in range(1, rows):
        axes[row, 0].set_ylabel("behind" if rows == 2 else f"behind {row}")
    return figure


def histograms(described: Mapping[str, Tensor]) -> Figure:
    """Return how each quantity of θ is spread over the test images."""
    rows = -(-len(described) // _ACROSS)
    columns = min(len(described), _ACROSS)
    figure = Figure(figsize=(2.6 * columns, 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_visible(False)
    for panel, (name, values) in zip(axes.flat, described.items(), strict=False):
        panel.set_visible(True)
        found = values.float().nan_to_num()
        panel.hist(found.numpy(), bins=_BINS, range=_range(name, found), color=_WITH)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.set_title(name, fontsize=9)
        panel.set_yticks([])
        panel.tick_params(labelsize=8)
    return figure


def _range(name: str, values: Tensor) -> tuple[float, float]:
    """Return the range of an axis: that of the values, or more where they hardly differ."""
    low, high = values.min().item(), values.max().item()
    least = next((width for unit, width in _LEAST.items() if name.endswith(unit)), _LEAST_SCALE)
    more = max(0.0, least - (high - low)) / 2
    return low - more, high + more


def outside(alignment: Alignment) -> Figure:
    """Return the share of what was read that lay outside the image, in the course of training."""
    family = alignment.transformer.transformation
    shares = [summarise(family, theta)["outside (%)"]["mean"] for theta in alignment.history]
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(alignment.steps.numpy(), shares, color=_WITH)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("step")
    axes.set_ylabel("outside (%)")
    axes.set_ylim(0, max(5.0, *shares))
    return figure


@torch.no_grad()
def cases(findings: Findings, inputs: Tensor, target: Tensor) -> Figure:
    """Return a column per input: sampling grid, output and θ, or the input alone."""
    network = findings.network
    output, theta = network(inputs)
    titles = [_wrapped(caption) for caption in findings.task.captions(output, target)]
    transformer = network.transformer
    if transformer is not None and theta is not None:
        columns = max(1, len(inputs) // (theta.shape[1] if theta.ndim == 3 else 1))
        inputs, theta, titles = inputs[:columns], theta[:columns], titles[:columns]
        outputs = transformer.warp(inputs, theta)
        return figure_of(transformer.transformation, inputs, outputs, theta, titles)
    figure = Figure(figsize=(1.9 * len(inputs), 2.4), layout="constrained")
    axes = figure.subplots(1, len(inputs), squeeze=False)[0]
    low, high = inputs.min().clamp(max=0), inputs.max().clamp(min=1)
    for panel, image, title in zip(axes, (inputs - low) / (high - low), titles, strict=True):
        draw_image(panel, image, title)
    return figure


def _wrapped(caption: str) -> str:
    """Return a caption in lines short enough for a column."""
    return "\n".join(brief(part.strip(), 2 * _LONGEST) for part in caption.split(","))
