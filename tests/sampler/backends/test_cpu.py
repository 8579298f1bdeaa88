"""The compiled code is right on every path that sizes and layouts choose; oracle: the reference."""

from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import KERNELS, Affine, Kernel, explain, sample, warp
from spatial_transformers.sampler.padding import PADDING_MODES

from .paths import (
    CONSTANT,
    CPU,
    MAPS,
    SIZED,
    STRIP,
    STRIP_3D,
    WIDE,
    WINDOWS,
    Path,
    named,
    needs_library,
)

pytestmark = needs_library

EXACT = 1e-12  # relative to the largest: sums of up to 50 000 terms round in another order


def compare(path, inputs, tolerance, due_inputs=None):
    """Compare values and gradients with the reference, relative to the largest of each."""
    found = path.outcome(inputs)
    due = path.outcome(inputs if due_inputs is None else due_inputs, "reference")
    for name, right in due.items():
        scale = max(1.0, right.double().abs().max().item())
        off = (found[name].double() - right.double()).abs().max().item() / scale
        assert found[name].shape == right.shape
        assert off <= tolerance, f"{name} is off by {off:.1e}"  # NaN is off
    return found


@named((*SIZED, *MAPS))
def test_float64(path):
    found = compare(path, path.inputs(torch.float64), EXACT)
    assert all(t.any() for t in found.values())


