"""The encoder of co-localisation: it tells digits of any size from each other, and from none.

A view is a square crop of a canvas on which a digit lies, half of the time among clutter. It holds
the digit whole, anywhere and at a third of the view's size or more, or it holds nothing: the
digit's middle is at its edge or beyond. The encoder's weights ship with the experiment. They are
those of one run: `stn train digit-views --data mnist/ --out runs/views`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformers import Attention, warp

from ... import _tensors as tensors
from ..base import Experiment, Network
from ..data.digits import DIGITS, load
from ..data.distortion import IMAGE, Distortion, clutter, translated
from ..data.draws import Draws
from ..data.samples import Data, InMemory
from ..distorted import ClassifierRecipe
from ..recipe import fact
from ..task import Classification

CANVAS, PATCHES = 84, 16  # pixels along each side of a canvas, and pieces of clutter on it
VIEW = 48  # pixels along each side of what the encoder sees
PLAIN = Distortion(CANVAS, partial(translated, canvas=CANVAS))
NOTHING = 10  # the class of views without a digit
_WEIGHTS = Path(__file__).parent / "encoder.safetensors"
_EDGE = 0.9, 2.0  # how far off the digit's middle is in a view of nothing, in half views


class Encoder(Network):
    """A CNN of two convolutions, two hidden layers and a classifier: the encoding is all three."""

    transformer = None

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            (
                nn.Sequential(
                    *(nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU()),
                    *(nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.BatchNorm2d(32), nn.ReLU()),
                    *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * (VIEW // 8) ** 2, 64)),
                    *(nn.BatchNorm1d(64), nn.ReLU()),
                ),
                nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()),
                nn.Linear(64, NOTHING + 1),
            )
        )

    def activations(self, views: Tensor) -> list[Tensor]:
        """Return both hidden layers and the logits, (N, D) each, of views (N, 1, 48, 48)."""
        found = [views]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found[1:]

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        """Return the logits (N, 11) of views."""
        return self.activations(image)[-1], None

    def encode(self, views: Tensor) -> Tensor:
        """Return the concatenated activations (N, D), in which every layer counts alike.

        Each layer's are of length 1, so that the squared distance of two encodings is the mean of
        1 - cos over the layers, twice: 2 where they have nothing in common. Batches are normalised
        as in scoring, whatever the mode, since what compares does not train.
        """
        self.eval()
        units = [F.normalize(layer, dim=1) for layer in self.activations(views)]
        return torch.cat(units, 1) / len(units) ** 0.5


def trained() -> Encoder:
    """Return the encoder with the weights that ship, which do not train any more."""
    encoder = Encoder()
    encoder.load_state_dict(tensors.read(_WEIGHTS))
    return encoder.requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class ViewsRecipe(ClassifierRecipe):
    """How the encoder is trained."""

    model: str = fact("encoder", "the one network there is", ("encoder",))
    digits: str = fact("mnist", "that are seen: of a folder, or those that ship", DIGITS)


def looks(draws: Draws, nothing: Tensor) -> Tensor:
    """Return where views are, as θ (N, 3) of attention, of digits or of `nothing` (N,)."""
    middle = -PLAIN.place(draws)[1][:, [2, 5]] / (CANVAS / IMAGE)
    small = draws.uniform("scale of nothing", 0.2, 0.6)
    scale = torch.where(nothing[:, None], small, draws.uniform("scale", 0.32, 1))
    within = draws.uniform("offset", -1, 1, 2) * (scale - 0.3)
    far = scale * draws.uniform("far", *_EDGE) * draws.uniform("side", -1, 1).sign()
    near = scale * draws.uniform("near", -1, 1)
    swap = draws.uniform("axis", 0, 1) < 0.5
    beyond = torch.where(swap, torch.cat((far, near), 1), torch.cat((near, far), 1))
    offset = torch.where(nothing[:, None], beyond, within)
    return torch.cat((scale, middle + offset), 1)


def _with_nothing(digits: InMemory) -> InMemory:
    """Return digits, and three for every seven of them that will not be in view."""
    few = digits[: len(digits) * 3 // 7]
    return digits + InMemory(few.inputs, torch.full_like(few.targets, NOTHING))


def _data(recipe: ViewsRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        canvases = PLAIN(inputs.float() / 255, draws, samples.inputs)
        cluttered = clutter(canvases, draws, samples.inputs, PATCHES, between=False)
        half = draws.uniform("cluttered", 0, 1)[..., None, None] < 0.5
        theta = looks(draws, samples.targets[draws.sample] == NOTHING).to(canvases)
        return warp(torch.where(half, cluttered, canvases), theta, Attention(), size=VIEW)

    splits = load(recipe, folder)
    return Data(*map(_with_nothing, splits), prepare=prepare)


EXPERIMENT = Experiment(
    ViewsRecipe(
        experiment="digit-views",
        epochs=4,
        batch_size=128,
        lr=3e-3,
        weight_decay=0.05,
        label_smoothing=0.05,
    ),
    data=_data,
    network=lambda recipe: Encoder(),
    task=lambda recipe: Classification(NOTHING + 1, recipe.label_smoothing),
    shape=lambda recipe: (1, VIEW, VIEW),
)
