"""PyTorch's own `grid_sample`, for calls where it means the same: baseline and second oracle.

Three things differ from calling it directly. Coordinates that are not finite give the fill value
and no gradient. `constant` padding adds the fill in the share that the image does not cover; an
extra channel of ones measures that share. And `warp` must not lose exact pixel coordinates on the
way through [-1, 1]: so the image is padded to a power of two, with which normalising whole pixels
and going back is exact.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autograd import Operator, run
from ..dispatch import Backend, Spec
from ..fill import filled_share
from ..kernels import Numbers
from ..padding import FILLING, move_inside
from ..target import Given, Target, joint_batch
from .reference import sample_pixels

# the numbers of torch.ops.aten.grid_sampler_*d
_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
_PADDINGS = {"zeros": 0, "constant": 0, "border": 1, "reflection": 2}
_FOLDED = 2.0**30  # grid_sample folds no further coordinates, which have no digits left
_FAR = 8.0  # a coordinate, ±1 being the edges, that no image's border pixels reach


class Aten(Backend):
    """`torch.nn.functional.grid_sample`, on any device."""

    name = "aten"
    tolerance: ClassVar[Mapping[torch.dtype, float]] = {
        torch.float64: 1e-12,
        torch.float32: 2e-5,
        torch.bfloat16: 1e-2,
        torch.float16: 2e-3,
    }

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        reasons = []
        if spec.ndim not in (2, 3):
            reasons.append("grid_sample knows 2-D and 3-D only")
        if not spec.dtype.is_floating_point:
            reasons.append("grid_sample takes floating images only")
        if not spec.named or spec.mode not in _MODES or spec.padding_mode not in _PADDINGS:
            reasons.append("grid_sample has no such mode or padding")
        if spec.mode == "bicubic" and spec.ndim != 2:
            reasons.append("grid_sample is bicubic in 2-D only")
        if spec.max_shrink is not None:
            reasons.append("grid_sample does not antialias")
        if spec.context == "transform":
            reasons.append("grid_sample has no forward mode, and transforms need it")
        if spec.context == "compile" and spec.operation == "warp":
            reasons.append("padding to a power of two does not trace; the reference fuses anyway")
        exact = spec.operation == "warp" and spec.context != "export"
        if exact and spec.mode == "bicubic" and spec.padding_mode not in FILLING:
            reasons.append("bicubic taps outside, in exact pixels, are zeros only")
        if spec.device == "cuda" and spec.deterministic:
            reasons.append("its gradient to the image differs from run to run on CUDA")
        return reasons

    def run(
        self, spec: Spec, image: Tensor, target: Target, fill: Tensor | None, phi: Numbers
    ) -> Tensor:
        """Sample at normalised coordinates, or exactly where T_θ(G) falls on whole pixels.

        Exported graphs always sample at normalised coordinates.
        """
        if isinstance(target, Given) or spec.context == "export":
            return self._sample(spec, image, target.grid(), fill)
        return self._warp(spec, image, target.pixels(image.shape[2:]), fill)

    def _sample(self, spec: Spec, image: Tensor, grid: Tensor, fill: Tensor | None) -> Tensor:
        if spec.padding_mode in FILLING and not spec.align_corners:
            return _filled(spec, image, _far_if_not_near(grid), fill)
        # Otherwise no place is far away: with `align_corners` a lone pixel reaches everywhere.
        finite = grid.isfinite().all(-1)
        grid = grid.where(finite[..., None], 0)
        if spec.padding_mode == "reflection":
            grid = grid.where(grid.abs() < _FOLDED, 0)
        else:  # runtimes of exported graphs overflow further out
            grid = grid.clamp(-(2.0**20), 2.0**20)  # where nothing changes any more
        sampled = _filled(spec, image, grid, fill)
        outside = 0 if fill is None else fill.reshape(1, -1, *[1] * spec.ndim)
        return sampled.where(finite[:, None], outside)

    def _warp(self, spec: Spec, image: Tensor, pixels: Tensor, fill: Tensor | None) -> Tensor:
        source = image.shape[2:]
        if spec.padding_mode not in FILLING:
            pixels = pixels.where(pixels.isfinite(), torch.nan)  # infinities would move inside
            axes = zip(pixels.unbind(-1), reversed(source), strict=True)
            moved = [move_inside(x, n, spec.padding_mode, spec.align_corners) for x, n in axes]
            pixels = torch.stack(moved, -1)
        padded = [1 << (n - 1).bit_length() for n in source]
        scale = 2 / torch.tensor(padded[::-1], dtype=pixels.dtype, device=pixels.device)
        grid = torch.addcmul(scale / 2 - 1, pixels, scale)
        exact = spec.changed(padding_mode="zeros", align_corners=False)
        return _filled(exact, image, _far_if_not_near(grid), fill, padded)


def _far_if_not_near(grid: Tensor) -> Tensor:
    """Move coordinates that overflow or are not finite to where no kernel reaches the image."""
    return grid.where(grid.abs() < _FAR, _FAR)


def _filled(
    spec: Spec,
    image: Tensor,
    grid: Tensor,
    fill: Tensor | None,
    padded: Sequence[int] | None = None,
) -> Tensor:
    """Sample with zeros outside, in an image `padded` with zeros, and add the fill there."""
    work = torch.promote_types(image.dtype, grid.dtype)
    source, grid = image.to(work), grid.to(work)
    if fill is not None:  # the share of each sample that the image covers, as one more channel
        source = torch.cat((source, torch.ones_like(source[:, :1])), 1)
    if padded is not None:
        missing = [p - n for p, n in zip(padded, image.shape[2:], strict=True)]
        source = F.pad(source, [n for m in reversed(missing) for n in (0, m)])
    sampled = _of_each(spec, source, grid)
    if fill is not None:
        outside = fill.to(work).reshape(1, -1, *[1] * spec.ndim)
        sampled = sampled[:, :-1] + filled_share(outside, 1 - sampled[:, -1:])
    return sampled.to(image.dtype)


def _of_each(spec: Spec, image: Tensor, grid: Tensor) -> Tensor:
    """Sample images, each of which may serve several grids."""
    batch, images = joint_batch(image, grid), image.shape[0]
    if images == 1 or images == batch:
        image, grid = (t.expand(batch, *t.shape[1:]) for t in (image, grid))
        return _grid_sample(spec, image, grid)
    # the grids of an image are one that has as many times the rows
    sampled = _grid_sample(spec, image, grid.reshape(images, -1, *grid.shape[2:]))
    return torch.unflatten(sampled, 2, (-1, grid.shape[1])).movedim(2, 1).flatten(0, 1)


def _grid_sample(spec: Spec, image: Tensor, grid: Tensor) -> Tensor:
    options = _MODES[spec.mode], _PADDINGS[spec.padding_mode], spec.align_corners
    if spec.context == "export":  # converters know it by this name
        return torch.grid_sampler(image, grid, *options)
    dimensional = f"grid_sampler_{spec.ndim}d"
    forward = getattr(torch.ops.aten, dimensional)
    backward = getattr(torch.ops.aten, f"{dimensional}_backward")
    if spec.context != "eager":  # a tracer differentiates the operation itself
        return forward(image, grid, *options)

    def reference(image: Tensor, grid: Tensor) -> Tensor:
        pixels = Given(grid, spec.align_corners).pixels(image.shape[2:])
        return sample_pixels(spec, image, pixels, None, spec.kernel.phi)

    operator = Operator(
        forward=lambda image, grid: forward(image, grid, *options),
        backward=lambda grad, needed, image, grid: backward(grad, image, grid, *options, needed),
        reference=reference,
    )
    return run(operator, image, grid)
