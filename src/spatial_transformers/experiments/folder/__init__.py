"""A user's own images, in a folder for each class: a classifier, behind a transformer or not.

What depends on the images (the size at which they are read, the transformation, how long and how
fast to train) is chosen for them, and may be given instead.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import (
    InputError,
    LocalisationCNN,
    SpatialTransformer,
    make_transformation,
)

from ..._errors import shown
from ..._images import check_image
from ..base import Choice, Experiment
from ..data.draws import Draws
from ..data.jitter import jittered, lit
from ..data.pictures import faults_of, in_words, read_each, read_pixels, refuse
from ..data.samples import Data, InFiles, InMemory, Samples, as_floats
from ..distorted import ClassifierRecipe
from ..networks import Classifier, assemble, laid_out
from ..networks.backbones import BACKBONES, backbone
from ..origin import Held
from ..progress import tell
from ..recipe import NOT_NEGATIVE, SEED, Within, fact
from ..task import Classification
from . import choices
from .images import PARTS, Listing, listed

MODELS = ("cnn", "st-cnn")
BUDGET = 400_000  # parameters of either network, without a backbone
PIXELS = Within("8 to 512", lambda value: 8 <= value <= 512)
DETAIL = Within("1 to 4", lambda value: 1 <= value <= 4)
_LOCALISATION = 48  # pixels that the localisation network sees along each axis, at most
_HIDDEN = 64  # width of its hidden layer
_LEAST = 8  # pixels along the shorter axis, below which a convolution is the last one
_WIDEST = 8  # times the first convolution's filters that the others have
_DROPOUT = 0.3
_IN_MEMORY = 1 << 31  # bytes of pixels, above which files are read whenever they are needed
_READERS = 2  # processes that read them
_OTHERWISE = ", or give --skip-unreadable, which leaves out what cannot be read"


@dataclass(frozen=True, kw_only=True)
class FolderRecipe(ClassifierRecipe):
    """How a classifier of the images of a folder is trained."""

    model: str = fact("st-cnn", "of the classifier, behind a spatial transformer or not", MODELS)
    classes: str = fact("", "names of the folders of classes, joined by /")
    split: int = fact(0, "decides which images test, where no folder says it", SEED)
    height: int = fact(32, "pixels that the classifier reads along y", PIXELS)
    width: int = fact(32, "pixels that the classifier reads along x", PIXELS)
    detail: int = fact(1, "times as many that a transformer can look at, along each axis", DETAIL)
    backbone: str = fact("", f"pretrained, of the classifier, or none: {BACKBONES}")
    skip_unreadable: bool = fact(
        False, "leave out images that cannot be read, and say which; otherwise they are refused"
    )
    jitter: float = fact(
        1.0, "strength, at first, of changes in place and light of training images", NOT_NEGATIVE
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.classes.split("/"))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which images are read."""
        return self.detail * self.height, self.detail * self.width


def _choose(recipe: FolderRecipe, folder: Path | None) -> Sequence[Choice]:
    listing = listed(folder, recipe.split)
    if not recipe.skip_unreadable:  # before the long work; those are found in its course
        everything = [path for part in PARTS for path, _ in listing.files[part]]
        refuse(faults_of(everything, check_image, "checking"), _OTHERWISE)
    return choices.choose(listing, recipe.backbone)


def _held(recipe: FolderRecipe, folder: Path | None) -> Held:
    return _listing(recipe, folder).held


def _listing(recipe: FolderRecipe, folder: Path | None) -> Listing:
    listing = listed(folder, recipe.split)
    if listing.classes != recipe.names:
        raise InputError(
            f"{folder}: its classes are {shown(listing.classes)}; the run has "
            f"{shown(recipe.names)}; give the folder that it began with"
        )
    return listing


def _data(recipe: FolderRecipe, folder: Path | None, parts: Collection[str] = PARTS) -> Data:
    listing = _listing(recipe, folder)

    def prepare(inputs: Tensor, draws: Draws, samples: Samples, strength: float) -> Tensor:
        images, jitter = as_floats(inputs, draws, samples, strength), recipe.jitter * strength
        return jittered(lit(images, draws, jitter), draws, jitter) if jitter else images

    files = [listing.files[part] if part in parts else () for part in PARTS]
    everything = [path for part in files for path, _ in part]
    large = 3 * prod(recipe.size) * len(everything) > _IN_MEMORY
    of_part, faults = (_in_files if large else _in_memory)(recipe, everything)
    if recipe.skip_unreadable:
        files = _without(files, faults, listing)
    else:
        refuse(faults, _OTHERWISE)
    return Data(
        *map(of_part, files),
        prepare=prepare,
        workers=_READERS if large else 0,
        left_out=sorted(path.relative_to(listing.root).as_posix() for path in faults),
    )


