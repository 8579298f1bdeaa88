"""The Triton kernels compute what the reference does; oracle: the reference, or torch's own sums.

`test_triton.py` runs this file in a process of its own: Triton decides once per process whether it
interprets. By hand: `TRITON_INTERPRET=1 pytest tests/sampler/backends/interpreted_triton.py`.
"""

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
import torch
import triton
import triton.language as tl

from spatial_transformers import Affine, Projective, Structured, ThinPlateSpline
from spatial_transformers.sampler.backends.fused import Plan
from spatial_transformers.sampler.backends.reference import Reference
from spatial_transformers.sampler.backends.triton import launch
from spatial_transformers.sampler.backends.triton.backend import Triton
from spatial_transformers.sampler.backends.triton.points import elements, flatten, volume
from spatial_transformers.sampler.backends.triton.taps import remainder
from spatial_transformers.sampler.dispatch import Spec
from spatial_transformers.sampler.options import Options
from spatial_transformers.sampler.padding import FILLING, PADDING_MODES
from spatial_transformers.sampler.target import Given, Mapped
from spatial_transformers.sampler.verify import Situation, cases, check

from .interpreter import patch_once

patch_once()
pytestmark = pytest.mark.filterwarnings(  # by numpy, of numbers that are meant to overflow
    r"ignore:(overflow|invalid|divide):RuntimeWarning:triton\.runtime\.interpreter"
)
MODES = ("nearest", "bilinear", "bicubic")
BACKEND = Triton()


KEYS = ("mode", "padding_mode", "ndim")
FIELDS = {"operation": 2, "dtype": 4, "align_corners": 2}


def _pairs(case):
    """Return which options meet in a case."""
    spec, situation = case.spec, ("situation", case.situation)
    keys = [(key, getattr(spec, key)) for key in KEYS]
    fields = [(field, getattr(spec, field)) for field in FIELDS]
    return set(product(keys, [*fields, situation])) | set(product(fields, [situation]))


def _covering():
    """Take a case of every mode, padding and dimension: each the one where most is new."""
    groups, chosen, seen = {}, [], set()
    for case in cases(BACKEND):
        groups.setdefault(tuple(getattr(case.spec, key) for key in KEYS), []).append(case)
    for group in groups.values():
        chosen.append(max(group, key=lambda case: len(_pairs(case) - seen)))
        seen |= _pairs(chosen[-1])
    return chosen


def _chosen(config):
    return list(cases(BACKEND)) if config.getoption("--all") else _covering()


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", _chosen(metafunc.config), ids=str)


def test_agrees_with_the_reference(case):
    assert check(BACKEND, case) == []


def test_the_covering_cases_cover():
    chosen = _covering()
    assert len(chosen) == len(MODES) * len(PADDING_MODES) * 2
    for key, (field, options) in product(KEYS, FIELDS.items()):
        found = {(getattr(c.spec, key), getattr(c.spec, field)) for c in chosen}
        assert len(found) == len({getattr(c.spec, key) for c in chosen}) * options, (key, field)
    assert {c.situation for c in chosen} == set(get_args(Situation))


def _spec(ndim=2, mode="bilinear", padding="zeros", dtype=torch.float64, operation="warp"):
    return Spec(operation, ndim, dtype, "cpu", "eager", False, Options(mode, padding))


def _results(backend, spec, image, theta, transformation, size, fill):
    leaves = [t.detach().requires_grad_() for t in (image, theta)]
    fill = None if fill is None else fill.detach().requires_grad_()
    for parameter in transformation.parameters():
        parameter.grad = None
    target = Mapped(leaves[1], transformation, size, spec.align_corners)
    output = backend.run(spec, leaves[0], target, fill, spec.kernel.phi)
    cotangent = torch.linspace(-1, 2, output.numel()).to(output).reshape(output.shape)
    output.backward(cotangent)
    found = [output.detach(), *(t.grad for t in leaves)]
    found += [p.grad for p in transformation.parameters()]
    return found if fill is None else [*found, fill.grad]


