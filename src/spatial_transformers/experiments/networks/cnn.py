"""The paper's CNN (appendix A.4): conv 9×9 – max 2 – conv 7×7 – max 2 – classifier.

Ours normalises each batch after pooling, where a quarter of the numbers are left. Its first
convolution has a quarter of the second one's filters: of as many parameters, that errs less often
than as many filters in both. Images below 28 pixels get the kernels 5×5 and 3×3, since the paper's
would leave them nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CNN(nn.Sequential):
    """Two convolutions, the second one of `width` filters, and a classifier of one channel."""

    def __init__(self, size: int, width: int, classes: int):
        first, second = (9, 7) if size >= 28 else (5, 3)
        left = ((size - first + 1) // 2 - second + 1) // 2
        narrow = max(1, width // 4)
        super().__init__(
            OneChannelConvolution(1, narrow, first, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, width, second, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * left * left, classes),
        )


class OneChannelConvolution(nn.Conv2d):
    """A convolution of one channel, as one of k channels that are its shifts along x.

    A spatial transformer needs the image's gradient, which takes PyTorch four times as long of one
    channel, on processors.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution (N, width, H', W') of images (N, 1, H, W)."""
        kernel = self.kernel_size[1]
        width = input.shape[3] - kernel + 1
        shifts = torch.cat([input[..., i : i + width] for i in range(kernel)], 1)
        shifts = shifts.contiguous(memory_format=torch.channels_last)
        return F.conv2d(shifts, self.weight.transpose(1, 3).contiguous(), self.bias)
