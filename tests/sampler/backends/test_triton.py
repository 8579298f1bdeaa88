"""The Triton backend without a GPU: its kernels run interpreted, and compile for real GPUs.

The interpreter forgives what the compiler refuses, so both are asked. What the kernels compute
is tested in `interpreted_triton.py`, in processes of their own: Triton reads once whether it
interprets.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatial_transformers.sampler.backends.fused import Plan
from spatial_transformers.sampler.backends.triton import Triton, backend, launch
from spatial_transformers.sampler.backends.triton.records import Facts
from spatial_transformers.sampler.dispatch import Spec
from spatial_transformers.sampler.options import Options

INSTALLED = backend._INSTALLED
SPEC = Spec("warp", 2, torch.float32, "cuda", "eager", False, Options())
FILE = Path(__file__).with_name("interpreted_triton.py")
needs_triton = pytest.mark.skipif(not INSTALLED, reason="Triton is not installed")
pytestmark = pytest.mark.traced  # the import hook would wrap functions that Triton reads


@needs_triton
@pytest.mark.parametrize("part", ["agrees and 2-D", "agrees and 3-D", "not agrees"])
def test_interpreted(part, request):
    options = ["--all"] if request.config.getoption("--all") else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FILE)]
    done = subprocess.run(
        [*command, "-k", part, *options],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=FILE.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_why_not(monkeypatch):
    monkeypatch.setattr(backend, "_INSTALLED", True)
    monkeypatch.setattr(backend, "_INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert Triton().why_not(SPEC) == []
    assert Triton().why_not(replace(SPEC, device="cpu")) == ["it runs on cuda only"]
    assert Triton().why_not(SPEC.changed(mode="lanczos3")) == [
        "its modes are nearest, bilinear, bicubic"
    ]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert Triton().why_not(SPEC) == ["it needs compute capability 7.0, found 6.1"]
    monkeypatch.setattr(backend, "_INSTALLED", False)
    assert "Triton is not installed" in Triton().why_not(SPEC)


def test_importing_the_backend_imports_no_triton():
    code = (
        "import sys, spatial_transformers.sampler.backends.triton; print('triton' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16"}


def _compiled(kernel, tensors, constants):
    """Compile a kernel for an H200 and return its assembly: sizes are numbers not known."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from spatial_transformers.sampler.backends.triton.launch import _OPTIONS

    signature, known, aligned = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in constants or tensors.get(name, "") is None:
            signature[name], known[name] = "constexpr", constants.get(name)
        else:
            signature[name] = f"*{tensors[name]}" if name in tensors else "i32"
            if name in tensors or name == "channels":
                aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, known, aligned)
    return compile(source, target=GPUTarget("cuda", 90, 32), options=_OPTIONS).asm


FACTS = Facts(
    ndim=2, corners=False, form="matrix", taps=2, padding="zeros", wide=32, high=4, block=4,
    image="float", coordinates=True,
)  # fmt: skip
LAST = {"last": True, "wide": 8, "high": 1, "block": 64}
GREY = {"block": 1, "high": 8}  # one channel
POINTS = {"form": "normalised", "padding": "reflection", "corners": True, "taps": 1}
FUNCTIONS = {"functions": True, "rows": True, "form": "perspective", "padding": "renormalise"}
DEEP = {"ndim": 3, "taps": 4, "padding": "wrap", "large": True, "high": 2}


def _tensors(dtype, facts):
    """Return the dtype of every tensor, None where launches pass none."""
    image, work = TYPES[dtype], "fp64" if dtype == torch.float64 else "fp32"
    fixed = facts.image == "fixed"
    points = facts.form not in ("matrix", "perspective")
    return dict.fromkeys(("image", "out", "grad"), image) | {
        **dict.fromkeys(("coordinates", "matrix", "rows"), work),
        "fill": image if facts.padding == "constant" else None,
        "functions": work if facts.functions else None,
        "to_image": "i64" if fixed else work,
        "to_image_rest": "i64" if fixed and work == "fp64" else None,
        "to_points": work if points else None,
        "to_rows": work if facts.rows else None,
        "sums": None if points or fixed else work,
        "fill_sums": work if facts.fill else None,
        "largest": ("i64" if work == "fp64" else "i32") if fixed else None,
    }


@pytest.fixture
def kernels(monkeypatch, tmp_path):
    """Return the modules that hold the kernels, as compilers take them."""
    if backend._INTERPRETED:
        pytest.skip("Triton interprets in this process")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from spatial_transformers.sampler.backends.triton import fixed, kernels

    return {"kernels": kernels, "fixed": fixed}


