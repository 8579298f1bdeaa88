"""Calls for every path that the compiled code chooses by size, layout and gradients.

`stn verify` draws tiny images of two channels. Here images are large enough to be cut into strips,
and channels enough to be transposed in blocks or to lie side by side. `choose.cpp` has the rules.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from spatial_transformers import (
    Affine,
    Attention,
    Compose,
    Projective,
    Rigid,
    Similarity,
    Structured,
    ThinPlateSpline,
    Transformation,
    sample,
    warp,
)
from spatial_transformers.sampler.backends import BACKENDS
from spatial_transformers.sampler.backends.cpu.backend import Cpu

CPU = next(b for b in BACKENDS if isinstance(b, Cpu))
needs_library = pytest.mark.skipif(bool(CPU.missing), reason=CPU.missing or "there is a library")

STRIP, STRIP_3D = (220, 210), (40, 33, 36)  # cut into two strips or more
WIDENED = {"antialias": True}
WINDOWS = (90, 150)  # cut into two side by side, in two rows
WAVES = torch.linspace(-0.4, 0.4, 2 * 4 * 6).sin().reshape(2, 4, 6)
WAVES_3D = torch.linspace(-0.4, 0.4, 2 * 3 * 4 * 5).cos().reshape(2, 3, 4, 5)


@dataclass(frozen=True)
class Path:
    """One call of `warp`, or of `sample` where there is no transformation."""

    name: str
    image: tuple[int, ...]  # (N, C, *source)
    make: Callable[[], Transformation] | None = Affine
    size: tuple[int, ...] | None = None  # of the target; the source's own if None
    thetas: int | None = None  # or grids; as many as images if None
    spread: float = 0.2  # of θ about the identity, or of a grid's points about theirs
    last: bool = False  # channels last
    options: dict[str, Any] = field(default_factory=dict)
    wanted: Sequence[str] = ("image", "where", "fill", "functions")  # that take gradients

    def inputs(self, dtype: torch.dtype, where: torch.dtype | None = None) -> dict[str, Tensor]:
        """Draw the tensors, the same ones every time, in a dtype and that of θ or the grid."""
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        where = where or torch.promote_types(dtype, torch.float32)
        ndim, size = len(self.image) - 2, self.size or self.image[2:]
        image = draw(self.image).to(dtype)
        if self.last:
            image = image.to(memory_format=(torch.channels_last, torch.channels_last_3d)[ndim - 2])
        count = self.image[0] if self.thetas is None else self.thetas
        transformation = Affine(ndim) if self.make is None else self.make()
        theta = transformation.identity().double() + draw(count, transformation.num_parameters) * (
            self.spread
        )
        if self.make is None:
            theta = transformation.grid(theta, size)
        found = {"image": image, "where": theta.to(where)}
        if self.options.get("padding_mode") == "constant":
            found["fill"] = draw(self.image[1]).to(dtype)
        if isinstance(transformation, Structured) and transformation.learned:
            found["functions"] = transformation.functions.detach().to(where)
        return found

    def run(self, inputs: dict[str, Tensor], backend: str | None = "cpu") -> Tensor:
        """Return V."""
        options = {**self.options, "fill_value": inputs.get("fill"), "backend": backend}
        if self.make is None:
            return sample(inputs["image"], inputs["where"], **options)
        transformation = self.make()
        if "functions" in inputs:
            del transformation.functions
            transformation.functions = inputs["functions"]
        return warp(inputs["image"], inputs["where"], transformation, size=self.size, **options)

    def outcome(self, inputs: dict[str, Tensor], backend: str | None = "cpu") -> dict[str, Tensor]:
        """Return the values, and the gradients for one cotangent."""
        leaves = {
            name: t.detach().requires_grad_() if name in self.wanted else t.detach()
            for name, t in inputs.items()
        }
        output = self.run(leaves, backend)
        wanted = {name: t for name, t in leaves.items() if t.requires_grad}
        generator = torch.Generator().manual_seed(1)
        cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        grads = torch.autograd.grad(output, [*wanted.values()], cotangent.to(output))
        return {"values": output.detach(), **dict(zip(wanted, grads, strict=True))}


CONSTANT = {"padding_mode": "constant"}
BORDER = {"padding_mode": "border"}
WRAP = {"padding_mode": "wrap"}


def wide(mode: str, padding_mode: str = "constant") -> dict[str, Any]:
    """Return the options of a kernel of three taps or more."""
    return {"mode": mode, "padding_mode": padding_mode}


#: Kernels of three taps and more: by channels, taps, dimensions, and how `wide_job` cuts.
WIDE = (
    Path("wide, a channel of 3 taps", (2, 1, 40, 30), options=wide("bspline2")),
    Path("wide, a channel of 6 taps", (2, 1, 40, 30), options=wide("lanczos3")),
    Path("wide, a channel of 10 taps", (2, 1, 40, 30), options=wide("lanczos5", "zeros")),
    Path("wide, 3 channels of 4 taps", (2, 3, 40, 30), options=wide("mitchell")),
    Path("wide, 4 channels of 7 taps", (2, 4, 40, 30), options=wide("bspline6")),
    Path("wide, 6 channels of 10 taps", (2, 6, 40, 30), options=wide("lanczos5")),
    Path("wide, 19 channels", (2, 19, 21, 19), options=wide("lanczos3")),
    Path("widened, kept axes", (2, 3, 50, 40), Attention, (20, 17), options=WIDENED),
    Path("widened, one kept image", (1, 1, 50, 40), Attention, (20, 17), 3, options=WIDENED),
    Path("widened, strips", (1, 2, 90, 80), size=(30, 28), options=WIDENED),
    Path("widened, one θ", (3, 3, 40, 30), size=(17, 15), thetas=1, options=WIDENED),
    Path("widened, perspective", (2, 3, 40, 30), Projective, (17, 15), options=WIDENED),
    Path("wide, 3 channels last", (2, 3, 40, 30), last=True, options=wide("bspline3")),
    Path("wide, 19 channels last", (2, 19, 21, 19), last=True, options=wide("bspline3")),
    Path("wide, strips", (1, 2, *STRIP), options=wide("bicubic")),
    Path("wide, strips, wrap", (1, 1, *STRIP), spread=0.6, options=wide("bspline3", "wrap")),
    Path("wide, strips, reflection", (1, 1, *STRIP), options=wide("lanczos2", "reflection")),
    Path("wide, strips, border", (1, 1, *STRIP), options=wide("bspline5", "border")),
    Path("wide, strips, 3-D", (1, 2, *STRIP_3D), partial(Affine, 3), options=wide("bicubic")),
    Path("wide, 3-D", (2, 3, 9, 11, 10), partial(Affine, 3), options=wide("lanczos2")),
    Path("wide, 3-D, many channels", (1, 9, 8, 7, 9), partial(Affine, 3), options=wide("mitchell")),
    Path("wide, 3-D, a channel", (2, 1, 9, 8, 7), partial(Affine, 3), options=wide("bspline3")),
    Path("wide, one image", (1, 3, *STRIP), thetas=3, options=wide("lanczos2")),
    Path("wide, one θ", (3, 3, 40, 30), thetas=1, options=wide("lanczos2")),
    Path("wide, one grid", (3, 3, 40, 30), None, thetas=1, options=wide("gaussian")),
    Path("wide, far outside", (2, 3, 40, 30), None, spread=3.0, options=wide("mitchell", "border")),
    Path("wide, folded often", (2, 2, 5, 4), None, spread=3.0, options=wide("gaussian", "wrap")),
    Path("wide, mirrored", (2, 2, 25, 14), None, spread=3.0, options=wide("bicubic", "reflection")),
    Path("wide, image alone", (2, 3, 40, 30), options=wide("bspline3"), wanted=("image",)),
    Path("wide, θ alone", (2, 3, 40, 30), options=wide("bspline3"), wanted=("where",)),
    Path("wide, fill alone", (2, 3, 40, 30), options=wide("bspline3"), wanted=("fill",)),
    Path("wide, several waves", (9, 3, 220, 210), size=(70, 80), options=wide("lanczos2")),
    Path("wide, few points", (2, 3, *STRIP), size=(9, 13), options=wide("bspline3")),
    Path(
        "wide, few points, border", (2, 1, *STRIP), size=(9, 13), options=wide("gaussian", "border")
    ),
    Path(
        "wide, few points, 3-D",
        (1, 9, 30, 29, 28),
        partial(Affine, 3),
        (6, 5, 7),
        options=wide("lanczos2"),
    ),
)

#: A path per rule of `has_blocks`, `has_windows`, `has_cells`, `has_margins` and how they cut.
SIZED = (
    Path("strips", (1, 2, *STRIP), options=CONSTANT),
    Path("strips of a small target", (1, 2, *STRIP), size=(60, 71), options=CONSTANT),
    Path("strips, wrap", (2, 1, *STRIP), options=WRAP),
    Path("strips, image alone", (1, 1, *STRIP), wanted=("image",)),
    Path("strips, θ alone", (1, 1, *STRIP), wanted=("where",)),
    Path("strips, one image", (1, 1, *STRIP), thetas=3, options=CONSTANT),
    Path("strips, one θ", (3, 1, *STRIP), thetas=1, options=CONSTANT),
    Path("strips, one grid", (3, 1, *STRIP), None, thetas=1, options=CONSTANT),
    Path("strips, many channels", (1, 9, 300, 211), options=CONSTANT),
    Path("strips of rows", (1, 1, 3, 30000), size=(3, 30000)),
    Path("strips, channels last", (1, 8, *STRIP), last=True, options=CONSTANT),
    Path("strips, 4 channels last", (1, 4, *STRIP), last=True, options=CONSTANT),
    Path("strips, 3 channels last", (1, 3, *STRIP), last=True, options=CONSTANT),
    Path("strips, 3-D", (1, 2, *STRIP_3D), partial(Affine, 3), options=CONSTANT),
    Path("strips, 3-D, wrap", (1, 1, *STRIP_3D), partial(Affine, 3), options=WRAP),
    Path("strips, 3-D, last", (1, 8, *STRIP_3D), partial(Affine, 3), last=True, size=(9, 40, 30)),
    Path("no strips of four images", (4, 1, *STRIP), options=CONSTANT),
    Path("no cells, as they would be large", (4, 1, 600, 500), size=(300, 260), options=CONSTANT),
    Path("margins", (5, 1, 40, 30)),
    Path("margins, a constant", (2, 4, 40, 30), options=CONSTANT, wanted=("image", "where")),
    Path("margins, θ alone", (2, 3, 40, 30), options=CONSTANT, wanted=("where",)),
    Path("margins, a grid far outside", (2, 3, 40, 30), None, spread=3.0),
    Path("margins, projective", (2, 3, 40, 30), Projective, spread=0.7),
    Path("margins, 3-D", (2, 3, 9, 11, 10), partial(Affine, 3), spread=0.5),
    Path("cells", (2, 3, 40, 30), options=CONSTANT),
    Path("cells, a few channels at once", (2, 7, 40, 30), options=CONSTANT),
    Path("cells, 3-D", (2, 3, 9, 11, 10), partial(Affine, 3), options=CONSTANT),
    Path("cells, a grid", (2, 3, 40, 30), None, options=CONSTANT),
    Path("no cells, small target", (2, 3, 40, 30), size=(9, 13), options=CONSTANT),
    Path("no cells, wrap", (2, 3, 40, 30), options=WRAP),
    Path("windows of one channel", (2, 1, *WINDOWS), options=CONSTANT),
    Path("windows of 3 channels", (2, 3, *WINDOWS), spread=0.05, options=CONSTANT),
    Path("windows of 9 channels", (2, 9, *WINDOWS), spread=0.05, options=CONSTANT),
    *(
        Path(f"windows, {padding}", (2, 3, *WINDOWS), options={"padding_mode": padding})
        for padding in ("border", "reflection", "renormalise")
    ),
    Path("windows, far apart", (2, 3, *WINDOWS), spread=2.0, options=CONSTANT),
    Path("windows, border far apart", (2, 3, *WINDOWS), spread=2.0, options=BORDER),
    Path("windows, a grid far outside", (2, 3, *WINDOWS), None, spread=3.0),
    Path("windows, projective", (2, 3, *WINDOWS), Projective, spread=0.7),
    Path("windows, one image", (1, 3, *WINDOWS), thetas=3, options=CONSTANT),
    Path("windows, runs of rows", (2, 3, 150, 40), options=CONSTANT),
    Path("windows, small source", (2, 3, 11, 9), size=WINDOWS, options=CONSTANT),
    Path("windows, large source", (2, 3, *STRIP), size=(20, 130), options=CONSTANT),
    *(Path(f"few channels, {c}", (4, c, 21, 19), options=CONSTANT) for c in (2, 3, 4, 5, 7)),
    Path("few channels, wrap", (4, 3, 21, 19), options=WRAP),
    Path("few channels, image alone", (4, 3, 21, 19), wanted=("image",)),
    Path("few channels, a grid", (4, 3, 21, 19), None, options=CONSTANT),
    Path("few channels, 3-D", (4, 3, 8, 7, 9), partial(Affine, 3), options=CONSTANT),
    *(Path(f"blocks of {c}", (2, c, 21, 19), options=CONSTANT) for c in (8, 16, 19, 24)),
    Path("blocks of 16 of one place", (2, 16, 32, 32), options=CONSTANT),
    Path("blocks of 64, wrap", (2, 64, 12, 13), options=WRAP),
    Path("blocks, bicubic", (2, 19, 21, 19), options={"mode": "bicubic"}),
    Path("blocks, image alone", (2, 19, 21, 19), options=CONSTANT, wanted=("image",)),
    Path("blocks, θ alone", (2, 19, 21, 19), options=CONSTANT, wanted=("where",)),
    Path("blocks, fill alone", (2, 19, 21, 19), options=CONSTANT, wanted=("fill",)),
    Path("blocks, image and fill", (2, 19, 21, 19), options=CONSTANT, wanted=("image", "fill")),
    Path("blocks, one θ", (3, 19, 21, 19), thetas=1, options=CONSTANT),
    Path("blocks, a grid", (2, 19, 21, 19), None, options=CONSTANT),
    Path("blocks, one grid", (3, 19, 21, 19), None, thetas=1, options=CONSTANT),
    Path("blocks, several groups", (1, 8, 80, 70), options=CONSTANT),
    Path("blocks, 3-D", (2, 9, 8, 7, 9), partial(Affine, 3), options=CONSTANT),
    Path("blocks, projective", (2, 9, 21, 19), Projective, spread=0.7, options=CONSTANT),
    Path("no blocks, one image", (1, 19, 21, 19), thetas=3, options=CONSTANT),
    Path("no blocks, small target", (2, 19, 41, 39), size=(5, 6), options=CONSTANT),
    *(Path(f"{c} last", (2, c, 21, 19), last=True, options=CONSTANT) for c in (3, 4, 8, 19, 64)),
    Path("last, one image", (1, 19, 21, 19), last=True, thetas=3, options=CONSTANT),
    Path("last, one θ", (3, 19, 21, 19), last=True, thetas=1, options=CONSTANT),
    Path("last, a grid", (2, 19, 21, 19), None, last=True, options=CONSTANT),
    *WIDE,
)

#: Every kind of map: M_θ B of any rows, with learned functions, and maps that come as points.
MAPS = (
    Path("attention", (2, 2, *STRIP), Attention, options=CONSTANT),
    Path("rigid", (2, 2, 30, 31), Rigid),
    Path("similarity, 3-D", (2, 2, 9, 8, 10), partial(Similarity, 3)),
    Path("projective", (2, 2, *STRIP), Projective, spread=0.7, options=CONSTANT),
    Path("projective, 3-D", (2, 2, 14, 15, 16), partial(Projective, 3), spread=0.6),
    Path("spline", (2, 2, *STRIP), ThinPlateSpline, spread=0.1, options=CONSTANT),
    Path("spline, blocks", (2, 9, 21, 19), ThinPlateSpline, spread=0.1, options=CONSTANT),
    Path("spline, 3-D", (2, 2, 9, 8, 10), partial(ThinPlateSpline, 3, ndim=3), spread=0.1),
    *(
        Path(f"learned{name}", image, partial(Structured, waves, learned=True, **more), **rest)
        for name, image, waves, more, rest in (
            ("", (3, 2, 40, 30), WAVES, {}, {"options": CONSTANT}),
            (", strips", (1, 2, *STRIP), WAVES, {}, {}),
            (", blocks", (3, 9, 21, 19), WAVES, {}, {"options": CONSTANT}),
            (", one θ", (3, 2, 21, 19), WAVES, {}, {"thetas": 1}),
            (", perspective", (2, 2, 40, 30), WAVES, {"perspective": True}, {}),
            (", 3-D", (2, 2, 9, 8, 10), WAVES_3D, {}, {"options": CONSTANT}),
        )
    ),
    Path(
        "functions alone",
        (2, 9, 21, 19),
        partial(Structured, WAVES, learned=True),
        wanted=("functions",),
    ),
    Path("composed", (2, 2, 40, 30), lambda: Compose(Affine(), ThinPlateSpline()), spread=0.1),
)


@contextmanager
def threads(count: int):
    """Let PyTorch have so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def named(paths: Sequence[Path]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each path."""
    return pytest.mark.parametrize("path", paths, ids=[p.name for p in paths])
