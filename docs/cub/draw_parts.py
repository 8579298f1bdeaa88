"""Draws where a trained network's transformers look on birds that it was tested on.

Run: python docs/cub/draw_parts.py RUN FOLDER. RUN is a finished run of `stn reproduce cub`, as
.../tight/4x-st-cnn/attention/0, and FOLDER holds the data set.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Polygon
from torch import Tensor

from spatial_transformers import unnormalise
from spatial_transformers._drawing import few_colours, pixels
from spatial_transformers._files import whole
from spatial_transformers.experiments.cub.birds import SIDE, read
from spatial_transformers.experiments.sharing import from_pretrained

COLOURS = ("tab:orange", "deepskyblue", "limegreen", "magenta")
SHOWN, DPI = 6, 80
OUT = Path(__file__).parent / "parts.png"


def chosen(targets: Tensor) -> list[int]:
    """Return the numbers of pictures of different species, evenly spread."""
    species = targets.unique()
    of = species[torch.linspace(0, len(species) - 1, SHOWN + 2)[1:-1].long()]
    return [int((targets == one).nonzero()[2]) for one in of]


def main(run: str, folder: str) -> None:
    """Draw pictures with frames, and below each the crops in the frames' colours."""
    network = from_pretrained(run)
    test = read(Path(folder))[-1]
    pictures = test.inputs[chosen(test.targets)].float() / 255
    stn = network.transformer
    with torch.no_grad():
        crops, theta = stn(pictures, return_theta=True)
    count = theta.shape[1]
    across = -(-count // 2)
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])
    figure = plt.figure(figsize=(2 * SHOWN, 4.1), layout="constrained")
    for column, part in zip(range(SHOWN), figure.subfigures(1, SHOWN), strict=True):
        above, below = part.subfigures(2, 1)
        axis = above.subplots()
        axis.imshow(pictures[column].movedim(0, -1))
        axis.axis("off")
        axes = below.subplots(2, across, squeeze=False).flat
        for number, (crop, colour) in enumerate(zip(axes, COLOURS[:count], strict=True)):
            points = stn.transformation.transform_points(theta[column, number][None], corners)
            frame = unnormalise(points, (SIDE, SIDE))[0]
            axis.add_patch(Polygon(frame, fill=False, edgecolor=colour, linewidth=2))
            crop.imshow(crops[column, number].clamp(0, 1).movedim(0, -1))
            crop.set(xticks=[], yticks=[])
            for side in crop.spines.values():
                side.set(color=colour, linewidth=3)
    with whole(OUT) as temporary:
        few_colours(pixels(figure, DPI)).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
