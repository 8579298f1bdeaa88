"""The right backend runs, and says why; oracle: spies on the backends and on traced graphs."""

import sys
from contextlib import contextmanager

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.testing import assert_close

from spatial_transformers import Affine, InputError, explain, sample, warp
from spatial_transformers.sampler.backends import BACKENDS

from .oracles import NAMES

ALL = [b.name for b in BACKENDS]

MODULE = sys.modules["spatial_transformers.sampler.sampler"]  # the name itself is the function
THETA = Affine().identity()[None] + 0.1


@pytest.fixture
def ran(monkeypatch):
    """Return the list of the backends that run, in order."""
    names = []

    def spy(backend):
        run = type(backend).run

        def spied(self, *args):
            names.append(self.name)
            return run(self, *args)

        monkeypatch.setattr(type(backend), "run", spied)

    for backend in BACKENDS:
        spy(backend)
    return names


def _image(*shape, dtype=torch.float32):
    return torch.randn(shape or (1, 2, 5, 4)).to(dtype)


def _grid(ndim=2):
    return torch.rand(1, *[3] * ndim, ndim) * 2 - 1


def _warp(image=None, theta=THETA, **options):
    return warp(_image() if image is None else image, theta, Affine(), **options)


def test_eager_takes_the_first_that_can(ran):
    sample(_image(), _grid())
    _warp()
    assert ran == [NAMES[0]] * 2


@pytest.mark.parametrize("name", NAMES)
def test_a_name_pins(ran, name):
    sample(_image(), _grid(), backend=name)
    _warp(backend=name)
    assert set(ran) == {name}


@pytest.mark.parametrize(
    "call",
    [
        lambda: sample(_image(1, 2, 5), _grid(1)),
        lambda: sample(_image(1, 2, 2, 3, 2, 2), _grid(4)),
        lambda: sample(_image(dtype=torch.uint8), _grid(), mode="nearest"),
        lambda: _warp(_image(dtype=torch.int64), mode="nearest"),
    ],
    ids=["1-D", "4-D", "uint8", "int64"],
)
def test_what_only_the_reference_can(ran, call):
    call()
    assert ran == ["reference"]


@contextmanager
def _dual_level(image, grid):
    with forward_ad.dual_level():
        yield forward_ad.make_dual(image, torch.ones_like(image)), grid


@pytest.mark.traced
@pytest.mark.parametrize(
    "transform",
    [
        lambda u, g: vmap(sample)(u[None], g[None]),
        lambda u, g: jvp(sample, (u, g), (u, g)),
        lambda u, g: grad(lambda u: sample(u, g).sum())(u),
        lambda u, g: vmap(lambda t: _warp(u, t[None]))(THETA.expand(3, -1)),
    ],
    ids=["vmap", "jvp", "grad", "vmap-warp"],
)
def test_transforms_take_the_reference(ran, transform):
    transform(_image(), _grid())
    assert set(ran) == {"reference"}


@pytest.mark.traced
def test_forward_mode_takes_the_reference(ran):
    with _dual_level(_image(), _grid()) as (image, grid):
        found = forward_ad.unpack_dual(sample(image, grid))
    assert ran == ["reference"]
    assert_close(found.tangent, sample(torch.ones_like(image), grid))


def _traced(function, *inputs):
    """Return the names of the operations in the graph that a compiler is given."""
    names = []

    def record(module, _):
        names.extend(str(node.target) for node in module.graph.nodes)
        return module.forward

    torch._dynamo.reset()
    torch.compile(function, fullgraph=True, dynamic=True, backend=record)(*inputs)
    return " ".join(names)


def _exported(function, *inputs):
    class Module(torch.nn.Module):
        def forward(self, *inputs):
            return function(*inputs)

    return str(torch.export.export(Module(), inputs).graph)


@pytest.mark.traced
def test_compilers_are_given_the_fused_operation():
    assert "spatial_transformers.fused" in _traced(sample, _image(), _grid())
    assert "spatial_transformers.fused" in _traced(_warp, _image(), THETA)


@pytest.mark.traced
def test_exporters_are_given_aten():
    assert "aten.grid_sampler" in _exported(sample, _image(), _grid())
    assert "aten.grid_sampler" in _exported(_warp, _image(), THETA)


@pytest.mark.traced
def test_an_unknown_name():
    with pytest.raises(InputError) as error:
        sample(_image(), _grid(), backend="fast")
    assert str(error.value) == (f"backend 'fast' was asked for; known backends: {', '.join(ALL)}")


@pytest.mark.traced
def test_a_pinned_backend_that_cannot():
    with pytest.raises(InputError) as error:
        sample(_image(1, 2, 5), _grid(1), backend="aten")
    assert str(error.value) == (
        "no backend can run this sample of a 1-D float32 image on cpu, mode bilinear, "
        "padding zeros, context eager:\n"
        "  aten: grid_sample knows 2-D and 3-D only"
    )


@pytest.mark.traced
def test_nothing_can():
    with pytest.raises(InputError) as error:
        _warp(_image(dtype=torch.uint8), align_corners=True)
    first, *reasons = str(error.value).splitlines()
    assert first == (
        "no backend can run this warp of a 2-D uint8 image on cpu, mode bilinear, "
        "padding zeros, align_corners, context eager:"
    )
    assert [reason.split(":")[0].strip() for reason in reasons] == ALL
    assert (
        "  reference: integer images have no weighted sums: use mode='nearest', not antialiased"
    ) in reasons
    assert not any("can run" in reason for reason in reasons)


@pytest.mark.traced
def test_explain_says_which_runs_and_why_not_the_others():
    lines = explain(_image(1, 1, 8, 8), _grid()).splitlines()
    assert lines[0] == (
        "sample of a 2-D float32 image on cpu, mode bilinear, padding zeros, "
        f"context eager: {NAMES[0]}"
    )
    assert [line.split(":")[0].strip() for line in lines[1:]] == ALL
    assert lines[-1] == "  reference: can run"
    constant = explain(
        _image(), THETA, Affine(), padding_mode="constant", fill_value=1.0, align_corners=True
    )
    assert "padding constant, align_corners, context eager" in constant
    assert (
        explain(_image(), THETA, Affine(), backend="reference")
        .splitlines()[0]
        .endswith(": reference")
    )
    assert explain(_image(dtype=torch.uint8), THETA, Affine()).splitlines()[0].endswith(": none")


@pytest.mark.traced
def test_explain_sees_a_transform():
    said = []

    def function(image):
        said.append(explain(image, THETA, Affine()))
        return image

    vmap(function)(_image(2, 1, 1, 4, 4))
    first, *reasons = said[0].splitlines()
    assert first.endswith("context transform: reference")
    assert any(r.startswith("  aten: grid_sample has no forward mode") for r in reasons)


@pytest.mark.parametrize("hidden", [["cpu"], ["triton"], ["aten"], ["cpu", "triton"]])
def test_the_library_works_without_backends(monkeypatch, ran, hidden):
    due = sample(image := _image(), grid := _grid()), _warp(image)
    ran.clear()
    monkeypatch.setattr(MODULE, "BACKENDS", tuple(b for b in BACKENDS if b.name not in hidden))
    assert_close((sample(image, grid), _warp(image)), due)
    assert not set(hidden) & set(ran)
    assert len(ran) == 2
    assert not any(f"  {name}: " in explain(image, THETA, Affine()) for name in hidden)
