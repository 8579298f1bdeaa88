"""Draws the pictures of `kernel.md`: kernels, paddings, antialiasing and gradients.

Run: python docs/choose/draw_kernels.py [NAME ...]
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from spatial_transformers import KERNELS, Affine, Translation, normalise, sample, warp
from spatial_transformers.sampler.padding import PADDING_MODES

FOLDER = Path(__file__).parent / "kernel"
DPI = 80
BLUE, RED, GREEN, GREY = "#2e6f95", "#d1495b", "#4a7c59", "#888"
ZOOM, PANEL, TURN = 6, 210, math.radians(15)  # of the enlarged crop: PANEL pixels wide
#: bspline0 is nearest, and bspline1 is bilinear.
PICTURED = [name for name in KERNELS if name not in ("bspline0", "bspline1")]


def written(text: str, height: int, width: int, points: float) -> np.ndarray:
    """Return a word on paper, a colour picture (H, W, 3) from 0 to 1."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="#f4efe6")
    canvas = FigureCanvasAgg(figure)
    figure.text(0.5, 0.46, text, ha="center", va="center", size=points, weight="bold", color="#223")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def details() -> Tensor:
    """Return a small grey picture of letters, an edge, stripes and a dot: (1, 1, 48, 48)."""
    picture = np.full((48, 48), 0.85)
    picture[8:25, 8:25] = written("Rg", 17, 17, 7.5).mean(-1)
    picture[8:24, 27:40:4] = picture[8:24, 28:40:4] = 0.15
    picture[27:40, 8:22] = 0.15
    picture[31, 13] = 0.85
    rows, columns = np.mgrid[:13, :13] - 6.0
    picture[27:40, 27:40] = 0.5 + 0.35 * np.cos(0.24 * (rows**2 + columns**2))
    return torch.from_numpy(picture)[None, None]


