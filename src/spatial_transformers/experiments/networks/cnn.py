"""The paper's CNN (appendix A.4): conv 9×9 – max 2 – conv 7×7 – max 2 – classifier.

Ours adds batch normalisation after each convolution. Images below 28 pixels get the kernels 5×5 and
3×3, since the paper's would leave them nothing.
"""

from torch import nn


class CNN(nn.Sequential):
    """Two convolutions and a classifier, on one-channel images."""

    def __init__(self, size: int, width: int, classes: int):
        first, second = (9, 7) if size >= 28 else (5, 3)
        left = ((size - first + 1) // 2 - second + 1) // 2
        super().__init__(
            nn.Conv2d(1, width, first, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, second, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(width * left * left, classes),
        )