@pytest.mark.parametrize(
    ("mode", "padding_mode", "source"),
    [
        *product(("nearest", "bilinear", "bicubic"), PADDING_MODES, [STRIP]),
        *product(("nearest", "bilinear"), PADDING_MODES, [STRIP_3D]),
        ("bicubic", "zeros", (20, 30, 40)),
        ("bicubic", "reflection", (20, 30, 40)),
    ],
)
def test_every_kernel_and_padding_in_strips(mode, padding_mode, source):
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": len(mode) == 7}
    affine, target = partial(Affine, len(source)), tuple(n // 2 for n in source)
    path = Path("", (1, 1, *source), affine, size=target, options=options)
    compare(path, path.inputs(torch.float64), EXACT)


@named(SIZED)
def test_float32(path):
    compare(path, path.inputs(torch.float32), CPU.tolerance[torch.float32])


HALVES = [p for p in SIZED if p.name in ("strips", "cells", "blocks of 19", "19 last")]


@named(HALVES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_float32(path, dtype):
    """Only the results are rounded: once, to within half a unit in the last place."""
    inputs = path.inputs(dtype)
    due = {name: t.float() for name, t in inputs.items()}
    found = compare(path, inputs, torch.finfo(dtype).eps, due)
    assert found["where"].dtype == torch.float32
    assert {found[name].dtype for name in ("values", "image", "fill")} == {dtype}


@named(HALVES)
@pytest.mark.parametrize(
    ("image", "where"), [(torch.float32, torch.float64), (torch.float64, torch.float32)]
)
def test_mixed_dtypes(path, image, where):
    found = compare(path, path.inputs(image, where), torch.finfo(torch.float32).eps)
    assert (found["image"].dtype, found["where"].dtype) == (image, where)


@named([p for p in SIZED if p.name in ("strips", "blocks of 19")])
def test_second_derivatives(path):
    small = replace(path, size=(40, 50))  # the reference keeps many tensors
    inputs = small.inputs(torch.float64)

    def second(backend):
        leaves = {name: t.detach().requires_grad_() for name, t in inputs.items()}
        output = small.run(leaves, backend)
        first = torch.autograd.grad(output.sin().sum(), [*leaves.values()], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), [*leaves.values()])

    for found, due in zip(second("cpu"), second("reference"), strict=True):
        assert_close(found, due, rtol=0, atol=EXACT * due.abs().max().item())
        assert due.any()


@pytest.mark.parametrize("mode", KERNELS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_kernel_that_has_a_name_runs_here(mode, ndim):
    image, grid = torch.rand(1, 2, *[6] * ndim), torch.zeros(1, *[2] * ndim, ndim)
    assert explain(image, grid, mode=mode).splitlines()[0].endswith(": cpu")


PHIS = [("bicubic", -0.5), ("mitchell", (0.0, 0.5)), ("mitchell", (1.0, 0.0)), ("gaussian", 0.9)]


@pytest.mark.parametrize(("mode", "phi"), PHIS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_given_as_numbers(mode, phi, dtype):
    kernel = KERNELS[mode].with_phi(phi)
    path = Path("", (2, 3, 20, 30), options={"mode": kernel})
    inputs = path.inputs(dtype)
    assert explain(*inputs.values(), Affine(), mode=kernel).splitlines()[0].endswith(": cpu")
    found = compare(path, inputs, CPU.tolerance[dtype])
    plain = replace(path, options={"mode": mode}).outcome(inputs)
    assert not torch.equal(found["values"], plain["values"])


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (KERNELS["gaussian"].with_phi(0.1), "gaussian narrower than"),
        (KERNELS["gaussian"].with_phi(torch.tensor([0.7])), "as numbers only"),
        (Kernel(KERNELS["mitchell"].weight, 2, phi=(0.0, 0.5), name="own"), "that have a name"),
    ],
)
def test_what_the_reference_keeps(kernel, reason):
    image, grid = torch.rand(1, 2, 6, 6), torch.zeros(1, 2, 2, 2)
    lines = explain(image, grid, mode=kernel).splitlines()
    assert lines[0].endswith(": reference")
    assert reason in lines[1]


@named([p for p in WIDE if not p.last and len(p.image) == 4])
def test_channels_last_is_planes_to_the_bit(path):
    inputs = path.inputs(torch.float32)
    last = {**inputs, "image": inputs["image"].contiguous(memory_format=torch.channels_last)}
    assert_identical(path.outcome(last), path.outcome(inputs))


LAYOUTS = [
    Path("planes", (2, 3, 40, 30)),
    Path("strips", (1, 1, *STRIP)),
    Path("windows", (2, 3, *WINDOWS)),
    Path("few channels", (4, 3, 21, 19)),
    Path("blocks", (2, 19, 21, 19)),
    Path("last", (2, 19, 21, 19), last=True),
]


@named(LAYOUTS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("fill", [None, 0.5])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_pixels_that_are_not_finite_stay_where_they_are(path, mode, fill, number):
    """Taps outside read no border pixel; oracle: `grid_sample`, in values and gradients."""
    grid_path = replace(path, make=None, spread=1.0)
    inputs = grid_path.inputs(torch.float64)
    inputs["image"][..., 0, :] = inputs["image"][..., -1] = number
    inputs = {name: t.requires_grad_() for name, t in inputs.items()}
    padding = {} if fill is None else {"padding_mode": "constant", "fill_value": fill}
    found = sample(*inputs.values(), mode=mode, backend="cpu", **padding)
    shifted = inputs["image"] - (fill or 0)
    due = F.grid_sample(shifted, inputs["where"], mode=mode, align_corners=False) + (fill or 0)
    assert not due.isfinite().all()
    assert due.isfinite().any()
    assert_close(found, due, equal_nan=True)
    cotangent = torch.randn_like(due)
    grads = [torch.autograd.grad(v, [*inputs.values()], cotangent) for v in (found, due)]
    assert_close(*grads, equal_nan=True)


@named(LAYOUTS)
@pytest.mark.parametrize("given", [False, True], ids=["θ", "grid"])
def test_strides_do_not_matter(path, given):
    path = replace(path, make=None if given else path.make)
    inputs = path.inputs(torch.float64)
    due = path.outcome(inputs)
    for stretch in (
        lambda t: t.repeat_interleave(2, -1)[..., ::2],
        lambda t: t.mT.contiguous().mT if t.ndim > 2 else t.t().contiguous().t(),
        lambda t: torch.cat((t, t), 1)[:, : t.shape[1]],
        lambda t: t.flip(-1).clone().flip(-1),
    ):
        strided = {name: stretch(t) for name, t in inputs.items()}
        # a copy in another layout is summed in another order
        assert_close(path.outcome(strided), due, rtol=0, atol=1e-11)


@named(LAYOUTS)
def test_expanded_tensors(path):
    image, theta = path.inputs(torch.float64).values()
    several = [image[:1].expand(3, *image.shape[1:]), theta[:1].expand(3, -1)]
    inputs = {"image": several[0], "where": several[1]}
    compare(path, inputs, EXACT)
    found = warp(*several, Affine(), backend="cpu")
    output = torch.ones((), dtype=torch.float64).expand_as(found)
    leaves = [t.detach().requires_grad_() for t in several]
    again = warp(*leaves, Affine(), backend="cpu")
    dense = torch.autograd.grad(again, leaves, output.contiguous(), retain_graph=True)
    assert_close(torch.autograd.grad(again, leaves, output), dense, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (2, 0, 5, 6), (0, 0, 5, 6), (1, 8, 1, 1)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("given", [False, True], ids=["θ", "grid"])
def test_nothing_and_one_pixel(shape, last, given):
    make = None if given else Affine
    path = Path("", shape, make, size=(4, 3), last=last, options=CONSTANT)
    inputs = path.inputs(torch.float64)
    found, due = path.outcome(inputs), path.outcome(inputs, "reference")
    assert_close(found, due)
    assert found["values"].shape[:2] == shape[:2]


@pytest.mark.parametrize("size", [(2, 5_000_000), (5_000_000, 2), (3, 2_796_203)])
def test_long_rows(size):
    """The identity gives every pixel, also where a tile reaches over ends of rows."""
    image = torch.arange(size[0] * size[1], dtype=torch.float64).float().reshape(1, 1, *size)
    found = warp(image, Affine().identity()[None], Affine(), mode="nearest", backend="cpu")
    assert torch.equal(found, image)
