"""What a report is about: all that a finished run's network does to its test set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_transformers import Recurrent, SpatialTransformer

from .. import metrics
from ..base import Network
from ..compare import BASELINE, without_transformer
from ..data.served import Batch
from ..networks import has_transformer
from ..progress import Bar
from ..recipe import Recipe
from ..registry import named
from ..run import SHOWN, load, poses
from ..supply import data_of
from ..task import Classification, Task

_CASES = 6  # shown of the best, and of the worst
_GROUPS = 8  # whose mean images are shown


@dataclass
class Mean:
    """The mean image of a group, and how much of the images' contrast it keeps.

    Images that lie alike have a sharp mean. The share is the variance of the mean image over its
    pixels, by the mean variance of the images: 1 if all images are the same.
    """

    total: Tensor | float = 0.0  # (K, C, *size), of K views
    variance: Tensor | float = 0.0  # (K)
    count: int = 0

    def add(self, views: Tensor) -> None:
        """Take in images (N, K, C, *size)."""
        self.total = self.total + views.double().sum(0)
        self.variance = self.variance + views.double().flatten(2).var(2, correction=0).sum(0)
        self.count += len(views)

    @property
    def image(self) -> Tensor:
        """The mean image of each view (K, C, *size)."""
        assert isinstance(self.total, Tensor)
        return (self.total / self.count).float()

    @property
    def kept(self) -> Tensor:
        """The share of the contrast (K)."""
        mean = self.image.double().flatten(1).var(1, correction=0)
        return mean / (self.variance / self.count + 1e-12)


@dataclass
class Alignment:
    """What a transformer does.

    Args:
        transformer: that of the network.
        theta: (N, P) or (N, K, P) of the test images.
        means: before and behind it, by the group of images, the largest groups.
        images: a few whose θ was kept in training.
        steps: (F,) after which that was.
        history: that θ (F, M, …).

    """

    transformer: SpatialTransformer | Recurrent
    theta: Tensor
    means: Mapping[str, tuple[Mean, Mean]]
    images: Tensor
    steps: Tensor
    history: Tensor


@dataclass
class Findings:
    """What a report shows of a run.

    Args:
        recipe: of the run.
        network: trained.
        task: what it learned.
        metrics: of the run.
        baseline: of the network without a transformer, if it was trained.
        labels: (N, 2) what each test image shows and was read as, of a classifier.
        cases: the worst and the best inputs and targets.
        alignment: what the transformer does, if there is one.

    """

    recipe: Recipe
    network: Network
    task: Task
    metrics: Mapping[str, Any]
    baseline: Mapping[str, Any] | None
    labels: Tensor | None
    cases: Mapping[str, Batch]
    alignment: Alignment | None


@torch.no_grad()
def find(out: Path, data: Path | None) -> Findings:
    """Run the network over its test set, and gather what a report needs.

    Raises:
        InputError: if the run is not finished, or its data cannot be read.

    """
    recipe, network = load(out)
    task = named(recipe.experiment).task(recipe)
    found = metrics.read(out / "metrics.json", recipe)
    tests = data_of(recipe, out, data)
    transformer = network.transformer
    losses, labels, thetas = [], [], []
    means: dict[int, tuple[Mean, Mean]] = {}
    count = found["test_images"]
    with Bar(doing="reading the test set", total=count, unit="image") as bar:
        for inputs, target in tests.test_batches():
            output, theta = network(inputs)
            losses.append(_losses(task, output, theta, target))
            if isinstance(task, Classification) and target.dim() == 1:
                labels.append(torch.stack((target, output.argmax(-1)), 1))
            if transformer is not None:
                thetas.append(theta)
                _take_in(means, inputs, transformer.warp(inputs, theta), task.groups(target))
            bar.update(len(inputs))
    order = torch.cat(losses).argsort(descending=True)
    aligned = None
    if transformer is not None:
        shown = tests.fixed_batch(SHOWN)[0]
        kept = poses(out / "poses.safetensors", network, shown)
        largest = _largest(means, task)
        aligned = Alignment(
            transformer, torch.cat(thetas), largest, shown, kept["step"], kept["theta"]
        )
    return Findings(
        recipe,
        network,
        task,
        found,
        _baseline(out, recipe),
        torch.cat(labels) if labels else None,
        {"worst": tests.tested(order[:_CASES]), "best": tests.tested(order.flip(0)[:_CASES])},
        aligned,
    )


def _take_in(
    means: dict[int, tuple[Mean, Mean]], inputs: Tensor, outputs: Tensor, groups: Tensor
) -> None:
    """Add inputs (N, C, *size) and outputs, (N, C, …) or (N, K, C, …), to their groups' means."""
    views = outputs if outputs.ndim > inputs.ndim else outputs[:, None]
    for group in groups.unique().tolist():
        before, after = means.setdefault(group, (Mean(), Mean()))
        before.add(inputs[groups == group][:, None])
        after.add(views[groups == group])


def _losses(task: Task, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
    """Return a number (N,) of each image that is larger the worse it was read."""
    if not isinstance(task, Classification):
        metric = task.metrics[0]
        scores = task.scores(output, theta, target)[metric.key].double()
        return scores if metric.less_is_better else -scores
    each = torch.nn.functional.cross_entropy(
        output.flatten(0, -2), target.flatten(), reduction="none"
    )
    return each.view(len(target), -1).sum(1)


def _baseline(out: Path, recipe: Recipe) -> Mapping[str, Any] | None:
    """Return the metrics of the network without a transformer, if it was trained beside."""
    path = out / BASELINE / "metrics.json"
    if not has_transformer(recipe.model) or not path.exists():
        return None
    return metrics.read(path, without_transformer(recipe))


def _largest(means: Mapping[int, tuple[Mean, Mean]], task: Task) -> dict[str, tuple[Mean, Mean]]:
    """Return the groups of most images, by name."""
    chosen = sorted(means, key=lambda group: -means[group][0].count)[:_GROUPS]
    names = task.names if isinstance(task, Classification) else ["all"]
    return {names[group]: means[group] for group in sorted(chosen)}