@needs_triton
@pytest.mark.parametrize("name", ["forward_kernel", "backward_kernel"])
@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        (torch.float32, {}),
        (torch.float64, {"padding": "constant", "fill": True} | GREY),
        (torch.bfloat16, LAST),
        (torch.float32, POINTS),
        (torch.float32, FUNCTIONS),
        (torch.float32, DEEP),
        (torch.float32, {"taps": 4, "padding": "border", "high": 2, "one_map": True}),
        (torch.float64, {"image": "fixed", "coordinates": False}),
        (torch.float32, {"image": "fixed", "coordinates": False}),
    ],
    ids=[
        "plain",
        "constant",
        "last",
        "points",
        "functions",
        "deep",
        "bicubic",
        "fixed",
        "fixed-float32",
    ],
)
def test_main_kernels_compile(kernels, name, dtype, changes):
    if name == "forward_kernel" and "image" in changes:
        return
    facts = FACTS._replace(**changes)
    constants = {"facts": facts} | ({"channels": 1} if facts.block == 1 else {})  # as launches do
    asm = _compiled(getattr(kernels["kernels"], name), _tensors(dtype, facts), constants)
    assert len(asm["cubin"]) > 0
    lines = asm["ptx"].splitlines()
    assert not any("fma.rn" in line for line in lines if "f32" in line or "f64" in line)
    if name == "backward_kernel":
        kind = "u64" if facts.image != "float" else "f64" if dtype == torch.float64 else "f32"
        added = [line for line in lines if re.search(r"\b(red|atom)\.global", line)]
        assert added
        assert all(kind in line for line in added), added[0]


@needs_triton
def test_channels_last_reads_are_wide(kernels):
    facts = FACTS._replace(**LAST)
    tensors = _tensors(torch.float32, facts)
    asm = _compiled(kernels["kernels"].forward_kernel, tensors, {"facts": facts})
    assert any("ld.global.v4.b32" in line for line in asm["ptx"].splitlines())


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("kernels", "sum_kernel"),
        ("kernels", "functions_kernel"),
        ("fixed", "prepare_kernel"),
        ("fixed", "settle_kernel"),
    ],
)
def test_other_kernels_compile(kernels, module, name, ndim, dtype):
    double = dtype == torch.float64
    facts = Facts(ndim, corners=False, form="matrix", block=1024)
    constants = {"facts": facts, "MATRIX": True}
    if module == "fixed":
        constants = {"DOUBLE": double, "ONE_IMAGE": False, "BLOCK": 1024}
    constants |= {"channels": 1} if ndim == 3 else {}
    tensors = _tensors(dtype, facts)
    if module == "fixed":
        bits = "i64" if double else "i32"
        tensors |= {"sums": "i64", "rest": "i64" if double else None, "largest": bits}
    assert len(_compiled(getattr(kernels[module], name), tensors, constants)["cubin"]) > 0


def _launched(monkeypatch, call):
    """Return what a call launches: the kernels' names, with their arguments."""
    found = []

    class Kernel:
        def __init__(self, module, name):
            self.place = module, name

        def __getitem__(self, grid):
            return lambda *args, **kwargs: found.append((self.place, args, kwargs))

    monkeypatch.setattr(launch, "_kernel", Kernel)
    call()
    return found


@needs_triton
@pytest.mark.parametrize("exact", [False, True])
def test_launches_compile_as_they_are(kernels, monkeypatch, exact):
    """Arguments are in their places, and a size of 1 or 16 has no kernel of its own."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile, make_backend
    from triton.runtime.jit import create_function_from_signature

    image, matrix = torch.zeros(2, 3, 1, 16), torch.zeros(2, 2, 4)
    plan = Plan((16, 1), "bilinear", "constant", False, "matrix")
    tensors = image, matrix, torch.zeros(1, 16, 1), torch.zeros(3)

    def call():
        needed = (True, not exact, not exact, not exact)
        out = launch.forward(plan, *tensors)
        launch.backward(plan, out, needed, *tensors, exact=exact)

    target, launches = GPUTarget("cuda", 90, 32), _launched(monkeypatch, call)
    due = {"forward_kernel", "backward_kernel"}
    due |= {"prepare_kernel", "settle_kernel"} if exact else {"sum_kernel", "functions_kernel"}
    assert {name for (_, name), _, _ in launches} == due
    for (module, name), args, kwargs in launches:
        kernel, made = getattr(kernels[module], name), make_backend(target)
        bind = create_function_from_signature(kernel.signature, kernel.params, made)
        packed = kernel._pack_args(made, kwargs, *bind(*args, **kwargs))
        _, signature, constants, attributes = packed
        sizes = [signature[n] for n in ("sx", "sy", "sz", "tx", "ty", "tz") if n in signature]
        assert set(sizes) == {"i32"}
        source = ASTSource(kernel, signature, constants, attributes)
        assert len(compile(source, target=target, options=launch._OPTIONS).asm["cubin"]) > 0
