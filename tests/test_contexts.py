"""Modes of PyTorch × module and function × eager, compiled and exported; oracle: the plain call.

`pytest tests/test_contexts.py --all --table` prints the battery. A mode gives, while it lasts, what
is called in place of a module or a function.
"""

import copy
import pickle
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.parametrize import register_parametrization
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import spatial_transformers
from spatial_transformers import (
    Affine,
    LocalisationCNN,
    Sampler,
    SpatialTransformer,
    ThinPlateSpline,
    sample,
    warp,
)
from spatial_transformers._context import context

pytestmark = pytest.mark.traced

MODES, MODULE_ONLY = {}, set()
#: In the flop counter, backward does not work by its inputs, as hooks on modules have it.
WITHOUT_GRADIENT = {"inference mode", "no grad", "flop counter"}
COPIES = {"deep copy", "pickled"}
#: PyTorch compiles nothing while operations are looked at.
NOT_COMPILED = {"dispatch mode", "flop counter"}


def mode(name, *, of_modules=False):
    """Register a mode: a function of a call, which gives the call to make in the mode."""

    def register(make):
        MODES[name] = contextmanager(make)
        if of_modules:
            MODULE_ONLY.add(name)
        return make

    return register


def _entered(name, enter):
    """Register a mode that is entered by `with`."""

    @mode(name)
    def made(call):
        with enter():
            yield call


def _switched(name, switch, on, off):
    """Register a mode that is on until it is switched off."""

    @mode(name)
    def made(call):
        switch(on)
        try:
            yield call
        finally:
            switch(off)


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


# on `meta`, what is made without a device has no values
_switched("default device", torch.set_default_device, "meta", None)
_entered("device context", lambda: torch.device("meta"))
_switched("default dtype", torch.set_default_dtype, torch.float64, torch.float32)
_switched("deterministic", torch.use_deterministic_algorithms, True, False)
_entered("anomaly", lambda: torch.autograd.set_detect_anomaly(True))
_entered("inference mode", torch.inference_mode)
_entered("no grad", torch.no_grad)
_entered("autocast", lambda: torch.autocast("cpu", torch.bfloat16))
_entered("saved on the CPU", torch.autograd.graph.save_on_cpu)
_entered("function mode", _Functions)
_entered("dispatch mode", _Operations)
_entered("flop counter", lambda: FlopCounterMode(display=False))


@mode("checkpoint")
def _checkpoint(call):
    yield lambda *inputs: checkpoint(call, *inputs, use_reentrant=False)


@mode("checkpoint, reentrant")
def _reentrant(call):
    yield lambda *inputs: checkpoint(call, *inputs, use_reentrant=True)


@mode("functional_call", of_modules=True)
def _functional(module):
    parameters = dict(module.named_parameters())
    yield lambda *inputs: torch.func.functional_call(module, parameters, inputs)


@mode("hooks", of_modules=True)
def _hooks(module):
    counts = []
    for part in (module, module.localisation, module.sampler):
        part.register_forward_pre_hook(lambda *_: counts.append(1))
        part.register_forward_hook(lambda *_: None)
    module.register_full_backward_hook(lambda *_: None)
    yield module


@mode("parametrized", of_modules=True)
def _parametrized(module):
    class Same(nn.Module):
        def forward(self, weight):
            return weight.clone()

    register_parametrization(module.localisation.head, "weight", Same())
    yield module


@mode("deep copy", of_modules=True)
def _copied(module):
    yield copy.deepcopy(module)


@mode("pickled", of_modules=True)
def _pickled(module):
    yield pickle.loads(pickle.dumps(module))


