"""Draws the picture of `augmentation.md`: a photograph, and random warps of it, a row of each kind.

The outline is that of the mask, and box and points lie where the warp says that they are. The
photograph is scikit-learn's.

Run: python docs/augmentation/draw_warps.py
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_sample_image

from spatial_transformers import RandomWarp, VelocityField
from spatial_transformers._drawing import few_colours, pixels

PATH = Path(__file__).with_name("warps.png")
COLUMNS, DPI, COLOURS = 4, 90, 128
STEM = 88  # the first row of pixels below the flower

#: The rows, and how each is called.
ROWS: dict[str, dict[str, Any]] = {
    "turned, scaled,\nmoved, mirrored": {
        "rotation": (-40, 40),
        "scale": (0.7, 1.3),
        "translation": (-0.1, 0.1),
        "flip": (0.5, 0),
    },
    "perspective": {"perspective": (-0.35, 0.35)},
    "thin plate\nspline": {"bend": 0.035},
    "velocity field": {"bend": 0.12, "family": VelocityField(4)},
}


def flower() -> dict[str, torch.Tensor]:
    """Return a photograph with the flower's mask, its box, and points on it, in pixels."""
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).movedim(-1, 0) / 255
    image = F.avg_pool2d(photo, 4)  # (3, 106, 160)
    red, green, blue = F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
    mask = (red > 1.25 * green) & (red > 1.25 * blue) & (red > 0.35)
    mask[STEM:] = False
    rows, columns = mask.nonzero().unbind(1)
    low, high = (torch.stack((f(columns), f(rows))) for f in (torch.min, torch.max))
    box = torch.cat((low, high)).float()
    x, y = (low + high) / 2
    points = torch.tensor([[x, y], [x, low[1] + 8], [high[0] - 12, y], [low[0] + 12, y]])
    return {"image": image, "mask": mask, "boxes": box[None], "points": points}


def draw(axes: Axes, sample: dict[str, torch.Tensor]) -> None:
    """Draw an image with its mask's outline, its box and its points."""
    axes.imshow(sample["image"].movedim(0, -1).clamp(0, 1))
    axes.contour(sample["mask"].float(), levels=[0.5], colors="#ffffff", linewidths=0.9)
    x0, y0, x1, y1 = sample["boxes"][0].tolist()
    edges = {"fill": False, "edgecolor": "#ffd166", "linewidth": 1.2}
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **edges))
    colours = ["#ffffff", "#3a86ff", "#06d6a0", "#8338ec"]
    axes.scatter(*sample["points"].unbind(1), s=26, c=colours, edgecolors="black", linewidths=0.8)
    height, width = sample["image"].shape[1:]
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


if __name__ == "__main__":
    sample = flower()
    figure = Figure(figsize=(1.9 * (COLUMNS + 1), 1.33 * len(ROWS)), layout="constrained")
    for row, (name, options) in zip(
        figure.subplots(len(ROWS), COLUMNS + 1), ROWS.items(), strict=True
    ):
        augment = RandomWarp(**options, coordinates="pixels")
        row[0].set_ylabel(name, fontsize=8)
        draw(row[0], sample)
        for key, axes in enumerate(row[1:]):
            draw(axes, augment(sample, key=key))
    few_colours(pixels(figure, DPI), COLOURS).save(PATH, optimize=True)
    print(PATH)