def response(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return distances, and what one white pixel gives at them: the prefilter and sums included."""
    reach, steps = 32, 63  # odd, so that no step falls on the edge of `nearest`
    white = torch.zeros(1, 1, 2 * reach + 1, dtype=torch.float64)
    white[..., reach] = 1
    distances = torch.arange(-16 * steps, 16 * steps, dtype=torch.float64) / steps
    grid = normalise(distances[None, :, None] + reach, white.shape[2:])
    return distances.numpy(), sample(white, grid, mode=name)[0, 0].numpy()


def panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return axes whose place is given in pixels, so that pictures are shown pixel by pixel."""
    wide, high = figure.get_size_inches() * DPI
    axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def show(axes: Axes, picture: np.ndarray, title: str = "") -> None:
    """Show a picture without ticks."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9)


def draw_kernel(name: str) -> Figure:
    """Draw an enlarged and turned picture, the kernel, and what it does to frequencies."""
    picture = details()
    c, s = (PANEL / ZOOM / 48 * f(TURN) for f in (math.cos, math.sin))
    theta = torch.tensor([[c, -s, 0, s, c, 0]], dtype=torch.float64)
    figure = Figure(figsize=(650 / DPI, 250 / DPI))
    enlarged = warp(picture, theta, Affine(), size=PANEL, mode=name)[0, 0].numpy()
    show(panel(figure, 8, 14, PANEL, PANEL), enlarged.clip(0, 1), f"{name}, enlarged ×{ZOOM}")

    distance, weight = response(name)
    curve = panel(figure, 262, 36, 170, 188)
    curve.axhline(0, color=GREY, linewidth=0.6)
    curve.plot(distance, weight, color=BLUE, linewidth=1.4)
    whole = np.abs(distance - distance.round()) < 1e-9
    curve.plot(distance[whole], weight[whole], ".", color=RED, markersize=5)
    curve.set(xlim=(-5.2, 5.2), ylim=(-0.3, 1.1), xticks=range(-4, 5, 2))
    curve.set_title("weight of a pixel", fontsize=9)
    curve.set_xlabel("distance (pixels)", fontsize=8, labelpad=1)

    frequency = np.linspace(0, 1.5, 151)
    waves = np.cos(2 * np.pi * frequency[:, None] * distance)
    bands = panel(figure, 470, 36, 170, 188)
    bands.fill_between([0, 0.5, 0.5], [1, 1, 0], color=GREEN, alpha=0.15, linewidth=0)
    bands.plot(frequency, np.abs(waves @ weight) / 63, color=BLUE, linewidth=1.4)
    bands.set(xlim=(0, 1.5), ylim=(0, 1.2), xticks=(0, 0.5, 1, 1.5))
    bands.set_title("frequencies that pass", fontsize=9)
    bands.set_xlabel("cycles per pixel (ideal: shaded)", fontsize=8, labelpad=1)
    return figure


def draw_padding(padding_mode: str) -> Figure:
    """Draw a strip of an image, continued on all sides."""
    height, width, zoom = 18, 40, 4
    picture = torch.from_numpy(written("STN", height, width, 12)).movedim(-1, 0)[None]
    picture = picture * torch.linspace(1, 0.7, width)
    rows, columns = round(height * 2.1), round(width * 2)
    theta = torch.tensor([[columns / width, 0, 0, 0, rows / height, 0]], dtype=picture.dtype)
    fill = [0.55, 0.75, 0.66] if padding_mode == "constant" else None
    size = rows * zoom, columns * zoom
    options = {"size": size, "padding_mode": padding_mode, "fill_value": fill}
    continued = warp(picture, theta, Affine(), **options)[0].movedim(0, -1).numpy()
    figure = Figure(figsize=(size[1] / DPI, size[0] / DPI))
    axes = panel(figure, 0, 0, size[1], size[0])
    axes.axis("off")
    show(axes, continued.clip(0, 1))
    x, y = (size[1] - width * zoom) / 2 - 0.5, (size[0] - height * zoom) / 2 - 0.5
    edges = [x, x + width * zoom, x + width * zoom, x, x], [y, y, y + height * zoom]
    axes.plot(edges[0], [*edges[1], y + height * zoom, y], color=RED, linewidth=1)
    return figure


def draw_antialias() -> Figure:
    """Draw a plate of ever finer rings, shrunk by 8 and turned by 30°."""
    n, by, turn = 200, 8, math.radians(30)
    side = math.ceil(n * by * (math.cos(turn) + math.sin(turn)))  # what a turned square reads
    axis = (torch.arange(side) - (side - 1) / 2) / (n * by)  # in widths of the output
    plate = 0.5 + 0.5 * torch.cos(2 * math.pi * n * (axis[:, None] ** 2 + axis**2))[None, None]
    c, s = (n * by / side * f(turn) for f in (math.cos, math.sin))
    theta = torch.tensor([[c, -s, 0, s, c, 0]])
    figure = Figure(figsize=((2 * n + 24) / DPI, (n + 36) / DPI))
    for i, antialias in enumerate((False, True)):
        shrunk = warp(plate, theta, Affine(), size=n, antialias=antialias)[0, 0].numpy()
        shrunk = (shrunk * 15).round() / 15  # few greys make a small file
        show(panel(figure, 8 + i * (n + 8), 8, n, n), shrunk, f"antialias={antialias}")
    return figure


def draw_gradient() -> Figure:
    """Draw minus the overlap of two blobs, and the slope that each option reports."""
    n, sigma = 64, 2.0
    axis = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    blob = (-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2)).exp()[None, None]
    shifts = torch.arange(-24.875, 25, 0.25, dtype=torch.float64)
    figure = Figure(figsize=(650 / DPI, 230 / DPI))
    left, right = panel(figure, 46, 40, 220, 160), panel(figure, 330, 40, 310, 160)
    styles = {"exact": (BLUE, "-"), "linearized": (GREEN, "--"), "multi-scale": (RED, "-")}
    for gradient, (colour, line) in styles.items():
        moved = shifts.clone().requires_grad_()
        theta = torch.stack((moved * 2 / n, torch.zeros_like(moved)), 1)
        loss = -(warp(blob, theta, Translation(), gradient=gradient) * blob).sum((1, 2, 3))
        (slope,) = torch.autograd.grad(loss.sum(), moved)
        if gradient == "exact":
            left.plot(shifts, loss.detach(), color=colour, linewidth=1.4)
        right.plot(shifts, slope, line, color=colour, linewidth=1.4, label=gradient)
    right.axhline(0, color=GREY, linewidth=0.6)
    right.set_yscale("symlog", linthresh=1e-3)
    right.set_yticks([-1, -1e-2, 0, 1e-2, 1])
    right.legend(fontsize=8, frameon=False, loc="lower right")
    left.set_title("loss: minus the overlap", fontsize=9)
    right.set_title("its slope by gradient=…, in powers of ten", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("shift of the blob (pixels)", fontsize=8, labelpad=1)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    **{name: partial(draw_kernel, name) for name in PICTURED},
    **{f"padding-{mode}": partial(draw_padding, mode) for mode in PADDING_MODES},
    "antialias": draw_antialias,
    "gradient": draw_gradient,
}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]().savefig(FOLDER / f"{name}.png", dpi=DPI, metadata={"Software": None})
        print(FOLDER / f"{name}.png")