class _Calls(nn.Module):
    """A function as a module, for `torch.export`."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *inputs):
        return self.call(*inputs)


def _compiled(call, case):
    del case
    torch._dynamo.reset()
    return torch.compile(call, fullgraph=True, backend="aot_eager")


def _exported(call, case):
    module = call if isinstance(call, nn.Module) else _Calls(call)
    return torch.export.export(module, case).module()


def _module():
    affine = Affine()
    network = LocalisationCNN(affine, in_channels=1, input_size=8, perturbation=0.3)
    return SpatialTransformer(network, affine)


def _function():
    return lambda image, theta: warp(image, theta, Affine())


SUBJECTS = {"module": _module, "function": _function}
WAYS = {"eager": lambda call, case: call, "compile": _compiled, "export": _exported}


def _cells():
    """Yield every mode × subject × way; of those that are traced, one a mode by default."""
    for number, name in enumerate(MODES):
        subjects = ["module"] if name in MODULE_ONLY else list(SUBJECTS)
        ways = ["export"] if name in NOT_COMPILED else ["compile", "export"]
        traced = list(product(subjects, ways))
        chosen = traced[number % len(traced)]
        for cell in (*product(subjects, ["eager"]), *traced):
            marks = () if "eager" in cell or cell == chosen else pytest.mark.only_all
            yield pytest.param(name, *cell, id=" ".join((name, *cell)), marks=marks)


def _outcome(call, owner, case, *, gradients):
    """Return values, and the gradients of inputs and parameters for one cotangent."""
    inputs = [x.detach().clone().requires_grad_(gradients) for x in case]
    parameters = list(owner.parameters()) if isinstance(owner, nn.Module) else []
    for parameter in parameters:
        parameter.grad = None
    output = call(*inputs)
    if not gradients:
        return [output.detach()]
    output.backward(torch.linspace(-1, 2, output.numel(), device="cpu").view_as(output))
    assert all(x.grad.any() for x in (*inputs, *parameters))
    return [output.detach(), *(x.grad for x in (*inputs, *parameters))]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
# compilers look for gradients where hooks stand, and hide that
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize(("name", "kind", "way"), [*_cells()])
def test_mode(name, kind, way, record_property):
    record_property("cell", (name, f"{kind}, {way}"))
    affine, subject = Affine(), SUBJECTS[kind]()
    theta = affine.identity() + 0.1 * torch.randn(2, 6)
    case = (torch.rand(2, 1, 9, 8), theta)[: 1 if kind == "module" else 2]
    gradients = name not in WITHOUT_GRADIENT and way != "export"
    expected = _outcome(subject, subject, case, gradients=gradients)
    with MODES[name](subject) as call:
        if name == "autocast" and kind == "module":  # whose convolutions are to be less precise
            expected = _outcome(subject, subject, case, gradients=gradients)
        owner = call if name in COPIES else subject
        found = _outcome(WAYS[way](call, case), owner, case, gradients=gradients)
    pairs = zip(found, expected, strict=True)
    if name == "parametrized":  # which moves a parameter to the end
        pairs = zip(*(sorted(o, key=lambda x: x.shape) for o in (found, expected)), strict=True)
    for pair in pairs:
        assert_close(*pair, rtol=1e-4, atol=1e-2 if name == "autocast" else 1e-4)


RECORDED = (
    {},
    {"mode": "lanczos2", "padding_mode": "border"},
    {"mode": "bspline3"},
    {"antialias": 2},
    {"gradient": "linearized"},
    {"padding_mode": "constant", "fill_value": 0.5},
    {"mode": "nearest"},
)


def _spline(options):
    spline = ThinPlateSpline()
    network = LocalisationCNN(spline, in_channels=1, input_size=8, perturbation=0.1)
    return SpatialTransformer(network, spline, Sampler(**options), size=(7, 6))


@pytest.mark.parametrize("options", RECORDED, ids=str)
def test_fake_tensors(options):
    """Within their mode and after it, a fake tensor has the strides of a true one."""
    model, image = _spline(options), torch.rand(2, 1, 9, 8).to(memory_format=torch.channels_last)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake, identity = map(mode.from_tensor, (image, model.transformation.identity()[None]))
    expected = model(image)
    with mode:
        output = model(fake)
        gradients = torch.autograd.grad(output.sum(), [*model.parameters()])
    assert [g.shape for g in gradients] == [p.shape for p in model.parameters()]
    after = model.warp(fake, identity)
    for found in (output, after, model.to("meta")(image.to("meta"))):
        assert (found.shape, found.stride()) == (expected.shape, expected.stride())
        assert found.dtype == expected.dtype


@pytest.mark.parametrize(
    ("tracing_mode", "options"),
    [
        *(("real", options) for options in RECORDED),
        *(("symbolic", options) for options in RECORDED[:2]),
        *(pytest.param("symbolic", o, marks=pytest.mark.only_all) for o in RECORDED[2:]),
    ],
    ids=str,
)
def test_recorded_operations_run_again(tracing_mode, options):
    affine = Affine()

    def call(image, theta, grid):
        return warp(image, theta, affine, **options) + sample(image, grid, **options)

    def draw(n, size):
        theta = affine.identity() + 0.2 * torch.randn(n, 6)
        return torch.rand(n, 1, *size), theta, affine.grid(theta, size)

    first = draw(5, (9, 8))  # equal sizes would stay equal
    recorded = make_fx(call, tracing_mode=tracing_mode)(*first)
    case = draw(5, (9, 8)) if tracing_mode == "real" else draw(4, (12, 7))
    assert_close(recorded(*case), call(*case), rtol=0, atol=1e-5)


def test_who_runs_the_code():
    """Compiled code asks for fused operations, and only what is transformed does without."""
    found = []

    def square(x):
        return x * x * {"compile": 1, "transform": 2}.get(context(x), 3)

    for call in (square, torch.func.vmap(square), torch.func.grad(lambda x: square(x).sum())):
        found.append(_compiled(call, ())(torch.ones(1)).item())
    assert found == [1, 2, 4]  # the slope of 2 x² is 4
    assert square(torch.ones(1)) == 3


def test_every_operation_compiles_in_a_default_device():
    """`Tensor.unflatten` does not: it calls `super()`, which compilers do not follow there."""
    package = Path(spatial_transformers.__file__).parent
    parts = ("grid", "localisation", "sampler")
    sources = [path for part in parts for path in (package / part).rglob("*.py")]
    calls = [line for path in sources for line in path.read_text().splitlines()]
    assert [line for line in calls if ".unflatten(" in line.replace("torch.unflatten(", "")] == []
