"""Draws `samples.png`, the distortions of `distorted-mnist.md`.

Run: python docs/distorted-mnist/draw_samples.py FOLDER_OF_MNIST
"""

import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.served import TEST_SEED
from spatial_transformers.experiments.distorted_mnist import DISTORTIONS, load

COLUMNS = 12


def show(axes: Axes, image: Tensor) -> None:
    """Show an image as it is, black on white."""
    axes.imshow(1 - image[0].numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])


def main(folder: Path) -> None:
    """Draw a row per distortion."""
    images = load(folder).test.inputs
    figure = Figure(figsize=(COLUMNS * 0.75, len(DISTORTIONS) * 0.8), layout="constrained")
    axes = figure.subplots(len(DISTORTIONS), COLUMNS)
    draws = Draws(TEST_SEED, 0, torch.arange(COLUMNS))
    for row, (name, distortion) in zip(axes, DISTORTIONS.items(), strict=True):
        for panel, image in zip(
            row, distortion(images[:COLUMNS] / 255, draws, images), strict=True
        ):
            show(panel, image)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(Path(__file__).with_name("samples.png"), dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
