"""What a spatial transformer does, in a picture: input with sampling grid, output, θ in words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from spatial_transformers import InputError, SpatialTransformer, Transformation

from .._files import whole
from .base import Network
from .pose import in_words
from .task import Task

_LINES = 5  # grid lines per axis
_POINTS = 33  # points per line
_COLOURS = 32  # of a picture
_FRAMES = 8  # of a film, at most
_FILM_COLOURS = 16  # of all its frames together


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
        few_colours(_pixels(figure, 120)).save(temporary, "PNG", optimize=True)


def film(network: Network, images: Tensor, steps: Tensor, thetas: Tensor, path: Path) -> None:
    """Write a GIF of how the alignment of some images develops, in a few frames, first to last.

    Args:
        network: says how θ warps.
        images: (N, C, *size).
        steps: (F,) the numbers of steps after which θ was kept.
        thetas: (F, N, P) the θ after each of these.
        path: ends in .gif.

    """
    transformer = _transformer(network)
    _check_suffix(path, ".gif")
    frames = []
    count = len(steps)
    shown = torch.linspace(0, count - 1, min(count, _FRAMES)).round().long()
    for step, theta in zip(steps[shown].tolist(), thetas[shown], strict=True):
        figure = _figure(transformer, images, theta, [""] * len(images))
        figure.suptitle(f"after {step:,} steps", fontsize=10)
        frames.append(_pixels(figure, 60))
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


def few_colours(image: Image.Image, colours: int = _COLOURS) -> Image.Image:
    """Return the image with a palette of the colours that suit it best, not dithered."""
    return image.convert("RGB").quantize(
        colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )


def grid_lines(
    transformation: Transformation, theta: Tensor, lines: int = _LINES, points: int = _POINTS
) -> Tensor:
    """Return the output's grid lines on the input: (N, 2 · lines, points, ndim), normalised.

    For a volume the lines are those of its middle plane, z = 0.
    """
    across = torch.linspace(-1, 1, lines)
    along = torch.linspace(-1, 1, points)
    horizontal = torch.stack(torch.meshgrid(along, across, indexing="xy"), -1)  # (lines, points, 2)
    both = torch.cat((horizontal, horizontal.flip(-1)))
    both = torch.nn.functional.pad(both, (0, transformation.ndim - 2))
    targets = both.flatten(0, 1).expand(len(theta), -1, -1)
    return transformation.transform_points(theta, targets).unflatten(1, both.shape[:2])


def _transformer(network: Network) -> SpatialTransformer:
    if network.transformer is None:
        raise InputError(
            "this model has no spatial transformer to show; give a run of an st- model"
        )
    return network.transformer


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} was asked for; give a name that ends in {suffix}")


def _pixels(figure: Figure, dpi: int) -> Image.Image:
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _figure(
    transformer: SpatialTransformer, images: Tensor, theta: Tensor, titles: Sequence[str]
) -> Figure:
    with torch.no_grad():
        outputs = transformer.warp(images, theta)
        lines = grid_lines(transformer.transformation, theta)
    words = in_words(transformer.transformation, theta)
    count = len(images)
    figure = Figure(figsize=(1.9 * count, 5.2), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for i in range(count):
        _image(axes[0, i], images[i], titles[i])
        _grid(axes[0, i], lines[i], images.shape[-2:])
        _image(axes[1, i], outputs[i], "")
        axes[1, i].set_xlabel(words[i], fontsize=8)
    axes[0, 0].set_ylabel("input and sampling grid")
    axes[1, 0].set_ylabel("output")
    return figure


def _image(axes, image: Tensor, title: str) -> None:
    """Draw an image (C, H, W) or volume (C, D, H, W); of other than three channels, their mean."""
    plane = image.amax(1) if image.dim() == 4 else image
    pixels = plane.movedim(0, -1) if len(plane) == 3 else plane.mean(0)
    axes.imshow(pixels.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _grid(axes, lines: Tensor, size: torch.Size) -> None:
    """Draw grid lines; the top edge of the output is thicker, so that its turn is seen."""
    height, width = size
    x = lines[..., 0] * width / 2 + (width - 1) / 2
    y = lines[..., 1] * height / 2 + (height - 1) / 2
    for i, (xs, ys) in enumerate(zip(x.numpy(), y.numpy(), strict=True)):
        axes.plot(xs, ys, color="tab:orange", linewidth=2.5 if i == 0 else 0.8)
    margin = 0.25
    axes.set_xlim(-0.5 - margin * width, width - 0.5 + margin * width)
    axes.set_ylim(height - 0.5 + margin * height, -0.5 - margin * height)
    axes.set_facecolor("0.25")