def _agree(spec, image, theta, transformation, size, tolerance=1e-9):
    fill = torch.randn(image.shape[1]).to(image) if spec.padding_mode == "constant" else None
    found = _results(BACKEND, spec, image, theta, transformation, size, fill)
    due = _results(Reference(), spec, image, theta, transformation, size, fill)
    for a, b in zip(found, due, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())
    return found


def _image(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype)


def _near(transformation, batch, dtype=torch.float64, scale=0.1):
    theta = transformation.identity().to(dtype)
    return theta + scale * torch.randn(batch, transformation.num_parameters, dtype=dtype)


def _structured(ndim, **options):
    return Structured(torch.randn(3, *(2, 4, 3)[-ndim:]) / 4, learned=True, **options).double()


FORMS = {
    "projective": lambda: Projective(),
    "projective-3d": lambda: Projective(ndim=3),
    "thin-plate": lambda: ThinPlateSpline((3, 3)).double(),
    "learned": lambda: _structured(2),
    "learned-perspective": lambda: _structured(2, perspective=True),
    "learned-3d": lambda: _structured(3, perspective=True),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("padding", ["constant", "renormalise", "reflection"])
def test_forms(form, padding):
    transformation = FORMS[form]()
    ndim = transformation.ndim
    source, size = (3, 5, 4)[-ndim:], (2, 3, 9)[-ndim:]
    theta = _near(transformation, 2)
    _agree(_spec(ndim, padding=padding), _image(2, 3, *source), theta, transformation, size)


def test_points_behind_the_camera_are_fill_without_gradients():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 2, 0]], dtype=torch.float64)
    assert Projective().grid(theta, (4, 8)).isnan().any()
    values, *_ = _agree(_spec(padding="constant"), _image(1, 2, 5, 4), theta, Projective(), (4, 8))
    assert values.isfinite().all()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("channels", [5, 40])
def test_channels_last_is_read_and_written(ndim, channels):
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[ndim]
    image = _image(2, channels, *(3, 5, 4)[-ndim:]).contiguous(memory_format=last)
    theta = _near(Affine(ndim), 2)
    values, gradient, _ = _agree(_spec(ndim), image, theta, Affine(ndim), (2, 3, 5)[-ndim:])
    assert values.is_contiguous(memory_format=last)
    assert gradient.is_contiguous(memory_format=last)
    assert not values.is_contiguous()


def test_many_channels_in_parts():
    _agree(_spec(), _image(2, 37, 4, 5), _near(Affine(), 2), Affine(), (3, 4))


@pytest.mark.parametrize(("images", "maps"), [(1, 3), (3, 1)])
@pytest.mark.parametrize("transformation", [Affine(), _structured(2)], ids=["matrix", "functions"])
def test_one_serves_all(images, maps, transformation):
    theta = _near(transformation, maps)
    _agree(_spec(padding="constant"), _image(images, 2, 5, 4), theta, transformation, (3, 4))


