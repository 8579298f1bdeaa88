"""Subclasses of tensors come out as of `grid_sample`, in every kernel and backend alike."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample
from torch.testing import assert_close

from spatial_transformers import Affine, sample, warp

from .oracles import NAMES


class Kept(Tensor):
    """Says nothing: results are of the class, too."""


class Unlabelled(Tensor):
    """Gives plain tensors, as those of torchvision do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


class Switched(Tensor):
    """Sees no operation, as parameters do not."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class Noted(Tensor):
    """Passes on what it knows, as those of MONAI do."""

    note = "none"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, cls):
            result.note = next((a.note for a in args if isinstance(a, cls)), "none")
        return result


def _noted(tensor):
    noted = tensor.as_subclass(Noted)
    noted.note = "of the input"
    return noted


KINDS = {
    "kept": lambda t: t.as_subclass(Kept),
    "unlabelled": lambda t: t.as_subclass(Unlabelled),
    "switched": lambda t: t.as_subclass(Switched),
    "noted": _noted,
    "parameter": nn.Parameter,
    "buffer": nn.Buffer,
}
KERNELS = [
    (name, mode)
    for mode in ("nearest", "bilinear", "bicubic", "lanczos2", "bspline3")
    for name in (None, *NAMES)
    if name not in ("cpu", "aten") or mode in ("nearest", "bilinear", "bicubic")
]


def _described(output, first):
    """Return the class, and what an image's class says besides."""
    return type(output), getattr(output, "note", None) if first else None


@pytest.mark.parametrize("first", [True, False], ids=["image", "coordinates"])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_subclasses(kind, grad, first):
    affine, image = Affine(), torch.rand(2, 1, 8, 9, requires_grad=grad)
    theta = (affine.identity() + 0.1).repeat(2, 1).requires_grad_(grad)
    grid = affine.grid(theta.detach(), (8, 9)).requires_grad_(grad)

    def given(coordinates):
        return (kind(image), coordinates) if first else (image, kind(coordinates))

    expected = _described(grid_sample(*given(grid), align_corners=False), first)
    for backend, mode in KERNELS:
        options = {"mode": mode, "backend": backend}
        for call, coordinates in ((sample, grid), (lambda *a, **o: warp(*a, affine, **o), theta)):
            output = call(*given(coordinates), **options)
            assert _described(output, first) == expected, (backend, mode)
            plain = call(image, coordinates, **options)
            assert_close(Tensor.as_subclass(output, Tensor), plain, rtol=0, atol=0)
            assert output.requires_grad == (grad or kind is nn.Parameter)
