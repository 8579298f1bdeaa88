"""Several transformers that look at one input, each at its own part of it."""

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

import torch
from torch import Tensor, nn

from .._errors import InputError, shown
from .._hints import require_name
from .._types import Image
from ..sharing.shared import Shared
from ..transformer import SpatialTransformer, require_transformer

Join: TypeAlias = Literal["channels", "stack"] | None
_Outputs = TypeVar("_Outputs", Tensor, list[Tensor])  # as `join` says


class Parallel(Shared, Generic[_Outputs]):
    """Transformers side by side, on the same image: an attention to several things.

    Each has a localisation network of its own. From one start they would get nearly the same
    gradient and stay together, so begin them at different places, as `tiled_starts` does. Where one
    localisation network serves all, no `Parallel` is needed: give its `start` several θ, and the
    transformer returns (N, K, C, *size).

    Args:
        *transformers: one or more, of any families, of the same number of dimensions. One that
            makes K outputs of an image counts as K.
        join: how outputs are joined: `channels`, (N, K · C, *size), for a network on all of them;
            `stack`, (N, K, C, *size); or None, a list of (N, C, *size), each for a network of its
            own, and of any size.

    Raises:
        InputError: for none, for what is no `SpatialTransformer`, for different numbers of
            dimensions, and for sizes that cannot be joined.

    Example:
        >>> import torch
        >>> from spatial_transformers import (
        ...     Attention, LocalisationCNN, Parallel, SpatialTransformer, tiled_starts
        ... )
        >>> attention = Attention()
        >>> def crop(start):
        ...     localisation = LocalisationCNN(attention, in_channels=3, start=start)
        ...     return SpatialTransformer(localisation, attention, size=24)
        >>> parallel = Parallel(*map(crop, tiled_starts(attention, 2)))
        >>> parallel(torch.rand(5, 3, 48, 48)).shape
        torch.Size([5, 6, 24, 24])
        >>> v, (first, second) = parallel(torch.rand(5, 3, 48, 48), return_theta=True)
        >>> first[0].tolist(), second[0].tolist()
        ([0.5, -0.5, -0.5], [0.5, 0.5, -0.5])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.4.

    """

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: "Parallel[Tensor]",
            *transformers: SpatialTransformer,
            join: Literal["channels", "stack"] = "channels",
        ): ...
        @overload
        def __init__(
            self: "Parallel[list[Tensor]]", *transformers: SpatialTransformer, join: None
        ): ...
        @overload
        def __init__(self: "Parallel[Any]", *transformers: SpatialTransformer, join: Join): ...

    def __init__(self, *transformers: SpatialTransformer, join: Join = "channels"):
        super().__init__()
        require_transformers(transformers, "Parallel")
        require_name(join, Join, f"join={shown(join)} was asked for")
        sizes = {stn.size for stn in transformers}
        if join is not None and len(sizes) > 1:
            raise InputError(
                f"Parallel was asked to join outputs of the sizes {_listed(sizes)}; give all "
                "transformers one size, or join=None"
            )
        self.transformers = nn.ModuleList(transformers)
        self.join = join

    @overload
    def forward(self, image: Image, *, return_theta: Literal[False] = False) -> _Outputs: ...
    @overload
    def forward(
        self, image: Image, *, return_theta: Literal[True]
    ) -> tuple[_Outputs, list[Tensor]]: ...
    def forward(self, image, *, return_theta=False):
        """Return the outputs, and with `return_theta` also a list of every transformer's θ."""
        transformers: list[SpatialTransformer] = list(self.transformers)  # pyright: ignore
        for stn in transformers:
            stn._begin(image)
        thetas = [stn._predicted(image) for stn in transformers]
        pairs = zip(transformers, thetas, strict=True)
        values = [stn._read(image, theta, stn.transformation) for stn, theta in pairs]
        outputs = self._joined(values, image.ndim)
        return (outputs, thetas) if return_theta else outputs

    def extra_repr(self) -> str:
        """Show how outputs are joined."""
        return f"join={self.join!r}"

    __repr__ = nn.Module.__repr__  # of the transformers, as of a printed model

    def _joined(self, values: list[Tensor], ndim: int) -> Tensor | list[Tensor]:
        stacks = [v if v.ndim > ndim else v[:, None] for v in values]  # (N, K, C, *size)
        if self.join is None:
            return [v for stack in stacks for v in stack.unbind(1)]
        stacked = torch.cat(stacks, 1)
        return stacked if self.join == "stack" else stacked.flatten(1, 2)


def require_transformers(transformers: tuple[object, ...], asked: str) -> None:
    """Refuse no transformers, other modules, and different numbers of dimensions."""
    if not transformers:
        raise InputError(f"{asked} was asked for without transformers; give one or more")
    dimensions = set[int]()
    for transformer in transformers:
        require_transformer(transformer, asked)
        assert isinstance(transformer, SpatialTransformer)
        dimensions.add(transformer.transformation.ndim)
    if len(dimensions) > 1:
        raise InputError(
            f"{asked} was asked for with transformers of {_listed(dimensions)} dimensions; give "
            "transformers of images, or of volumes"
        )


def _listed(found: set) -> str:
    return " and ".join(sorted(map(str, found)))