@pytest.mark.parametrize(("images", "grids"), [(1, 3), (3, 1)])
def test_one_serves_all_given_points(images, grids):
    tensors = _image(images, 2, 5, 4), torch.rand(grids, 3, 4, 2, dtype=torch.float64) * 2 - 1
    found = []
    for backend in (BACKEND, Reference()):
        leaves = [t.clone().requires_grad_() for t in tensors]
        spec = _spec(operation="sample")
        output = backend.run(spec, leaves[0], Given(leaves[1], False), None, ())
        (output * torch.arange(output.numel()).reshape(output.shape)).sum().backward()
        found.append((output.detach(), *(t.grad for t in leaves)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layout", ["expanded", "strided", "transposed"])
def test_any_strides(layout):
    image = {
        "expanded": lambda: _image(1, 2, 5, 4).expand(3, -1, -1, -1),
        "strided": lambda: _image(3, 2, 5, 8)[..., ::2],
        "transposed": lambda: _image(3, 2, 4, 5).mT,
    }[layout]()
    _agree(_spec(), image, _near(Affine(), 3), Affine(), (3, 4))


def test_what_is_outside_does_not_leak():
    """NaN at the border's pixels stays out of points whose taps are outside or elsewhere."""
    for padding in PADDING_MODES:
        image = _image(1, 1, 6, 6)
        image[..., 0, 0] = torch.nan
        image[..., 5, 5] = torch.inf
        fill = torch.ones(1).double() if padding == "constant" else None
        theta = torch.tensor([[1.7, 0.1, 0.05, -0.2, 1.9, 0.03]], dtype=torch.float64)
        spec = _spec(padding=padding, mode="bicubic")
        size = (9, 9)
        found, due = (
            b.run(spec, image, Mapped(theta, Affine(), size, False), fill, (-0.75,))
            for b in (BACKEND, Reference())
        )
        assert due.isfinite().any()
        assert (found.isfinite() | ~due.isfinite()).all()
        both = due.isfinite() & found.isfinite()
        torch.testing.assert_close(found[both], due[both])


@pytest.mark.parametrize(("batch", "channels"), [(0, 2), (2, 0)])
def test_empty(batch, channels):
    image = _image(batch, channels, 4, 4).requires_grad_()
    theta = _near(Affine(), batch).requires_grad_()
    output = BACKEND.run(_spec(), image, Mapped(theta, Affine(), (3, 3), False), None, ())
    assert output.shape == (batch, channels, 3, 3)
    output.sum().backward()
    assert not image.grad.any()
    assert not theta.grad.any()


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def atomics(monkeypatch):
    """Return the kinds of numbers that are added atomically."""
    from triton.runtime.interpreter import InterpreterBuilder

    kinds, add = [], InterpreterBuilder.create_atomic_rmw

    def recorded(self, operation, pointer, value, *args):
        kinds.append((operation.name, value.data.dtype.kind))
        return add(self, operation, pointer, value, *args)

    monkeypatch.setattr(InterpreterBuilder, "create_atomic_rmw", recorded)
    return kinds


def _exact(spec, image, theta, transformation=None, size=(3, 4)):
    return _agree(spec, image, theta, transformation or Affine(spec.ndim), size[-spec.ndim :])


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", FILLING)
def test_whole_numbers_are_the_adjoint(mode, padding, atomics):
    last = _image(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    _exact(_spec(mode=mode, padding=padding), last, _near(Affine(), 2))
    assert {kind for _, kind in atomics} == {"i"}


@pytest.mark.usefixtures("deterministic")
def test_whole_numbers_in_3d_and_for_one_image(atomics):
    _exact(_spec(3), _image(1, 2, 2, 3, 4), _near(Affine(3), 1), size=(2, 2, 3))
    _exact(_spec(), _image(1, 2, 5, 4), _near(Affine(), 3))
    _exact(_spec(), _image(3, 2, 5, 4), _near(Affine(), 1))
    assert {kind for _, kind in atomics} == {"i"}


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("padding", ["zeros", "reflection", "renormalise"])
@pytest.mark.parametrize("form", ["projective", "learned"])
def test_whole_numbers(form, padding, atomics):
    transformation = FORMS[form]()
    _exact(_spec(padding=padding), _image(2, 3, 5, 4), _near(transformation, 2), transformation)
    assert {kind for _, kind in atomics} == {"i"}


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_deterministic_in_other_dtypes(dtype, padding):
    image = _image(2, 3, 5, 4, dtype=dtype)
    tolerance = 4 * BACKEND.tolerance[dtype]
    theta = _near(Affine(), 2, torch.float32)
    _agree(_spec(padding=padding, dtype=dtype), image, theta, Affine(), (3, 4), tolerance)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_numbers_do_not_depend_on_scale_and_keep_nan(dtype):
    image, theta = _image(1, 1, 4, 4, dtype=dtype), torch.zeros(1, 6, dtype=dtype)
    plan, found = Plan((9, 9), "bilinear", "border", False, "matrix"), []
    for scale in (1.0, 2.0**-80, 2.0**80, torch.nan, torch.inf):
        grad = torch.ones(1, 1, 9, 9, dtype=dtype) * scale
        needed = (True, False, False, False)
        (gradient, *_) = launch.backward(plan, grad, needed, image, theta, None, None, exact=True)
        found.append(gradient / scale)
    assert found[0].sum() == 81
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert found[3].isnan().all()
    assert found[4].isnan().all()


@triton.jit
def _remainders(x, n, out, COUNT: tl.constexpr):
    place = tl.arange(0, COUNT)
    tl.store(out + place, remainder(tl.load(x + place), tl.load(n)))


@triton.jit
def _numbers(xyz, size, out, COUNT: tl.constexpr):
    k = tl.arange(0, COUNT)
    x, y, z = tl.load(xyz + k), tl.load(xyz + COUNT + k), tl.load(xyz + 2 * COUNT + k)
    sizes = (tl.load(size), tl.load(size + 1), tl.load(size + 2))
    pixel = flatten(x, y, z, sizes, True)
    place = elements(pixel, tl.arange(0, 2), 3, volume(sizes), False)
    tl.store(out + k[:, None] * 2 + tl.arange(0, 2)[None, :], place)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 1000, 2**23 - 1])
def test_remainders_are_exact_however_far(dtype, n):
    exponents = torch.linspace(-20, 127, 256).to(dtype)
    x = torch.randn(256, dtype=dtype) * 2**exponents
    edges = [0, -0.0, n, -n, n / 2, -1e-30, 2 * n, torch.finfo(dtype).max]
    x[:8] = torch.tensor(edges, dtype=dtype)
    out, length = torch.empty_like(x), torch.tensor([n], dtype=dtype)
    _remainders[(1,)](x, length, out, COUNT=256)
    assert torch.equal(out, x.remainder(n))


def test_addresses_have_64_bits():
    size = torch.tensor([50_000, 60_000, 3], dtype=torch.int32)
    xyz = torch.tensor([[49_999, 7], [59_999, 8], [2, 2]], dtype=torch.int32)
    out = torch.zeros(2, 2, dtype=torch.int64)
    _numbers[(1,)](xyz, size, out, COUNT=2)
    x, y, z = xyz.long().unbind()
    pixel = (z * 60_000 + y) * 50_000 + x
    assert torch.equal(out, pixel[:, None] + torch.tensor([0, 3 * 60_000 * 50_000]))
    assert out.max() > 2**33


@pytest.mark.parametrize(("width", "large"), [(2**15, False), (2**16, True)])
def test_large_images_and_targets_take_64_bits(width, large):
    small = torch.empty(1, 2, 4, 4, device="meta")
    wide = torch.empty(1, 2, 2**14, width, device="meta")
    theta = torch.empty(1, 2, 3, device="meta")
    for image, target in ((small, wide), (wide, small)):
        plan = Plan(tuple(target.shape[2:]), "bilinear", "zeros", False, "matrix")
        call = launch._call(plan, image, theta, None, None)
        assert call.facts(call.tile(plan.size, 1, split=True)).large == large


def test_large_kernels_compute_the_same(monkeypatch):
    monkeypatch.setattr(launch, "_LARGE", 1)
    last = _image(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    for image in (last, last.contiguous()):
        _agree(_spec(padding="constant"), image, _near(Affine(), 2), Affine(), (3, 4))
    spec = replace(_spec(3), operation="warp")
    _agree(spec, _image(1, 2, 2, 3, 4), _near(Affine(3), 1), Affine(3), (2, 2, 3))


def test_why_not():
    assert BACKEND.why_not(_spec()) == []
    assert BACKEND.why_not(replace(_spec(), device="mps")) == ["it runs on cuda only"]
