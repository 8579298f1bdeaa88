"""A picture of what any spatial transformer does, for a notebook or a file; needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ._errors import InputError, how_to_get
from ._files import whole
from ._types import Image
from .transformer import SpatialTransformer, evaluated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 32  # columns of one picture


def show(stn: SpatialTransformer, images: Image, path: str | Path | None = None) -> "Figure":
    """Draw a column per image, and per map of it: input with sampling grid, output, θ in words.

    Images whose values lie outside [0, 1], as after normalising, are drawn from the lowest to the
    highest value of all. A volume is seen along its depth.

    Args:
        stn: in whatever mode; it is left in it, and so are its statistics.
        images: (N, C, *size), as the transformer gets them; up to 32 columns.
        path: of a PNG to write.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        InputError: for something else than a transformer, more images, a path that is no PNG, and
            without matplotlib.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer, show
        >>> stn = SpatialTransformer(LocalisationCNN(Affine(), in_channels=1), Affine(), size=20)
        >>> len(show(stn, torch.rand(3, 1, 28, 28)).axes)  # two pictures of each
        6

    """
    if path is not None and Path(path).suffix.lower() != ".png":
        raise InputError(f"{path} was asked for; give a name that ends in .png")
    try:
        from ._drawing import figure_of, pixels
    except ModuleNotFoundError as error:
        cure = how_to_get("experiments")
        raise InputError(f"pictures need the package {error.name!r}; {cure}") from error
    outputs, theta = evaluated(stn, images, "show")
    columns = theta[..., 0].numel()
    if columns > _MOST:
        raise InputError(
            f"{len(images)} images were given to show, which take {columns} columns; give fewer, "
            f"of at most {_MOST} columns"
        )
    seen, given = _in_range(images.float().cpu(), outputs.float().cpu())
    figure = figure_of(stn.transformation, seen, given, theta.cpu(), [""] * len(images))
    if path is not None:
        with whole(Path(path)) as temporary:
            pixels(figure, 120).save(temporary, "PNG", optimize=True)
    return figure


def _in_range(images: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in [0, 1]."""
    low, high = images.min(), images.max()
    if low >= 0 and high <= 1:
        return images, outputs
    scale = (high - low).clamp(min=1e-12)
    return (images - low) / scale, (outputs - low) / scale
