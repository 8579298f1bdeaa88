"""Draws the picture of `text.md`: bent lines of text, and the batch that `warp_lines` makes of it.

The lines are set in matplotlib's own fonts, straight, and then bent by a thin plate spline. So it
is known where the outline of the letters lies, at which a localisation network would have to point.

Run: python docs/text/draw_lines.py
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from spatial_transformers import (
    Sampler,
    ThinPlateSpline,
    normalise,
    text_rows,
    unnormalise,
    warp,
    warp_lines,
)
from spatial_transformers._drawing import few_colours, grid_lines, pixels

PATH = Path(__file__).with_name("lines.png")
SIZE, HEIGHT, DPI, COLOURS = (130, 400), 48, 100, 64
PAPER, INK = "#f4ead5", "#2b2d42"
ROWS = text_rows(20)
RECTIFIER = ThinPlateSpline(text_rows(20, margin=(0.02, 0.12)), parameters="positions")
BEND = ThinPlateSpline((3, 9))

#: What is written, its font and size, how far it bends as an arc and as a wave, and how it leans.
LINES = (
    ("Spatial Transformer", "DejaVu Serif", 24, 0.42, 0.0, 0.0),
    ("reads curved lines of text", "DejaVu Sans", 19, 0.0, 0.14, 0.0),
    ("of any length", "STIXGeneral", 36, -0.3, 0.0, -0.25),
    ("Room 7", "DejaVu Sans Mono", 38, 0.3, 0.0, 0.35),
)


def written(text: str, font: str, points: float) -> tuple[Tensor, Tensor]:
    """Return a straight line of text (1, 3, *SIZE), and its letters' box, normalised (2, 2)."""
    figure = Figure(figsize=(SIZE[1] / 100, SIZE[0] / 100), dpi=100, facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.5, 0.5, text, family=font, size=points, color=INK, ha="center", va="center")
    canvas.draw()
    values = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    image = torch.from_numpy(values).movedim(-1, 0)[None].float() / 255
    y, x = (image[0].mean(0) < 0.6).nonzero().unbind(1)
    box = torch.tensor([[x.min() - 1, y.min() - 1], [x.max() + 1, y.max() + 1]]).double()
    return image, normalise(box, SIZE)


def bent(image: Tensor, box: Tensor, arc: float, wave: float, lean: float) -> tuple[Tensor, Tensor]:
    """Return a line bent, and where the outline of its letters lies then: θ of the rectifier."""
    x = BEND.points[:, 0]
    down = arc * (x.square() - 0.4) + wave * torch.sin(3 * x) + lean * x
    theta = torch.stack((torch.zeros_like(down), -down), 1).flatten()[None]
    fill = image[0, :, 0, 0].tolist()
    photo = warp(image, theta, BEND, mode="bicubic", padding_mode="constant", fill_value=fill)
    outline = box.mean(0) + ROWS * (box[1] - box[0]) / 2
    return photo, BEND.inverse_points(theta, outline[None]).flatten(1)


def draw_photo(axes: Axes, image: Tensor, theta: Tensor) -> None:
    """Draw a bent line with the grid that reads it, and its control points."""
    axes.imshow(image.movedim(0, -1).clamp(0, 1))
    lines = unnormalise(grid_lines(RECTIFIER, theta, 5, 65)[0], SIZE)
    for i, line in enumerate(lines):
        axes.plot(*line.T, color="#e07a5f", linewidth=1.8 if i == 0 else 0.7)
    points = unnormalise(theta.view(-1, 2), SIZE)
    axes.scatter(*points.T, s=13, color="#3a86ff", zorder=3)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, SIZE[1] - 0.5), ylim=(SIZE[0] - 0.5, -0.5))


def draw_line(axes: Axes, line: Tensor, width: int) -> None:
    """Draw a line of the batch, and where its padding begins."""
    axes.imshow(line.movedim(0, -1).clamp(0, 1))
    axes.axvline(width - 0.5, color="#e07a5f", linewidth=1.8)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"{HEIGHT} × {width}", fontsize=9)


if __name__ == "__main__":
    found = [bent(*written(*line[:3]), *line[3:]) for line in LINES]
    photos, thetas = (torch.cat(parts) for parts in zip(*found, strict=True))
    grey = Sampler("bicubic", padding_mode="constant", fill_value=0.72, antialias=True)
    batch, widths = warp_lines(photos, thetas, RECTIFIER, height=HEIGHT, sampler=grey)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for row, line in enumerate(figure.subplots(len(LINES), 2, width_ratios=(1, 1.35))):
        draw_photo(line[0], photos[row], thetas[row : row + 1])
        draw_line(line[1], batch[row], int(widths[row]))
    few_colours(pixels(figure, DPI), COLOURS).save(PATH, optimize=True)
    print(PATH)
