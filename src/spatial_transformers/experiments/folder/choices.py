"""What `stn train folder` chooses for a user's images, each with its reason."""

from contextlib import suppress
from statistics import median

from spatial_transformers import InputError

from ..._images import image_size
from ..base import Choice
from .images import Listing

_MEASURED = 200  # images whose size is read
_STEP = 8  # sizes are multiples of it
_SMALLEST, _LARGEST = 24, 48  # pixels of what a classifier reads, along the geometric mean of axes
_PRETRAINED = 112  # the same, of a pretrained backbone
_WIDEST = 8  # times that one axis is longer than the other, at most
_FEW = 2_000  # training images, below which a map of fewer numbers is safer
_SEEN = 150_000  # training images in all epochs together
_EPOCHS = 12, 60
_WORDS = {"train": "train", "validation": "validate", "test": "test"}
_BATCHES, _BATCH = 8, 64  # in an epoch at least, and images in one at most


def choose(listing: Listing, backbone: str) -> list[Choice]:
    """Choose the facts that depend on the images.

    Args:
        listing: of the images.
        backbone: the name of a pretrained one, or nothing.

    """
    count = len(listing.files["train"])
    names = len(listing.classes)
    parts = ", ".join(f"{len(listing.files[part]):,} {word}" for part, word in _WORDS.items())
    ignored = f"; ignored are other files: {listing.ignored}" if listing.ignored else ""
    few = count < _FEW
    fewest, most = _EPOCHS
    epochs = min(max(round(_SEEN / count), fewest), most)
    batch = min(_BATCH, max(2, count // _BATCHES))
    return [
        Choice(
            {"classes": "/".join(listing.classes)}, f"{names} folders of images, {parts}{ignored}"
        ),
        _size(listing, backbone),
        Choice(
            {"transformation": "similarity" if few else "affine"},
            f"{count:,} training images are "
            + ("few for the six numbers of an affine map" if few else "enough for six numbers"),
        ),
        Choice({"epochs": epochs}, f"{fewest} to {most}, for {_SEEN:,} images in all"),
        Choice({"batch_size": batch}, f"{_BATCH}, or fewer for {_BATCHES} steps an epoch"),
        Choice({"lr": 3e-4, "localisation_lr": 10.0}, "the backbone alone is trained already")
        if backbone
        else Choice({"lr": 3e-3, "localisation_lr": 1.0}, "the network begins from nothing"),
    ]


def _size(listing: Listing, backbone: str) -> Choice:
    """Choose the size that a classifier reads: that of most images, but neither tiny nor large."""
    paths = [path for path, _ in listing.files["train"]]
    sizes = []
    for path in paths[:: max(1, len(paths) // _MEASURED)]:
        with suppress(InputError):  # that is refused or left out when it is read
            sizes.append(image_size(path))
    if not sizes:
        raise InputError(f"{listing.root}: none of the first images can be read; replace them")
    height, width = (median(size[axis] for size in sizes) for axis in (0, 1))
    side = (height * width) ** 0.5
    view = _PRETRAINED if backbone else min(max(side, _SMALLEST), _LARGEST)
    stretch = min(max(height / width, 1 / _WIDEST), _WIDEST) ** 0.5
    rows, columns = (max(_STEP, round(n / _STEP) * _STEP) for n in (view * stretch, view / stretch))
    detail = 2 if side >= 1.5 * view else 1
    looks = "; a transformer can look twice as closely" if detail > 1 else ""
    return Choice(
        {"height": rows, "width": columns, "detail": detail},
        f"images have about {height:.0f}×{width:.0f} pixels{looks}",
    )
