"""What a spatial transformer does, in a picture: input with sampling grid, output, θ in words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from spatial_transformers import InputError, Recurrent, SpatialTransformer

from .._drawing import few_colours, figure_of, pixels
from .._files import whole
from .base import Network
from .task import Task

_FRAMES, _COLUMNS = 8, 6  # of a film, at most: more columns are too small to read on a page
_FILM_COLOURS = 32  # of all its frames together


def draw(network: Network, task: Task, inputs: Tensor, target: Tensor, path: Path) -> None:
    """Write a PNG with a column per input: input and grid, output, and θ in words.

    A volume is seen along its depth, by the brightest voxel of each line. Its grid is that of the
    output's middle plane.

    Raises:
        InputError: if the network has no spatial transformer, or the file is not a PNG.

    """
    transformer = _transformer(network)
    _check_suffix(path, ".png")
    with torch.no_grad():
        output, theta = network(inputs)
    assert theta is not None
    figure = _figure(transformer, inputs, theta, task.captions(output, target))
    with whole(path) as temporary:
        few_colours(pixels(figure, 120)).save(temporary, "PNG", optimize=True)


def film(network: Network, images: Tensor, steps: Tensor, thetas: Tensor, path: Path) -> None:
    """Write a GIF of how the alignment of some images develops, in a few frames, first to last.

    Args:
        network: says how θ warps.
        images: (N, C, *size).
        steps: (F,) the numbers of steps after which θ was kept.
        thetas: (F, N, P), or (F, N, K, P) of K maps of each, the θ after each of these.
        path: ends in .gif.

    """
    transformer = _transformer(network)
    _check_suffix(path, ".gif")
    frames = []
    few = max(1, _COLUMNS // (thetas.shape[2] if thetas.ndim == 4 else 1))
    images, thetas = images[:few], thetas[:, :few]
    count = len(steps)
    shown = torch.linspace(0, count - 1, min(count, _FRAMES)).round().long()
    for step, theta in zip(steps[shown].tolist(), thetas[shown], strict=True):
        figure = _figure(transformer, images, theta, [""] * len(images))
        figure.suptitle(f"after {step:,} steps", fontsize=10)
        frames.append(pixels(figure, 80))
    times = [600] * (len(frames) - 1) + [3000]  # ms
    # with one palette and no dither, pixels that do not change are left out of the next frame
    palette = few_colours(Image.fromarray(np.concatenate(frames)), _FILM_COLOURS)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    with whole(path) as temporary:
        first.save(
            temporary,
            "GIF",
            save_all=True,
            append_images=others,
            duration=times,
            loop=0,
            optimize=True,
        )


def _transformer(network: Network) -> SpatialTransformer | Recurrent:
    if network.transformer is None:
        raise InputError(
            "this model has no spatial transformer to show; give a run of an st- model"
        )
    return network.transformer


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} was asked for; give a name that ends in {suffix}")


def _figure(
    transformer: SpatialTransformer | Recurrent,
    images: Tensor,
    theta: Tensor,
    titles: Sequence[str],
) -> Figure:
    with torch.no_grad():
        outputs = transformer.warp(images, theta)
    return figure_of(transformer.transformation, images, outputs, theta, titles)
