"""One image or one map serves many without copies, and formats stay; oracle: a call per element."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from equality import assert_identical
from spatial_transformers import Affine, sample, warp

from .oracles import NAMES, cotangent

backends = pytest.mark.parametrize("backend", NAMES)
MODES = ["nearest", "bilinear", "bicubic", "lanczos3", "bspline3"]
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


class _LargestStorage(TorchDispatchMode):
    """Remembers the most bytes that one result holds."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.untyped_storage().nbytes())
        return result


def _thetas(n):
    return Affine().identity()[None] + torch.randn(n, 6) / 5


@backends
@pytest.mark.parametrize("operation", ["sample", "warp"])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflection", "constant"])
def test_one_image_under_many_maps_is_not_copied(backend, operation, padding_mode):
    image, theta = torch.rand(1, 1, 150, 130), _thetas(64)
    options = {"padding_mode": padding_mode, "backend": backend}
    options["fill_value"] = 0.5 if padding_mode == "constant" else None
    with _LargestStorage() as seen:
        if operation == "warp":
            warp(image, theta, Affine(), size=4, **options)
        else:
            sample(image, Affine().grid(theta, 4), **options)
    assert seen.most <= 256 * 256 * 4 * 2  # the image padded, with one channel more


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("alone", ["image", "grid"])
@pytest.mark.parametrize("antialias", [False, True])
def test_one_serves_many_as_its_copies_would(mode, ndim, alone, antialias):
    image = torch.randn(4, 2, *(9, 7, 6)[:ndim], dtype=torch.float64)
    grid = torch.rand(4, *(3, 2, 2)[:ndim], ndim, dtype=torch.float64) * 2.4 - 1.2
    tensors = {"image": image, "grid": grid}
    tensors[alone] = tensors[alone][:1]
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    options = {"mode": mode, "antialias": 2 if antialias else False}
    found = sample(leaves["image"], leaves["grid"], **options)
    copies = {name: t.expand(4, *t.shape[1:]).contiguous() for name, t in leaves.items()}
    due = sample(copies["image"], copies["grid"], **options)
    assert_close(found, due)
    for slopes in zip(
        torch.autograd.grad(found, [*leaves.values()], cotangent(found), materialize_grads=True),
        torch.autograd.grad(due, [*leaves.values()], cotangent(due), materialize_grads=True),
        strict=True,
    ):
        assert_close(*slopes)


@backends
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_channels_last_stays(backend, ndim, mode):
    image = torch.randn(2, 3, *(6, 5, 4)[:ndim])
    theta = Affine(ndim).identity()[None].repeat(2, 1) * 0.9
    due = warp(image, theta, Affine(ndim), mode=mode, backend=backend)
    assert due.is_contiguous()
    last = image.to(memory_format=LAST[ndim])
    for found in (
        warp(last, theta, Affine(ndim), mode=mode, backend=backend),
        torch.autograd.functional.vjp(
            lambda t: warp(last, t, Affine(ndim), mode=mode, backend=backend), theta, due
        )[0],
    ):
        assert found.is_contiguous(memory_format=LAST[ndim])
        assert_identical(found, due)


def test_one_channel_is_in_either_format():
    image = torch.randn(2, 1, 6, 5)
    found = warp(image, _thetas(2), Affine())
    assert found.is_contiguous()


@pytest.mark.parametrize("mode", ["bicubic", "lanczos5", "bspline5", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("padding_mode", ["zeros", "wrap", "renormalise"])
def test_half_images_are_summed_in_float32(mode, dtype, padding_mode):
    image = torch.rand(2, 3, 40, 30).to(dtype)
    grid = torch.rand(2, 9, 8, 2) * 1.8 - 0.9
    options = {"mode": mode, "padding_mode": padding_mode}
    found = sample(image, grid, **options)
    due = sample(image.double(), grid.double(), **options)
    assert found.dtype == dtype
    assert_close(found.double(), due, rtol=torch.finfo(dtype).eps, atol=1e-4)
