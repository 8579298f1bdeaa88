"""The named tensor types of the public functions, and what they refuse.

Shapes follow jaxtyping: `N` images, `C` channels, `P` entries of θ, `K` points or maps per image;
`#N` may also be 1, which broadcasts. Shapes are checked at run time only under pytest.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ._errors import InputError

Image: TypeAlias = Shaped[Tensor, "#N C *source"]  # U; integers too, with `nearest`
Warped: TypeAlias = Shaped[Tensor, "N C *target"]  # V
Warps: TypeAlias = Shaped[Tensor, "N K C *target"]  # V of every map of an image
Grid: TypeAlias = Float[Tensor, "#N *points ndim"]  # T_θ(G): x first, in [-1, 1]
Theta: TypeAlias = Float[Tensor, "#N P"]  # θ
Thetas: TypeAlias = Float[Tensor, "#N K P"]  # θ of every map of an image
Points: TypeAlias = Float[Tensor, "#N K ndim"]  # x first, in [-1, 1]
Size: TypeAlias = int | Sequence[int]  # (H, W) or (D, H, W); one number for all axes


if TYPE_CHECKING:
    _Forward = TypeVar("_Forward", covariant=True)

    class _HasForward(Protocol[_Forward]):
        @property
        def forward(self) -> _Forward: ...

    class Called(Protocol):
        """The `__call__` of a module, which is what its `forward` is."""

        def __get__(self, module: _HasForward[_Forward], owner: object = None) -> _Forward: ...


def require_same_batch(first: Tensor, second: Tensor, asked: str, of: object = "") -> int:
    """Return the batch of both; refuse batches that do not broadcast.

    What was `asked` ends in `of`, which becomes a text in the message only: one of points is costly
    and does not trace.
    """
    n, m = first.shape[0], second.shape[0]
    if n != m and n != 1 and m != 1:
        raise InputError(
            f"{asked}{of} was asked with batches of {n} and {m}; give equal ones, or 1"
        )
    return m if n == 1 else n


def require_same_device(image: Tensor, other: Tensor, name: str) -> None:
    """Refuse an image and coordinates on two devices."""
    if image.device != other.device:
        raise InputError(
            f"an image on {image.device} was given with {name} on {other.device}; move one by .to()"
        )


def as_tensor(given: object, asked: object, what: str) -> Tensor:
    """Return a tensor, or nested lists of numbers as one in the default dtype; refuse all else."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        try:
            return torch.tensor(given, dtype=torch.get_default_dtype())
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{asked} as {what} was given lists that are no table of numbers; give as many "
                "numbers in each row"
            ) from error
    require_tensor(given, asked, what)
    assert isinstance(given, Tensor)
    return given


def require_tensor(given: object, asked: object, what: str = "") -> None:
    """Refuse lists and arrays of other libraries."""
    if not isinstance(given, Tensor):
        asked = f"{asked} as {what}" if what else asked
        raise InputError(
            f"{asked} was given a {type(given).__name__}; give a tensor of torch, as "
            "torch.from_numpy makes one of an array"
        )
