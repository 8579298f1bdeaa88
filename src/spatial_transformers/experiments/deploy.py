"""A finished run's network as a file for other programs, checked against PyTorch."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spatial_transformers import InputError, export

from .base import Network
from .registry import named
from .run import load

FORMATS = ("onnx", "pt2")
TOLERANCE = 1e-3  # of outputs and θ; float32 rounds to far less
_BATCH = 5  # of the check; a file is traced at 1


class Deployed(NamedTuple):
    """A file, what images it takes, and how far it is from PyTorch on a batch of them."""

    path: Path
    takes: str
    difference: float


def deploy(
    out: Path, path: Path | None = None, *, to: str | None = None, **options: Any
) -> Deployed:
    """Write the network of a run as `path`, and compare what the file computes.

    Its outputs are `output`, such as logits (N, classes), and `theta` (N, P) if the network has a
    spatial transformer. A network with a spatial transformer takes images of any size, and other
    networks the size that they were trained on.

    Args:
        out: the run's folder.
        path: the file; `model.onnx` or `model.pt2` in the run's folder unless given.
        to: `onnx` or `pt2`; what the path's suffix says unless given.
        **options: `decompose` and `opset`; see `spatial_transformers.export`.

    Raises:
        InputError: if the run is not finished, or as `spatial_transformers.export` says.

    """
    path = path or out / f"model.{to or FORMATS[0]}"
    if to is not None and path.suffix != f".{to}":
        raise InputError(f"{path} was asked for as {to}; give a name that ends in .{to}")
    recipe, network = load(out)
    channels, *size = named(recipe.experiment).shape(recipe)
    free = network.transformer is not None
    model: nn.Module = network if free else _OutputOnly(network)
    export(
        model,
        torch.zeros(1, channels, *size),
        path,
        dynamic="all" if free else "batch",
        outputs=("output", "theta") if free else ("output",),
        **options,
    )
    tall = (size[0] + size[0] // 2, *size[1:]) if free else size
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(_BATCH, channels, *tall, generator=generator)
    with torch.no_grad():
        difference = _difference(_run(path, image), model(image))
    takes = "any size" if free else " × ".join(map(str, size))
    return Deployed(path, f"batch × {channels} × {takes}", difference)


class _OutputOnly(nn.Module):
    """A network that has no transformer, without its second result, which is None."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[0]


def _difference(found: Any, expected: Any) -> float:
    """Return the largest difference of all outputs; NaN if a number is NaN."""
    single = isinstance(expected, Tensor)
    pairs = [(found, expected)] if single else zip(found, expected, strict=True)
    return torch.stack([(a - b).abs().max() for a, b in pairs]).max().item()


def _run(path: Path, image: Tensor) -> Any:
    """Return what the file computes for images, in ONNX Runtime or loaded into PyTorch."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(image)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = [torch.from_numpy(array) for array in session.run(None, {"image": image.numpy()})]
    return found if len(found) > 1 else found[0]
