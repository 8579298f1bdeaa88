"""The spatial transformer (section 3.4): localisation, grid generator and sampler joined."""

from typing import Literal, overload

from torch import Tensor, nn

from ._types import Image, InputError, Size, Theta, Warped
from .grid import Transformation
from .grid.regular import as_size
from .sampler.kernels import Kernel, Phi
from .sampler.sample import Fill, check_dimensions, check_fill, check_options, warp


class SpatialTransformer(nn.Module):
    """A module that brings its input into pose, for any place in any network.

    θ = f_loc(U), V = U(T_θ(G)). Trained on the task's loss alone, it learns to crop, turn, scale
    and align. It works on images and on feature maps, in 2-D and 3-D. Warp before normalising, or
    fill with the background's value: zeros that are not the background teach it to shrink.

    Args:
        localisation: any module that takes U and returns θ (N, P).
        transformation: what θ means.
        size: the output's (H, W) or (D, H, W), or one number for all axes; the input's if None.
        mode: see `sample`, as for all further options. A `Kernel` whose Φ is a parameter is
            learned with the network.
        phi: see `sample`.
        padding_mode: see `sample`.
        fill_value: see `sample`; with `padding_mode="constant"`. A parameter is learned.
        align_corners: see `sample`.
        antialias: see `sample`.
        max_shrink: see `sample`.
        gradient: see `sample`.
        backend: see `sample`.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer
        >>> affine = Affine()
        >>> localisation = LocalisationCNN(affine, in_channels=1)
        >>> stn = SpatialTransformer(localisation, affine, size=(28, 28))
        >>> v, theta = stn(torch.rand(4, 1, 60, 60), return_theta=True)
        >>> v.shape, theta.shape
        (torch.Size([4, 1, 28, 28]), torch.Size([4, 6]))
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
        *,
        size: Size | None = None,
        mode: str | Kernel = "bilinear",
        phi: Phi | None = None,
        padding_mode: str = "zeros",
        fill_value: Fill | None = None,
        align_corners: bool = False,
        antialias: bool = False,
        max_shrink: float = 8,
        gradient: str = "exact",
        backend: str | None = None,
    ):
        super().__init__()
        check_fill(fill_value, padding_mode)
        check_options(mode, padding_mode, max_shrink, gradient)
        self.localisation = localisation
        self.transformation = transformation
        self.size = None if size is None else as_size(size, transformation.ndim)
        self.mode = mode
        self.phi = phi
        self.padding_mode = padding_mode
        self.fill_value = fill_value
        self.align_corners = align_corners
        self.antialias = antialias
        self.max_shrink = max_shrink
        self.gradient = gradient
        self.backend = backend

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

    def warp(self, other: Image, theta: Theta, *, mode: str | Kernel | None = None) -> Warped:
        """Warp a mask or a second image, at whatever resolution, by a θ found before.

        The output has the transformer's `size`, or without one the other image's own. `mode` stands
        in for the transformer's; integer masks need `nearest`, and are never antialiased.
        """
        return warp(
            other,
            theta,
            self.transformation,
            size=self.size,
            mode=self.mode if mode is None else mode,
            phi=self.phi if mode is None else None,
            padding_mode=self.padding_mode,
            fill_value=self.fill_value,
            align_corners=self.align_corners,
            antialias=self.antialias and other.is_floating_point(),
            max_shrink=self.max_shrink,
            gradient=self.gradient,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """Show the output's size and the sampler's options."""
        fill = "" if self.fill_value is None else f", fill_value={self.fill_value}"
        mode = self.mode.name if isinstance(self.mode, Kernel) else self.mode
        antialias = f", max_shrink={self.max_shrink}" if self.antialias else ""
        return (
            f"size={self.size}, mode={mode!r}, padding_mode={self.padding_mode!r}{fill}, "
            f"align_corners={self.align_corners}, antialias={self.antialias}{antialias}, "
            f"gradient={self.gradient!r}, backend={self.backend!r}"
        )

    def _theta(self, image: Tensor) -> Tensor:
        check_dimensions(image, self.transformation)
        theta = self.localisation(image)
        if not isinstance(theta, Tensor):
            raise InputError(
                f"{type(self.localisation).__name__} returned {type(theta).__name__}; a "
                "localisation network returns theta, one tensor (N, P)"
            )
        return self.transformation.check(theta)
