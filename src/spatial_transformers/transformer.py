"""The spatial transformer (section 3.4, figure 2): localisation, grid and sampler joined."""

from collections.abc import Callable
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ._context import STEPS, Fixed, context
from ._errors import InputError, shown
from ._types import Image, Size, Theta, Thetas, Warped, Warps, require_tensor
from .grid import Transformation
from .grid.bounds import Squash
from .grid.regular import as_target
from .protection.background import Background
from .protection.gradients import checked, limited
from .protection.reach import Reach
from .protection.watch import Watch
from .sampler import Sampler
from .sampler.target import check_dimensions
from .sharing.shared import Shared

#: Parameters that the transformer itself had once, and where they are now.
_MOVED = {
    "fill_value": "sampler.fill_value",
    "phi": "sampler.mode.phi",
    "mode.phi": "sampler.mode.phi",
}

_NAMED = 100  # entries of θ, of which a state holds the names


class SpatialTransformer(Shared):
    """A module that brings its input into pose, for any place in any network.

    θ = f_loc(U), V = U(T_θ(G)). Trained on the task's loss alone, it learns to crop, turn, scale
    and align. It works on images and on feature maps, in 2-D and 3-D.

    It is hard to lose in training, in a loop of one's own, too. The localisation networks of this
    package learn at a tenth of Adam's rate (`lr_multiplier`); what is outside is filled with the
    images' own background; θ stays where its grid is near the image (`reach`); no sample's gradient
    outweighs the batch (`theta_clip`); and a transformer that is lost all the same is noticed,
    warned of and started anew (`watch`). See the page *Troubleshooting*.

    Args:
        localisation: any module that takes U and returns θ (N, P), or (N, K, P) for K transformers
            that share it: V is (N, K, C, *size) then.
        transformation: what θ means. If it has bounds, θ is brought within them here, and
            `stn.transformation`, by which the θ that is returned is read, has none.
        sampler: how the image is read: `Sampler(mode=…, padding_mode=…)`. None reads it as
            `Sampler()` does, but fills what lies outside with the background: the median of the
            border pixels of the first training batch, which is kept with the weights; per channel
            where the localisation network has `in_channels`, and otherwise one value for all.
        size: the output's (H, W) or (D, H, W), or one number for all axes; the input's if None.
        reach: how far θ may move the image's points, in half extents: a turn by 180° is
            1.63. Up to three quarters of the reach θ stays as it is. None: as far as it goes.
        theta_clip: the largest gradient of a sample's θ in training, as a multiple of the batch's
            median. None: any. `torch.func` sees the gradient as it is.
        watch: look at θ every 50 steps of training, in eager mode: warn once of a transformer that
            has left the image, shrunk to a point or stopped to tell images apart, and start its
            localisation network anew where it ends in a `RegressionHead`.

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

    transformation: Transformation
    _bounded: Transformation  # the one that was given

    def __init__(
        self,
        localisation: nn.Module,
        transformation: Transformation,
        sampler: Sampler | None = None,
        *,
        size: Size | None = None,
        reach: float | None = 2.0,
        theta_clip: float | None = 4.0,
        watch: bool = True,
    ):
        super().__init__()
        self.localisation = localisation
        self.transformation = transformation.without_bounds()
        self.bounds = nn.ModuleList(m for m in transformation.modules() if isinstance(m, Squash))
        self.sampler = Sampler() if sampler is None else sampler
        channels = getattr(localisation, "in_channels", 1)
        self.background = Background(channels) if sampler is None else None
        self.size = None if size is None else as_target(size, transformation.ndim)
        self.reach = None if reach is None else Reach(self.transformation, reach)
        self.theta_clip = None if theta_clip is None else checked(theta_clip)
        self.__dict__["_bounded"] = transformation  # no part of its own: it shares all tensors
        self._watch = Watch() if watch else None
        #: Called with θ of every step of training, in eager mode.
        self.observers: list[Callable[[Tensor], object]] = []
        if self._watch is not None:
            self.observers.append(self._watch.keep)

    @overload
    def forward(self, image: Image, *, return_theta: Literal[False] = False) -> Warped | Warps: ...
    @overload
    def forward(
        self, image: Image, *, return_theta: Literal[True]
    ) -> tuple[Warped | Warps, Theta | Thetas]: ...
    def forward(self, image, *, return_theta=False):
        """Return V (N, C, *size), and with `return_theta` also θ (N, P), in float32 or better.

        θ encodes the pose: it can be fed forward to the rest of the network. It is the θ that was
        used, within its bounds and reach.
        """
        self._begin(image)
        theta = self._predicted(image)
        warped = self._read(image, theta, self.transformation)
        return (warped, theta) if return_theta else warped

    def warp(self, other: Image, theta: Theta | Thetas, **changes: Any) -> Warped | Warps:
        """Warp a mask or a second image, at whatever resolution, by a θ found before.

        The output has the transformer's `size`, or that of `other` if the transformer has none.
        What lies outside is as the sampler fills it: zeros, where there is none.
        Options of the function `warp`, such as `mode`, replace the sampler's in this call. Integer
        masks need `nearest`, and are never antialiased.
        """
        return self._warp(other, theta, self.transformation, **changes)

    def extra_repr(self) -> str:
        """Show the output's size."""
        return f"size={self.size}"

    __repr__ = nn.Module.__repr__  # of the parts, which is what a printed model is read for

    def _argument(self, name: str) -> Any:
        if name == "transformation":
            return self._bounded
        if name == "sampler":
            return self.sampler if self.background is None else None
        if name == "watch":
            return self._watch is not None
        limit = getattr(self, name)
        if name == "reach":
            return None if limit is None else limit.reach.value
        return limit.value if isinstance(limit, Fixed) else limit

    def get_extra_state(self) -> Tensor:
        """Return what θ means, as bytes of a text: the names of its entries, and their bounds."""
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        return torch.tensor([*self._meaning().encode()], dtype=torch.uint8, device=device)

    def set_extra_state(self, state: Tensor) -> None:
        """Leave it: a state of another meaning was refused."""

    def _meaning(self) -> str:
        family = self._bounded
        few = family.num_parameters <= _NAMED
        names = " ".join(family.entries) if few else f"{family.num_parameters} entries"
        bounds = [str(m.bounds) for m in self.bounds if isinstance(m, Squash)]
        return " ".join([type(family).__name__, f"({names})", *bounds])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = self.get_extra_state()
        given = state_dict.setdefault(f"{prefix}_extra_state", own)  # older states have none
        theirs = (
            self._meaning() if given.is_meta else bytes(given.tolist()).decode(errors="replace")
        )
        if theirs != self._meaning():
            raise InputError(
                f"a state was loaded whose theta means {shown(theirs)}, into a transformer whose "
                f"theta means {self._meaning()}; make the transformation that was trained"
            )
        for old, new in _MOVED.items():
            if prefix + old in state_dict:
                raise InputError(
                    f"a state with {prefix + old!r} was loaded, which an older SpatialTransformer "
                    f"had; rename it to {prefix + new!r}, where the sampler has it now"
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _begin(self, image: Tensor) -> None:
        """See to the protections in training, before anything of a step is computed."""
        if not self._trains():
            return
        if self._watch is not None:
            self._watch.look(self.transformation, self.localisation)
        if self.background is not None and not self.background.known:
            check_dimensions(image, self.transformation)
            self.background.estimate(image)

    def _predicted(self, image: Tensor) -> Tensor:
        """Return θ, and in training let observers look."""
        theta = self._theta(image)
        for observer in self.observers if self._trains() else ():
            observer(theta)
        return theta

    def _trains(self) -> bool:
        return self.training and torch.is_grad_enabled() and context() == "eager"

    def _read(self, image: Tensor, theta: Tensor, family: Transformation) -> Tensor:
        """Warp an image by θ of any family, with the background outside."""
        fill = None if self.background is None else self.background.fill()
        filled = {} if fill is None else {"padding_mode": "constant", "fill_value": fill}
        return self._warp(image, theta, family, **filled)

    def _warp(self, image: Tensor, theta: Tensor, family: Transformation, **changes: Any) -> Tensor:
        require_tensor(image, family, "image")
        if not image.is_floating_point():
            changes["antialias"] = False
        return self.sampler.warp(image, theta, family, size=self.size, **changes)

    def _theta(self, image: Tensor) -> Tensor:
        check_dimensions(image, self.transformation)
        theta = self.localisation(image)
        if not isinstance(theta, Tensor):
            raise InputError(
                f"{type(self.localisation).__name__} returned {type(theta).__name__}; a "
                "localisation network returns theta, one tensor (N, P)"
            )
        if theta.ndim == 3 and theta.shape[2] == self.transformation.num_parameters:
            return torch.unflatten(self._kept(theta.flatten(0, 1)), 0, theta.shape[:2])
        return self._kept(theta)

    def _kept(self, theta: Tensor) -> Tensor:
        """Return θ (N, P) within its bounds and its reach."""
        theta = self.transformation.check(theta)
        if self.theta_clip is not None and self.training and context(theta) in STEPS:
            theta = limited(theta, self.theta_clip)
        if len(self.bounds):
            theta = self._bounded.values(theta)
        return theta if self.reach is None else self.reach(theta, self.transformation)


def require_transformer(stn: object, asked: str) -> None:
    """Refuse another module, for a function that is `asked`."""
    if not isinstance(stn, SpatialTransformer):
        raise InputError(f"a {type(stn).__name__} was given to {asked}; give a SpatialTransformer")


@torch.no_grad()
def evaluated(
    stn: SpatialTransformer, images: Image, asked: str
) -> tuple[Warped | Warps, Theta | Thetas]:
    """Return outputs and θ as in evaluation, for a function that is `asked`; leave all modes."""
    require_transformer(stn, asked)
    modes = [(module, module.training) for module in stn.modules()]
    try:
        return stn.eval()(images, return_theta=True)
    finally:
        for module, training in modes:
            module.training = training
