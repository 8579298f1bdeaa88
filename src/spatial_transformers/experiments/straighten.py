"""A finished run at work: new image files, warped as its transformer says, and what it read."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_transformers import InputError, SpatialTransformer

from .._images import Picture, read_image, write_image
from .data.pictures import read_pixels
from .registry import EXPERIMENTS, named
from .run import load, transformer_of
from .task import Classification

_BATCH = 32
_HUMAN, _EXACT = 4, 6  # significant digits of what people read, and of what makes the map again
_THREADS = 2  # that read and write files, which Pillow does beside other work


class Straightened(NamedTuple):
    """What became of an image file.

    Args:
        source: the file that was read.
        target: the file that was written, or should have been.
        found: θ in human units and by its entries, and of a classifier `class` and `probability`;
            empty if nothing was written.
        error: why nothing was written.

    """

    source: Path
    target: Path
    found: Mapping[str, float | str]
    error: str = ""


class Straightener:
    """Warps image files as the transformer of a finished run says, at their own size.

    The network sees a file at the size of those that it was trained on. Its θ then reads the file
    itself, in all its pixels, with its colours, greys or transparency.

    Args:
        out: the run's folder.
        mode: the kernel, as of `warp`; the transformer's own unless given.

    Raises:
        InputError: for a run that is not finished, has no transformer, or does not learn from image
            files.

    """

    def __init__(self, out: Path, *, mode: str | None = None):
        recipe, self.network = load(out)
        experiment = named(recipe.experiment)
        if experiment.see is None:
            able = ", ".join(name for name, e in EXPERIMENTS.items() if e.see)
            raise InputError(
                f"{out}: a run of {recipe.experiment}, which image files are no input of; give a "
                f"run of: {able}"
            )
        transformer = transformer_of(out, recipe, self.network)
        assert isinstance(transformer, SpatialTransformer)
        self.transformer = transformer
        self.changes = {} if mode is None else {"mode": mode}
        task = experiment.task(recipe)
        self.names = task.names if isinstance(task, Classification) else None
        self._see = experiment.see
        _, height, width = experiment.shape(recipe)
        self._size = height, width

    def __call__(self, files: Mapping[Path, Path]) -> Iterator[Straightened]:
        """Warp files, each to the path that it is given with; say what became of them, in order."""
        pairs = [*files.items()]
        with ThreadPoolExecutor(_THREADS) as pool:
            for first in range(0, len(pairs), _BATCH):
                batch = pairs[first : first + _BATCH]
                seen = list(pool.map(self._seen, (file for file, _ in batch)))
                predicted = iter(self._predicted([i for i in seen if isinstance(i, Tensor)]))
                jobs = (
                    (*pair, next(predicted) if isinstance(image, Tensor) else image)
                    for pair, image in zip(batch, seen, strict=True)
                )
                yield from pool.map(self._straightened, jobs)

    def _seen(self, file: Path) -> Tensor | str:
        """Return a file's colours at the size that the network sees, or why it cannot be read."""
        try:
            return read_pixels(file, self._size, fast=True)
        except (InputError, OSError) as error:
            return str(error)

    @torch.inference_mode()
    def _predicted(self, images: Sequence[Tensor]) -> Sequence[tuple[Tensor, Mapping]]:
        """Return θ (1, P) of each image, and all that is known about it."""
        if not images:
            return ()
        output, theta = self.network(self._see(torch.stack([*images]).float() / 255))
        assert theta is not None
        family = self.transformer.transformation
        described = family.describe(theta).items()
        columns: dict[str, list] = {name: _rounded(values, _HUMAN) for name, values in described}
        for name, values in zip(family.entries, theta.unbind(1), strict=True):
            columns[f"theta {name}"] = _rounded(values, _EXACT)
        if self.names is not None:
            probability, label = output.softmax(-1).max(-1)
            columns = {
                "class": [self.names[k] for k in label.tolist()],
                "probability": _rounded(probability, _HUMAN),
                **columns,
            }
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return list(zip(theta.split(1), rows, strict=True))

    def _straightened(self, job: tuple[Path, Path, tuple[Tensor, Mapping] | str]) -> Straightened:
        source, target, predicted = job
        if isinstance(predicted, str):
            return Straightened(source, target, {}, predicted)
        theta, found = predicted
        try:
            picture = read_image(source)
            write_image(target, picture._replace(values=self._warped(picture, theta)))
        except (InputError, OSError) as error:
            return Straightened(source, target, {}, str(error))
        return Straightened(source, target, found)

    @torch.inference_mode()
    def _warped(self, picture: Picture, theta: Tensor) -> Tensor:
        """Return a picture as the transformer reads it, with its background outside."""
        changes, background = dict(self.changes), self.transformer.background
        fill = None if background is None else background.fill()
        if fill is not None and not picture.mode.endswith("A"):  # those are transparent outside
            channels = picture.values.shape[1]
            fill = fill if len(fill) == channels else fill.mean().expand(channels)
            changes |= {"padding_mode": "constant", "fill_value": fill}
        return self.transformer.sampler.warp(
            picture.values,
            theta,
            self.transformer.transformation,
            size=picture.values.shape[2:],
            **changes,
        )


def _rounded(values: Tensor, digits: int) -> list[float]:
    """Return values to so many significant digits, and no more decimals."""
    return [round(float(f"{value:.{digits}g}"), digits) + 0.0 for value in values.tolist()]
