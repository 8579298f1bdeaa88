"""The paper's CNN (appendix A.4): conv 9×9 – max 2 – conv 7×7 – max 2 – classifier.

Ours normalises each batch after pooling, where a quarter of the numbers are left. Its first
convolution has 32 filters: with the same number of parameters, such a network errs less often than
one with equally many filters in both convolutions. For images below 28 pixels the kernels are 5×5
and 3×3, since the paper's would leave nothing of them, and the first convolution has a quarter of
the second one's filters.
"""

from torch import nn

from .convolution import LargeKernelConvolution, OneChannelConvolution


class CNN(nn.Sequential):
    """Two convolutions, the second of `width` filters, and a classifier."""

    def __init__(self, size: int, width: int, classes: int, channels: int = 1):
        first, second = (9, 7) if size >= 28 else (5, 3)
        left = ((size - first + 1) // 2 - second + 1) // 2
        narrow = 32 if size >= 28 else max(1, width // 4)
        convolution = OneChannelConvolution if channels == 1 else nn.Conv2d
        super().__init__(
            convolution(channels, narrow, first, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            LargeKernelConvolution(narrow, width, second, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * left * left, classes),
        )
