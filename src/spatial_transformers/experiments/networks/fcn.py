"""The paper's FCN (appendix A.4): two hidden layers. Ours normalises each batch behind them."""

from torch import nn


class FCN(nn.Sequential):
    """Two fully connected hidden layers and a classifier."""

    def __init__(self, size: int, width: int, classes: int, channels: int = 1):
        super().__init__(
            nn.Flatten(),
            nn.Linear(channels * size * size, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )
