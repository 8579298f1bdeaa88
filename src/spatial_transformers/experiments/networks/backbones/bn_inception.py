"""Inception with batch normalisation, the paper's backbone for birds; its weights are the user's.

Ioffe and Szegedy (2015), Figure 5. A block has up to four branches: 1×1, 3×3, two of 3×3, and a
pool; a 1×1 convolution narrows what the last three see or give. Parameters have the names of the
Caffe model, under which its weights are passed on: `inception_3a_3x3_reduce.weight`, and
`inception_3a_3x3_reduce_bn.weight` of the normalisation behind it. It reads blue, green and red,
from 0 to 255, less their means.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fold import fold

FEATURES = 1024
MEAN = (128 / 255, 117 / 255, 104 / 255)  # red, green, blue
DEVIATION = (1 / 255,) * 3


class Shape(NamedTuple):
    """Filters of a block's branches.

    Args:
        one: of the 1×1, none where the block halves the size.
        three: of the one that narrows, and of the 3×3 behind it.
        double: of the one that narrows, and of both 3×3 behind it.
        pool: the kind, which keeps the size if there is a projection.
        project: of the 1×1 behind the pool.

    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pool: str
    project: int


BLOCKS = {
    "3a": Shape(64, (64, 64), (64, 96), "mean", 32),
    "3b": Shape(64, (64, 96), (64, 96), "mean", 64),
    "3c": Shape(0, (128, 160), (64, 96), "max", 0),
    "4a": Shape(224, (64, 96), (96, 128), "mean", 128),
    "4b": Shape(192, (96, 128), (96, 128), "mean", 128),
    "4c": Shape(160, (128, 160), (128, 160), "mean", 128),
    "4d": Shape(96, (128, 192), (160, 192), "mean", 128),
    "4e": Shape(0, (128, 192), (192, 256), "max", 0),
    "5a": Shape(352, (192, 320), (160, 224), "mean", 128),
    "5b": Shape(352, (192, 320), (192, 224), "max", 128),
}


class BNInception(nn.Module):
    """Features (N, 1024, H / 32, W / 32) of images (N, 3, H, W): red, green, blue."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7, 2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        channels = 192
        for name, shape in BLOCKS.items():
            block, stride = f"inception_{name}", 1 if shape.one else 2
            if shape.one:
                self._add(f"{block}_1x1", channels, shape.one, 1)
                self._add(f"{block}_pool_proj", channels, shape.project, 1)
            self._add(f"{block}_3x3_reduce", channels, shape.three[0], 1)
            self._add(f"{block}_3x3", *shape.three, 3, stride)
            self._add(f"{block}_double_3x3_reduce", channels, shape.double[0], 1)
            self._add(f"{block}_double_3x3_1", *shape.double, 3)
            self._add(f"{block}_double_3x3_2", shape.double[1], shape.double[1], 3, stride)
            pooled = shape.project or channels
            channels = shape.one + shape.three[1] + shape.double[1] + pooled

    def _add(self, name: str, channels: int, filters: int, kernel: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2)
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(filters))

    def fold(self) -> None:
        """Fold the normalisation, as it is in evaluation, into the convolutions."""
        names = [name for name, module in self.named_children() if isinstance(module, nn.Conv2d)]
        fold(self, {name: f"{name}_bn" for name in names})

    def _after(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))

    def _block(self, name: str, shape: Shape, x: Tensor) -> Tensor:
        block = f"inception_{name}"
        three = self._after(f"{block}_3x3", self._after(f"{block}_3x3_reduce", x))
        double = self._after(f"{block}_double_3x3_reduce", x)
        for number in (1, 2):
            double = self._after(f"{block}_double_3x3_{number}", double)
        if not shape.one:
            odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)  # what the convolutions round up
            pooled = F.max_pool2d(F.pad(x, odd), 3, 2, ceil_mode=True)
            return torch.cat((three, double, pooled), 1)
        pool = F.avg_pool2d if shape.pool == "mean" else F.max_pool2d
        pooled = self._after(f"{block}_pool_proj", pool(x, 3, 1, 1))
        return torch.cat((self._after(f"{block}_1x1", x), three, double, pooled), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features at each place."""
        x = self._after("conv1_7x7_s2", image.flip(1))  # to blue, green, red
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self._after("conv2_3x3", self._after("conv2_3x3_reduce", x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for name, shape in BLOCKS.items():
            x = self._block(name, shape, x)
        return x
