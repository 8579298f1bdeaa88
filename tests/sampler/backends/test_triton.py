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

from spatial_transformers.sampler.backends.triton import Triton, backend
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


def _compiled(kernel, tensors, facts):
    """Compile a kernel for an H200 and return its assembly: sizes are numbers not known."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from spatial_transformers.sampler.backends.triton.launch import _OPTIONS

    signature, constants, aligned = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in facts or tensors.get(name, "") is None:
            signature[name], constants[name] = "constexpr", facts.get(name)
        else:
            signature[name] = f"*{tensors[name]}" if name in tensors else "i32"
            if name in tensors or name == "channels":
                aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, aligned)
    return compile(source, target=GPUTarget("cuda", 90, 32), options=_OPTIONS).asm


FACTS = {
    "NDIM": 2, "TAPS": 2, "PADDING": "zeros", "CORNERS": False, "FORM": "matrix",
    "FUNCTIONS": False, "LAST": False, "ONE_IMAGE": False, "ONE_MAP": False, "LARGE": False,
    "WIDE": 32, "HIGH": 4, "BLOCK": 4, "IMAGE": "float", "COORDINATES": True, "ROWS": False,
    "FILL": False, "MATRIX": True, "DOUBLE": False,
}  # fmt: skip
LAST = {"LAST": True, "WIDE": 8, "HIGH": 1, "BLOCK": 64}
GREY = {"channels": 1, "BLOCK": 1, "HIGH": 8}  # numbers that are 1 are known to compilers
POINTS = {"FORM": "normalised", "PADDING": "reflection", "CORNERS": True, "TAPS": 1}
FUNCTIONS = {"FUNCTIONS": True, "ROWS": True, "FORM": "perspective", "PADDING": "renormalise"}
DEEP = {"NDIM": 3, "TAPS": 4, "PADDING": "wrap", "LARGE": True, "HIGH": 2}


def _tensors(dtype, facts):
    """Return the dtype of every tensor, None where launches pass none."""
    image, work = TYPES[dtype], "fp64" if dtype == torch.float64 else "fp32"
    fixed = facts["IMAGE"] == "fixed"
    points = facts["FORM"] not in ("matrix", "perspective")
    return dict.fromkeys(("image", "out", "grad"), image) | {
        **dict.fromkeys(("coordinates", "matrix", "rows"), work),
        "fill": image if facts["PADDING"] == "constant" else None,
        "functions": work if facts["FUNCTIONS"] else None,
        "to_image": "i64" if fixed else work,
        "to_image_rest": "i64" if fixed and work == "fp64" else None,
        "to_points": work if points else None,
        "to_rows": work if facts["ROWS"] else None,
        "sums": None if points or fixed else work,
        "fill_sums": work if facts["FILL"] else None,
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
        (torch.float64, {"PADDING": "constant", "FILL": True, "ONE_IMAGE": True} | GREY),
        (torch.bfloat16, LAST),
        (torch.float32, POINTS),
        (torch.float32, FUNCTIONS),
        (torch.float32, DEEP),
        (torch.float32, {"TAPS": 4, "PADDING": "border", "HIGH": 2, "ONE_MAP": True}),
        (torch.float64, {"IMAGE": "fixed", "COORDINATES": False}),
        (torch.float32, {"IMAGE": "fixed", "COORDINATES": False}),
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
    if name == "forward_kernel" and "IMAGE" in changes:
        return
    facts = FACTS | changes
    asm = _compiled(getattr(kernels["kernels"], name), _tensors(dtype, facts), facts)
    assert len(asm["cubin"]) > 0
    lines = asm["ptx"].splitlines()
    assert not any("fma.rn" in line for line in lines if "f32" in line or "f64" in line)
    if name == "backward_kernel":
        kind = "u64" if facts["IMAGE"] != "float" else "f64" if dtype == torch.float64 else "f32"
        added = [line for line in lines if re.search(r"\b(red|atom)\.global", line)]
        assert added
        assert all(kind in line for line in added), added[0]


@needs_triton
def test_channels_last_reads_are_wide(kernels):
    facts = FACTS | LAST
    asm = _compiled(kernels["kernels"].forward_kernel, _tensors(torch.float32, facts), facts)
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
    facts = FACTS | {"NDIM": ndim, "BLOCK": 1024}
    facts |= {"channels": 1, "PADDING": "renormalise"} if ndim == 3 else {}
    facts["DOUBLE"] = dtype == torch.float64
    tensors = _tensors(dtype, facts)
    if module == "fixed":
        bits = "i64" if facts["DOUBLE"] else "i32"
        tensors |= {"sums": "i64", "rest": "i64" if facts["DOUBLE"] else None, "largest": bits}
    assert len(_compiled(getattr(kernels[module], name), tensors, facts)["cubin"]) > 0
