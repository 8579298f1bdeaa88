"""What a spatial transformer does, in a picture: input with sampling grid, output, θ in words."""

from pathlib import Path

import torch
from torch import Tensor

from spatial_transformers import InputError, Transformation

from .files import whole
from .networks import Network
from .pose import in_words

_LINES = 5  # grid lines per axis
_POINTS = 33  # points per line


def draw(network: Network, images: Tensor, labels: Tensor, path: Path) -> None:
    """Write a PNG with a column per image: input and grid, output, and θ in words.

    Raises:
        InputError: if the network has no spatial transformer, or the file is not a PNG.

    """
    if network.transformer is None:
        raise InputError(
            "this model has no spatial transformer to show; give a run of an st- model"
        )
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: pictures are written as PNG; give a name that ends in .png")
    transformation = network.transformer.transformation
    with torch.no_grad():
        outputs, theta = network.transformer(images, return_theta=True)
        guesses = network.classifier(outputs).argmax(1)
        lines = grid_lines(transformation, theta)
    words = in_words(transformation, theta)

    from matplotlib.figure import Figure

    count = len(images)
    figure = Figure(figsize=(1.9 * count, 5.2), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for i in range(count):
        _image(axes[0, i], images[i], f"a {labels[i]}, read as {guesses[i]}")
        _grid(axes[0, i], lines[i], images.shape[2:])
        _image(axes[1, i], outputs[i], "")
        axes[1, i].set_xlabel(words[i], fontsize=8)
    axes[0, 0].set_ylabel("input and sampling grid")
    axes[1, 0].set_ylabel("output")
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def grid_lines(
    transformation: Transformation, theta: Tensor, lines: int = _LINES, points: int = _POINTS
) -> Tensor:
    """Return the output's grid lines on the input: (N, 2 · lines, points, 2), normalised."""
    across = torch.linspace(-1, 1, lines)
    along = torch.linspace(-1, 1, points)
    horizontal = torch.stack(torch.meshgrid(along, across, indexing="xy"), -1)  # (lines, points, 2)
    both = torch.cat((horizontal, horizontal.flip(-1)))
    targets = both.flatten(0, 1).expand(len(theta), -1, -1)
    return transformation.transform_points(theta, targets).unflatten(1, both.shape[:2])


def _image(axes, image: Tensor, title: str) -> None:
    grey = image.shape[0] == 1
    pixels = image[0] if grey else image.movedim(0, -1)
    axes.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1)
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
