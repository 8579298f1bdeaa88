"""Pictures of what a transformation does to images: grid, output, θ in words; needs matplotlib.

A volume is seen along its depth, by the brightest voxel of each line. Its grid is that of the
output's middle plane.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .grid import Transformation

_LINES = 5  # grid lines per axis
_POINTS = 33  # points per line
_COLOURS = 32  # of a picture


def figure_of(
    transformation: Transformation,
    images: Tensor,
    outputs: Tensor,
    theta: Tensor,
    titles: Sequence[str],
) -> Figure:
    """Return a column per image: input with sampling grid, output, and θ in words.

    Of several maps of each image, θ (N, K, P), there is a column for each. Where an image's values
    leave 0 to 1, as a normalised one's do, its own range is brought there, and so is its output.
    """
    if theta.ndim == 3:
        titles = [title for title in titles for _ in range(theta.shape[1])]
        images = images.repeat_interleave(theta.shape[1], 0)
        outputs, theta = outputs.flatten(0, 1), theta.flatten(0, 1)
    with torch.no_grad():
        lines = grid_lines(transformation, theta)
    words = in_words(transformation, theta)
    count = len(images)
    below = max(6, 1 + max(said.count("\n") for said in words))  # lines of words
    figure = Figure(figsize=(1.9 * count, 4.48 + 0.12 * below), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for i in range(count):
        low, high = min(0.0, images[i].min().item()), max(1.0, images[i].max().item())
        draw_image(axes[0, i], (images[i] - low) / (high - low), titles[i])
        _grid(axes[0, i], lines[i], images.shape[-2:])
        draw_image(axes[1, i], (outputs[i] - low) / (high - low), "")
        axes[1, i].set_xlabel(words[i], fontsize=8)
    axes[0, 0].set_ylabel("input and sampling grid")
    axes[1, 0].set_ylabel("output")
    return figure


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


def in_words(transformation: Transformation, theta: Tensor) -> list[str]:
    """Return what each image's θ does, a line per quantity.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention
        >>> print(in_words(Attention(), torch.tensor([[0.5, 0.0, 0.2]]))[0])
        scale 0.50
        translation x (%) +0
        translation y (%) +10

    """
    values = transformation.describe(theta)
    return [
        "\n".join(_line(name, value[i].item()) for name, value in values.items())
        for i in range(len(theta))
    ]


def _line(name: str, value: float) -> str:
    if name.endswith(("(%)", "(deg)")):
        whole = f"{value:+.0f}"
        return f"{name} {'+0' if whole == '-0' else whole}"
    return f"{name} {value:.2f}"


def pixels(figure: Figure, dpi: int) -> Image.Image:
    """Return a figure as an image of so many dots per inch."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw_image(axes, image: Tensor, title: str) -> None:
    """Draw an image (C, H, W) or volume (C, D, H, W).

    Two channels are blue and orange; of other numbers than two and three the mean is drawn.
    """
    plane = image.amax(1) if image.dim() == 4 else image
    if len(plane) == 2:
        plane = torch.stack((plane[1], (plane[0] + plane[1]) / 2, plane[0]))
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
