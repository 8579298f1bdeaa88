"""Inverse compositional transformers: one localisation network, applied again and again.

MNIST under random homographies, as Lin and Lucey (Inverse Compositional Spatial Transformer
Networks, CVPR 2017, section 5.1) distort it: every corner of the image is moved by up to a fifth of
its side. A transformer that sees what it made of the image so far corrects what one step leaves.
"""

from dataclasses import dataclass, replace

from spatial_transformers import Projective

from .. import independent
from ..data import digits
from ..data.distortion import IMAGE, Distortion, homography, square
from ..data.draws import Draws
from ..data.samples import Placed
from ..distorted import DistortedRecipe, Size, distorted
from ..recipe import fact

MODELS = ("cnn", "st-cnn", "2-step-st-cnn", "4-step-st-cnn")
CORNERS = 0.2  # of the side: how far a corner is moved along each axis, at most

#: Errors in percent, second-hand: of one transformer, and of one applied four times.
PAPER = {
    "4-step-st-cnn/projective": 1.23,
    "st-cnn/projective": 4.94,
    "2-step-st-cnn/projective": None,
    "cnn": None,
}


def cornered(draws: Draws) -> Placed:
    """H: each corner of the image is moved by U(-0.2, 0.2) of the side along each axis."""
    still = square(draws.sample.device)
    moves = draws.uniform("corners", -2 * CORNERS, 2 * CORNERS, 8).unflatten(1, (4, 2))
    return Projective(), homography(still + moves, still)


@dataclass(frozen=True, kw_only=True)
class HomographyRecipe(DistortedRecipe):
    """How a classifier of digits under random homographies is trained."""

    distortion: str = fact("H", "of the images, by the paper's name", ("H",))
    model: str = fact("4-step-st-cnn", "of the classifier, and the transformer's steps", MODELS)
    transformation: str = fact("projective", "of the spatial transformer")
    digits: str = fact("mnist", "that are read: of a folder, or those that ship", digits.DIGITS)


EXPERIMENT = distorted(
    HomographyRecipe(
        experiment="inverse-compositional",
        epochs=20,
        batch_size=128,
        lr=3e-3,
        localisation_lr=1.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        jitter=1.0,
        hold_out=False,
    ),
    digits.load,
    {"H": Distortion(IMAGE, cornered)},
    {"cnn": {IMAGE: Size(208_586, IMAGE)}},
    classes=10,
    paper={row: {"H": error} for row, error in PAPER.items()},
    quick=lambda recipe: replace(recipe, digits="scikit-learn", epochs=10),
    verify=digits.verify,
    independent={"H": {"SciPy": independent.cornered}},
)
