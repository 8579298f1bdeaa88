"""The spatial transformer (section 3.4): localisation, grid generator and sampler joined."""

from typing import Any, Literal, overload

from torch import Tensor, nn

from ._types import Image, InputError, Size, Theta, Warped, require_tensor
from .grid import Transformation
from .grid.regular import as_target
from .sampler import Sampler
from .sampler.target import check_dimensions

#: Parameters that the transformer itself had once, and where they are now.
_MOVED = {
    "fill_value": "sampler.fill_value",
    "phi": "sampler.mode.phi",
    "mode.phi": "sampler.mode.phi",
}


class SpatialTransformer(nn.Module):
    """A module that brings its input into pose, for any place in any network.

    θ = f_loc(U), V = U(T_θ(G)). Trained on the task's loss alone, it learns to crop, turn, scale
    and align. It works on images and on feature maps, in 2-D and 3-D. Warp before normalising, or
    fill with the background's value: zeros that are not the background teach it to shrink.

    Args:
        localisation: any module that takes U and returns θ (N, P).
        transformation: what θ means.
        sampler: how the image is read: `Sampler(mode=…, padding_mode=…)`; None: `Sampler()`.
        size: the output's (H, W) or (D, H, W), or one number for all axes; the input's if None.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer
        >>> affine = Affine()
        >>> localisation = LocalisationCNN(affine, in_channels=1)
        >>> stn = SpatialTransformer(localisation, affine, size=(28, 28))
        >>> v, theta = stn(torch.rand(4, 1, 60, 60), return_theta=True)
        >>> v.shape, theta.shape
        (torch.Size([4, 1, 28, 28]), torch.Size([4, 6]))
        >>> stn(torch.rand(2, 1, 32, 48)).shape
        torch.Size([2, 1, 28, 28])
        >>> mask = torch.zeros(4, 1, 60, 60, dtype=torch.uint8)
        >>> stn.warp(mask, theta, mode="nearest").dtype
        torch.uint8

    <details><summary>BibTeX</summary>

        @inproceedings{jaderberg2015spatial,
          title = {Spatial Transformer Networks},
          author = {Jaderberg, Max and Simonyan, Karen and Zisserman, Andrew and
                    Kavukcuoglu, Koray},
          booktitle = {Advances in Neural Information Processing Systems},
          year = {2015}
        }

    </details>

    """

    def __init__(
        self,
        localisation: nn.Module,
        transformation: Transformation,
        sampler: Sampler | None = None,
        *,
        size: Size | None = None,
    ):
        super().__init__()
        self.localisation = localisation
        self.transformation = transformation
        self.sampler = Sampler() if sampler is None else sampler
        self.size = None if size is None else as_target(size, transformation.ndim)

    @overload
    def forward(self, image: Image, *, return_theta: Literal[False] = False) -> Warped: ...
    @overload
    def forward(self, image: Image, *, return_theta: Literal[True]) -> tuple[Warped, Theta]: ...
    def forward(self, image, *, return_theta=False):
        """Return V (N, C, *size), and with `return_theta` also θ (N, P), in float32 or better.

        θ encodes the pose: it can be fed forward to the rest of the network.
        """
        theta = self._theta(image)
        warped = self.warp(image, theta)
        return (warped, theta) if return_theta else warped

    def warp(self, other: Image, theta: Theta, **changes: Any) -> Warped:
        """Warp a mask or a second image, at whatever resolution, by a θ found before.

        The output has the transformer's `size`, or that of `other` if the transformer has none.
        Options of the function `warp`, such as `mode`, replace the sampler's in this call. Integer
        masks need `nearest`, and are never antialiased.
        """
        require_tensor(other, self.transformation, "image")
        if not other.is_floating_point():
            changes["antialias"] = False
        return self.sampler.warp(other, theta, self.transformation, size=self.size, **changes)

    def extra_repr(self) -> str:
        """Show the output's size."""
        return f"size={self.size}"

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for old, new in _MOVED.items():
            if prefix + old in state_dict:
                raise InputError(
                    f"a state with {prefix + old!r} was loaded, which an older SpatialTransformer "
                    f"had; rename it to {prefix + new!r}, where the sampler has it now"
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _theta(self, image: Tensor) -> Tensor:
        check_dimensions(image, self.transformation)
        theta = self.localisation(image)
        if not isinstance(theta, Tensor):
            raise InputError(
                f"{type(self.localisation).__name__} returned {type(theta).__name__}; a "
                "localisation network returns theta, one tensor (N, P)"
            )
        return self.transformation.check(theta)
