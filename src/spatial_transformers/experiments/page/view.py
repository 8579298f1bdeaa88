"""A run at work on one image: turned and bent as a user asks, straightened as the run has learnt.

The image lies on a canvas with several pixels for each that the network sees. So what a user sees
is fine, and the network's own input is the mean over these pixels.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from spatial_transformers import Affine, Compose, InputError, ThinPlateSpline, warp

from ..._drawing import grid_lines, in_words
from ..base import Experiment
from ..data.digits import shipped
from ..data.pictures import resized
from ..networks import has_transformer
from ..registry import EXPERIMENTS, named
from ..run import load, transformer_of
from ..task import Classification
from .pictures import amid, cut_out, shown, with_grid

DIGITS = Path(__file__).with_name("digits")  # a run of rotated-digits, which ships
_FINE = 240  # pixels of a canvas along its longer axis, or fewer
_BEND_POINTS = 4  # of the spline that bends, along each axis


class Moves(NamedTuple):
    """What the sliders say about the content of an image."""

    turn: float = 0.0  # degrees, counter-clockwise
    scale: float = 1.0  # 2 doubles it
    shear: float = 0.0  # how far it leans to the right, over its height
    right: float = 0.0  # percent of the width
    down: float = 0.0  # percent of the height
    bend: float = 0.0  # percent of the height, that its sides go down against its middle


class Straightened(NamedTuple):
    """What is shown of one image."""

    given: Image.Image  # with the sampling grid
    straight: Image.Image
    classes: dict[str, float]  # with their probability
    words: str  # what θ does, a line per quantity


class Straightener:
    """Shows what a finished run does to images that are moved by sliders.

    Args:
        out: the run's folder; the run of digits that ships, if None.

    Raises:
        InputError: for a run that is not finished, has no transformer, or whose networks do not
            classify flat images of one or three channels.

    """

    def __init__(self, out: Path | None = None):
        recipe, self.network = load(out or DIGITS)
        experiment = named(recipe.experiment)
        self.shape = experiment.shape(recipe)
        if not _fits(experiment, self.shape):
            able = [
                name
                for name, e in EXPERIMENTS.items()
                if _fits(e, e.shape(e.recipe)) and has_transformer(e.recipe.model)
            ]
            raise InputError(
                f"{out}: a run of {recipe.experiment}, which does not classify one flat image; "
                f"give a run of: {', '.join(able)}"
            )
        self.transformer = transformer_of(out or DIGITS, recipe, self.network)
        task = experiment.task(recipe)
        assert isinstance(task, Classification)
        self.names = task.names
        self.digits = self.shape[0] == 1  # light on dark
        scans = "scikit-learn", "rotated-digits"
        self.coarse = getattr(recipe, "digits", recipe.experiment) in scans
        self.prepared = experiment.see or (lambda pictures: pictures)
        self.times = max(1, _FINE // max(self.shape[1:]))  # pixels of the canvas for each, by axis

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a canvas."""
        height, width = (self.times * n for n in self.shape[1:])
        return height, width

    def canvas(self, image: Tensor) -> Tensor:
        """Return an image (C, h, w) on a canvas (1, C, H, W).

        Digits are cut out; other images fill it, and their aspect is not kept, as in training.

        Raises:
            InputError: for digits if nothing is written.

        """
        if self.digits:
            return cut_out(image, self.size, coarse=self.coarse)
        return resized(image.expand(3, -1, -1)[None], self.size)

    def sample(self, number: int) -> Tensor:
        """Return one of scikit-learn's digits that have trained no network of ours, on a canvas."""
        images = shipped(None, "rotated-digits").test.inputs
        return amid(images[number % len(images)][None].float() / 255, self.size)

    def seen(self, canvas: Tensor) -> Tensor:
        """Return what the network sees of a canvas: the mean over the pixels that it has more."""
        return self.prepared(F.avg_pool2d(canvas, self.times))

    @torch.inference_mode()
    def __call__(self, canvas: Tensor, moves: Moves = Moves()) -> Straightened:  # noqa: B008
        """Move a canvas's content, and show how it is straightened and read."""
        canvas = moved(canvas, moves)
        output, theta = self.network(self.seen(canvas))
        assert theta is not None
        theta, family = theta.flatten(0, -2), self.transformer.transformation  # (K, P)
        straight = warp(
            canvas.expand(len(theta), -1, -1, -1),
            theta,
            family,
            size=self.size,
            padding_mode="zeros" if self.digits else "border",
        )
        return Straightened(
            with_grid(canvas[0], grid_lines(family, theta)),
            shown(torch.cat([*straight], 2)),
            self._classes(output[0].softmax(-1)),
            "\n\n".join(in_words(family, theta)),
        )

    def _classes(self, probability: Tensor) -> dict[str, float]:
        """Return the probability of each class, or of several labels that are read at once."""
        if probability.ndim == 1:
            return dict(zip(self.names, probability.tolist(), strict=True))
        best, found = probability.max(-1)
        labels: list[int] = found.tolist()
        return {" ".join(self.names[label] for label in labels): best.prod().item()}


def _fits(experiment: Experiment, shape: tuple[int, ...]) -> bool:
    """Return whether networks classify one flat image."""
    flat = len(shape) == 3 and shape[0] in (1, 3)
    return flat and isinstance(experiment.task(experiment.recipe), Classification)


def moved(canvas: Tensor, moves: Moves) -> Tensor:
    """Return a canvas (1, C, H, W) whose content is bent, then scaled, sheared, turned and moved.

    Raises:
        InputError: for a number that is not finite, or a scale that is not more than 0.

    """
    if not all(map(math.isfinite, moves)) or moves.scale <= 0:
        raise InputError(f"{moves} were asked for; give finite numbers, and a scale above 0")
    affine, theta = Affine(), _undone(moves, canvas.shape[3] / canvas.shape[2])
    if moves.bend == 0:  # the identity is exact without a spline
        return warp(canvas, theta, affine)
    spline = ThinPlateSpline(_BEND_POINTS)
    x = spline.points[:, 0].float()
    down = 2 * moves.bend / 100 * (x.square() - 0.5)  # what is read above its place goes down
    bend = torch.stack((torch.zeros_like(down), -down), 1).flatten()[None]
    return warp(canvas, torch.cat((bend, theta), 1), Compose(spline, affine))


def _undone(moves: Moves, aspect: float) -> Tensor:
    """Return the affine θ (1, 6) that finds for each target point what the moves bring there."""
    cos, sin = (f(math.radians(moves.turn)) for f in (math.cos, math.sin))
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)  # y points down
    lean = torch.tensor([[1, -moves.shear], [0, 1]], dtype=torch.float64)
    units = torch.tensor([[aspect, 0], [0, 1]], dtype=torch.float64)  # equally long along both axes
    forward = units.inverse() @ (moves.scale * turn @ lean) @ units
    back = forward.inverse()
    shift = torch.tensor([[moves.right / 50], [moves.down / 50]], dtype=torch.float64)
    return torch.cat((back, -back @ shift), 1).flatten()[None].float()
