"""Draws the pictures of `transformation.md`, one per family: input with sampling grid, and output.

Run: python docs/choose/draw_transformations.py [NAME ...]
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from spatial_transformers import FAMILIES, Transformation, make_transformation, warp
from spatial_transformers._drawing import grid_lines

FOLDER = Path(__file__).parent / "transformation"
SIZE = 200  # pixels of the picture, per axis
LINES, POINTS = 9, 65  # of the sampling grid

#: Entries that differ from the identity; where a family has many, a spread of random ones instead.
SHOWN: dict[str, dict[str, float] | float] = {
    "translation": {"tx": 0.4, "ty": -0.2},
    "rigid": {"rotation": math.radians(25), "tx": 0.15},
    "similarity": {"s": 0.7, "rotation": math.radians(-30)},
    "attention": {"s": 0.5, "tx": 0.3, "ty": -0.3},
    "attention-per-axis": {"sx": 0.9, "sy": 0.35, "ty": 0.4},
    "affine": {"m11": 0.8, "m12": 0.35, "m21": -0.15, "m22": 0.7},
    "affine-geometric": {"rotation": math.radians(20), "kxy": 0.4, "sx": 0.8, "sy": 0.8},
    "affine-exponential": {"a11": -0.3, "a12": -0.5, "a21": 0.5, "a22": -0.3},
    "constrained": {"m11": 0.5, "m22": 0.9, "tx": -0.3},
    "projective": {"h11": 0.8, "h22": 0.75, "h31": 0.15, "h32": -0.45},
    "thin-plate-spline": 0.09,
    "piecewise-affine": 0.09,
    "structured": {"m14": 0.12, "m25": -0.12},
    "free-form": 0.14,
    "displacement": 0.09,
    "velocity-field": 0.25,
    "cpab": 0.2,
    "polar": {"x0": 0.0, "y0": 0.0},
    "log-polar": {"x0": 0.0, "y0": 0.0},
    "compose": 0.05,
}


def letters_and_circles() -> torch.Tensor:
    """Return a colour picture with straight lines, circles and letters: (1, 3, SIZE, SIZE)."""
    figure = Figure(figsize=(2, 2), dpi=SIZE / 2)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.axis("off")
    figure.set_facecolor("#f4efe6")
    for radius, colour in ((0.78, "#c8d5b9"), (0.5, "#8fc0a9"), (0.22, "#4a7c59")):
        axes.add_patch(Circle((0, 0), radius, color=colour))
    for x in np.linspace(-0.9, 0.9, 7):
        axes.axvline(x, color="#444", linewidth=0.6, alpha=0.35)
        axes.axhline(x, color="#444", linewidth=0.6, alpha=0.35)
    letters = {"A": (-0.62, 0.62), "B": (0.62, 0.62), "C": (-0.62, -0.62), "D": (0.62, -0.62)}
    for letter, (x, y) in letters.items():
        axes.text(x, y, letter, ha="center", va="center", fontsize=24, weight="bold", color="#223")
    axes.text(0, 0, "STN", ha="center", va="center", fontsize=11, weight="bold", color="white")
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255


def shown_theta(name: str, transformation: Transformation) -> torch.Tensor:
    """Return the θ (1, P) of a picture."""
    theta, shown = transformation.identity(), SHOWN[name]
    if isinstance(shown, float):
        theta += shown * torch.randn(theta.shape, generator=torch.Generator().manual_seed(4))
    else:
        for entry, value in shown.items():
            theta[list(transformation.entries).index(entry)] = value
    return theta[None]


@torch.no_grad()
def draw(name: str, picture: torch.Tensor) -> Path:
    """Write the picture of one family."""
    transformation = make_transformation(name)
    theta = shown_theta(name, transformation)
    output = warp(picture, theta, transformation, padding_mode="constant", fill_value=0.85)
    figure = Figure(figsize=(5.2, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(picture[0].movedim(0, -1), extent=(-1, 1, 1, -1))
    for i, line in enumerate(grid_lines(transformation, theta, LINES, POINTS)[0]):
        edge = i in (0, LINES - 1, LINES, 2 * LINES - 1)
        left.plot(*line.T, color="#d1495b", linewidth=1.8 if edge else 0.7)
    left.set(xlim=(-1.35, 1.35), ylim=(1.35, -1.35), facecolor="#d9d9d9")
    left.set_title("input and sampling grid", fontsize=9)
    right.imshow(output[0].movedim(0, -1), extent=(-1, 1, 1, -1))
    right.set_title("output", fontsize=9)
    for axes in (left, right):
        axes.set(xticks=[], yticks=[])
    path = FOLDER / f"{name}.png"
    figure.savefig(path, dpi=80, metadata={"Software": None})
    return path


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    picture = letters_and_circles()
    for name in sys.argv[1:] or FAMILIES:
        print(draw(name, picture))
