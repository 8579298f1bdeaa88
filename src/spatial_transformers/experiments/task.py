"""What a network learns: the loss, what is measured, and how a prediction reads in a picture."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers import InputError, triplet_hinge


@dataclass(frozen=True)
class Metric:
    """A number that tells how well a network does.

    Args:
        key: its name in files, as `error`.
        name: its name in tables.
        unit: of the number.
        total: turns the scores (N,) of all samples into the number.
        less_is_better: whether a smaller number is better; otherwise a larger one is.

    """

    key: str
    name: str
    unit: str
    total: Callable[[Tensor], float]
    less_is_better: bool = True

    @property
    def label(self) -> str:
        """The name with its unit, as `error (%)`."""
        return self.with_unit(self.name)

    def with_unit(self, word: str) -> str:
        """Return a word with the unit behind it, as `spread (%)`."""
        return f"{word} ({self.unit})" if self.unit else word

    def in_words(self, value: float) -> str:
        """Return the number with its unit, as `0.55 %`."""
        return f"{value:.2f} {self.unit}".strip()


def percent(scores: Tensor) -> float:
    """Return the share of ones among scores in percent."""
    return 100 * scores.double().mean().item()


class Task(ABC):
    """Owns whatever depends on what is learned.

    For N samples, `output` is what a network returned, `theta` (N, P) what its transformer
    predicted (None without one), and `target` what the data hold about them.
    """

    #: The first one is the headline, which stands in tables and pictures.
    metrics: Sequence[Metric]

    @abstractmethod
    def loss(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
        """Return the loss of a batch."""

    @abstractmethod
    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return the scores (N,) of a batch, by the key of a metric."""

    @abstractmethod
    def captions(self, output: Tensor, target: Tensor) -> list[str]:
        """Return what stands above each input in a picture."""

    def groups(self, target: Tensor) -> Tensor:
        """Return the group (N,) with which each sample should be aligned: all are one group."""
        return torch.zeros(len(target), dtype=torch.long)

    def check(self, target: Tensor, source: object, experiment: str) -> None:
        """Refuse targets that cannot be learned.

        Raises:
            InputError: naming their source.

        """
        if not target.isfinite().all():
            raise InputError(f"{source}: a target that is not finite was found; leave it out")


class Classification(Task):
    """Cross-entropy of labels (N,) with logits (N, C), or of several at once: (N, K), (N, K, C).

    With several labels (section 4.2) the loss is their mean, and a sample is wrong if one of its
    labels is wrong.

    Args:
        classes: how many there are.
        label_smoothing: share of every label that is spread over all classes.
        names: of the classes, for pictures; their numbers unless given.

    Example:
        >>> task = Classification(2)
        >>> logits = torch.tensor([[3.0, 0.0], [3.0, 0.0]])
        >>> scores = task.scores(logits, None, torch.tensor([0, 1]))
        >>> scores["error"], task.metrics[0].total(scores["error"])
        (tensor([False,  True]), 50.0)

    """

    metrics = (Metric("error", "error", "%", percent),)

    def __init__(
        self, classes: int, label_smoothing: float = 0.0, names: Sequence[str] | None = None
    ):
        self.classes = classes
        self.label_smoothing = label_smoothing
        self.names: Sequence[str] = names or [str(label) for label in range(classes)]

    def loss(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(
            output.flatten(0, -2), target.flatten(), label_smoothing=self.label_smoothing
        )

    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return which samples are misread."""
        wrong = output.argmax(-1) != target
        return {"error": wrong if wrong.dim() == 1 else wrong.any(1)}

    def captions(self, output: Tensor, target: Tensor) -> list[str]:
        """Return the label, and what was read."""
        given, read = (self._words(labels) for labels in (target, output.argmax(-1)))
        return [f"{a}, read as {b}" for a, b in zip(given, read, strict=True)]

    def groups(self, target: Tensor) -> Tensor:
        """Return the label, or the first of several."""
        return target if target.dim() == 1 else target[:, 0]

    def check(self, target: Tensor, source: object, experiment: str) -> None:
        """Refuse labels beyond the classes."""
        wrong = target[(target < 0) | (target >= self.classes)]
        if len(wrong):
            raise InputError(
                f"{source}: a label of {int(wrong[0])} was found; {experiment} has the classes "
                f"0 to {self.classes - 1}"
            )

    def _words(self, labels: Tensor) -> list[str]:
        samples: list[list[int]] = labels.view(len(labels), -1).tolist()
        return [" ".join(self.names[label] for label in sample).rstrip() for sample in samples]


class Regression(Task):
    """Squared error of numbers (N, K).

    Args:
        unit: of the numbers.

    Example:
        >>> task = Regression("px")
        >>> scores = task.scores(torch.tensor([[3.0, 0.0]]), None, torch.tensor([[0.0, 4.0]]))
        >>> task.metrics[0].in_words(task.metrics[0].total(scores["rmse"]))  # of 3 and 4
        '3.54 px'

    """

    def __init__(self, unit: str = ""):
        self.metrics = (
            Metric("rmse", "root mean square error", unit, lambda s: s.mean().sqrt().item()),
        )

    def loss(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(output, target.to(output.dtype))

    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return the squared error of each sample."""
        return {"rmse": (output - target).double().square().flatten(1).mean(1)}

    def captions(self, output: Tensor, target: Tensor) -> list[str]:
        """Return the target, and what was found."""
        return [f"{_numbers(b)}, found {_numbers(a)}" for a, b in zip(output, target, strict=True)]


class TripletHinge(Task):
    """Co-localisation (A.2): crops should be alike in all images, and unlike random patches.

    The loss is the sum of all hinges of `triplet_hinge`. Outputs (N, 2, D) are the encodings of
    each image's crop and of a random patch of the same image. Nothing is labelled.

    Args:
        margin: α.

    Example:
        >>> e = torch.tensor([[[0.0, 0.0], [3.0, 0.0]], [[1.0, 0.0], [1.0, 0.5]]])
        >>> TripletHinge().loss(e, None, torch.zeros(2))  # 0 + (1 - 0.25 + 1)
        tensor(1.7500)

    """

    metrics = (Metric("violated", "violated triplets", "%", percent),)

    def __init__(self, margin: float = 1.0):
        self.margin = margin

    def loss(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
        """Return the sum over all pairs of two images."""
        return self._hinges(output).sum()

    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return for each image the share of the others whose hinge is not satisfied."""
        return {"violated": (self._hinges(output) > 0).double().sum(1) / max(len(output) - 1, 1)}

    def captions(self, output: Tensor, target: Tensor) -> list[str]:
        """Return nothing: the crop says it all."""
        return [""] * len(output)

    def _hinges(self, output: Tensor) -> Tensor:
        return triplet_hinge(*output.unbind(1), margin=self.margin)  # (N, N)


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in values.flatten().tolist())