_Files = Sequence[tuple[Path, int]]
_Read = tuple[Callable[[_Files], Samples], Mapping[Path, str]]


def _in_memory(recipe: FolderRecipe, everything: Sequence[Path]) -> _Read:
    """Return what makes samples of files that are read now, and why some cannot be read."""
    pixels, faults = read_each(everything, recipe.size, fast=True)
    rows = {path: row for row, path in enumerate(everything)}

    def of_part(files: _Files) -> InMemory:
        first = rows[files[0][0]] if files else 0
        whole = [rows[path] for path, _ in files]
        own = pixels[first : first + len(files)]
        if whole != [*range(first, first + len(files))]:  # some are left out
            own = pixels[torch.tensor(whole)]
        return InMemory(own, _labels(files))

    return of_part, faults


def _in_files(recipe: FolderRecipe, everything: Sequence[Path]) -> _Read:
    """Return what makes samples of files that are read when they are needed, and why not some."""
    read = partial(read_pixels, size=recipe.size, fast=True)
    faults = faults_of(everything, read, "checking") if recipe.skip_unreadable else {}
    return lambda files: InFiles([path for path, _ in files], _labels(files), read), faults


def _labels(files: _Files) -> Tensor:
    return torch.tensor([label for _, label in files], dtype=torch.long)


def _without(
    files: Sequence[_Files], faults: Mapping[Path, str], listing: Listing
) -> Sequence[_Files]:
    """Leave files out that cannot be read, and say so."""
    if not faults:
        return files
    count = sum(map(len, files))
    tell(
        f"left out are {len(faults):,} of {count:,} images, which cannot be read: "
        f"{in_words(faults, listing.root)}"
    )
    kept = [[pair for pair in part if pair[0] not in faults] for part in files]
    lost = {label for _, label in files[0]} - {label for _, label in kept[0]}
    if lost:
        raise InputError(
            f"{listing.root}: of {listing.classes[min(lost)]!r} no image to train can be read; "
            "replace some, or remove the class"
        )
    return kept


def _transformer(recipe: FolderRecipe) -> SpatialTransformer:
    """Return a transformer that reads the whole image at first, as it is."""
    family = make_transformation(recipe.transformation)
    localisation = LocalisationCNN(
        family,
        in_channels=3,
        input_size=[min(n, _LOCALISATION) for n in recipe.size],
        hidden=_HIDDEN,
    )
    return SpatialTransformer(localisation, family, size=recipe.size)


def _layers(recipe: FolderRecipe, width: int) -> nn.Sequential:
    """Return a CNN of convolutions 3×3, the first of `width` filters, each pooled by two."""
    layers: list[nn.Module] = [nn.AvgPool2d(recipe.detail)]
    channels, times, side = 3, 1, min(recipe.height, recipe.width)
    while True:
        filters = times * width
        layers += [
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        if side < _LEAST:
            break
        layers.append(nn.MaxPool2d(2))
        channels, times, side = filters, min(2 * times, _WIDEST), side // 2
    return nn.Sequential(
        *layers, _Mean(), nn.Dropout(_DROPOUT), nn.Linear(filters, len(recipe.names))
    )


class _Mean(nn.Module):
    """The mean of feature maps over the image."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, F) of (N, F, H, W)."""
        return features.mean((2, 3))


def _network(recipe: FolderRecipe) -> Classifier:
    def front() -> SpatialTransformer | None:
        return _transformer(recipe) if recipe.model == "st-cnn" else None

    if not recipe.backbone:
        return assemble(partial(_layers, recipe), front, BUDGET)
    stream = backbone(recipe.backbone)
    head = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(stream.features, len(recipe.names)))
    return laid_out(Classifier(nn.Sequential(nn.AvgPool2d(recipe.detail), stream, *head), front()))


EXPERIMENT = Experiment(
    FolderRecipe(
        experiment="folder",
        batch_size=64,
        weight_decay=0.05,
        label_smoothing=0.05,
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(len(recipe.names), recipe.label_smoothing, recipe.names),
    shape=lambda recipe: (3, *recipe.size),
    choose=_choose,
    tests=partial(_data, parts=("test",)),
    held=_held,
    see=lambda pictures: pictures,
)
