"""Compiled by PyTorch, the fused operation does as in eager; oracles: `opcheck`, eager."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from spatial_transformers import (
    KERNELS,
    Affine,
    Projective,
    Structured,
    ThinPlateSpline,
    sample,
    warp,
)
from tracing import compile_and_compare

from .paths import CONSTANT, CPU, MAPS, SIZED, WAVES, needs_library

pytestmark = [pytest.mark.traced, needs_library]

PATHS = {p.name: p for p in (*SIZED, *MAPS)}
CHECKED = (
    "cells", "cells, 3-D", "blocks of 19", "3 last", "19 last", "blocks, one θ",
    "no blocks, one image", "cells, a grid", "projective, 3-D", "spline", "learned",
    "functions alone", "wide, 3 channels last", "wide, 19 channels",
    "widened, kept axes", "widened, perspective",
)  # fmt: skip
KINDS = "image", "where", "functions", "fill", "stretch"  # of the operation's tensors


def operations(path, monkeypatch):
    """Return the arguments that eager code hands to the backend, as those of the operation."""
    seen = []

    def forward(plan, *tensors):
        seen.append((*tensors, *plan))
        return type(CPU).forward(CPU, plan, *tensors)

    monkeypatch.setattr(CPU, "forward", forward)
    path.run(path.inputs(torch.float64))
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("name", CHECKED)
def test_opcheck(name, monkeypatch):
    path = PATHS[name]
    size = tuple(min(n, 20) for n in path.image[2:])
    small = replace(path, image=(*path.image[:2], *size))
    ((*tensors, target, mode, padding, corners, form, phi, max_shrink),) = operations(
        small, monkeypatch
    )
    leaves = [
        None if t is None else t.detach().clone().requires_grad_(wanted in path.wanted)
        for t, wanted in zip(tensors, KINDS, strict=True)
    ]
    arguments = (*leaves, list(target), mode, padding, corners, form, list(phi), max_shrink)
    torch.library.opcheck(torch.ops.spatial_transformers.fused.default, arguments)


def warping(make, **options):
    transformation = make()

    def call(image, theta):
        # written here, the number is a constant of the graph, not an input of it
        fill = {"fill_value": 0.7} if options.get("padding_mode") == "constant" else {}
        return warp(image, theta, transformation, backend="cpu", **options, **fill)

    return call


def cases(make, *, batches=(4, 5), sizes=((17, 23), (29, 14)), channels=3, last=False):
    """Draw image and θ for two sizes; one compilation serves both."""
    transformation = make()
    for n, size in zip(batches, sizes, strict=True):
        image = torch.randn(n, channels, *size, dtype=torch.float64)
        if last:
            image = image.to(memory_format=torch.channels_last)
        theta = (
            transformation.identity().double()
            + torch.randn(n, transformation.num_parameters, dtype=torch.float64) * 0.1
        )
        yield image, theta


@pytest.mark.parametrize(
    ("make", "options", "drawn"),
    [
        (Affine, {}, {}),
        (Affine, CONSTANT, {"channels": 19}),
        (Affine, {"mode": "bicubic", "padding_mode": "reflection"}, {"channels": 8, "last": True}),
        (partial(Affine, 3), {}, {"sizes": ((7, 10, 13), (12, 9, 8))}),
        (Projective, {"align_corners": True}, {}),
        (ThinPlateSpline, {"padding_mode": "wrap"}, {}),
        (partial(Structured, WAVES), {}, {}),
        (Affine, {"mode": "bspline3"}, {}),
        (Affine, {"mode": KERNELS["mitchell"].with_phi((0.0, 0.5))}, {"last": True}),
    ],
    ids=[
        *("affine", "blocks", "channels-last", "3-D", "projective", "spline", "structured"),
        *("prefilter", "Φ"),
    ],
)
def test_compiles(make, options, drawn):
    compile_and_compare(warping(make, **options), list(cases(make, **drawn)))


def test_grids_compile():
    pairs = [(u, Affine().grid(t, (6, 11))) for u, t in cases(Affine)]
    compile_and_compare(lambda u, g: sample(u, g, backend="cpu"), pairs)


def test_learned_functions_and_a_fill_compile():
    transformation = Structured(WAVES, learned=True).double()

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.transformation = transformation

        def forward(self, image, theta, fill):
            options = {"fill_value": fill, "backend": "cpu", **CONSTANT}
            return warp(image, theta, self.transformation, **options)

    drawn = [(*c, torch.randn(3).double()) for c in cases(lambda: transformation)]
    compile_and_compare(Module(), drawn)


def test_compiles_by_inductor():
    compile_and_compare(warping(Affine), list(cases(Affine)), backend="inductor")
