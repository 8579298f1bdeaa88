"""Convolutions of the paper's networks in forms that train faster on processors.

Both equal an `nn.Conv2d` without padding or stride, in values, gradients and parameters.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class OneChannelConvolution(nn.Conv2d):
    """A convolution of one channel, computed as one of k channels: the channel's shifts along x.

    A spatial transformer needs the image's gradient. On processors, PyTorch takes four times as
    long for it with one channel.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution (N, width, H', W') of images (N, 1, H, W)."""
        kernel = self.kernel_size[1]
        one = torch.eye(input.shape[3], dtype=input.dtype, device=input.device)
        shifted = input[:, 0] @ one.unfold(1, kernel, 1).flatten(1)  # (N, H, W' · k)
        channels_last = shifted.unflatten(2, (-1, kernel)).permute(0, 3, 1, 2)  # (N, k, H, W')
        return F.conv2d(channels_last, self.weight.transpose(1, 3).contiguous(), self.bias)


class LargeKernelConvolution(nn.Conv2d):
    """A convolution without bias whose kernel may be larger than its result.

    Where it is larger, the weights' gradient is computed as a smaller convolution, in which samples
    and channels are exchanged. On processors that takes a quarter of PyTorch's time.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution (N, width, H', W') of (N, C, H, W)."""
        larger = all(2 * k > n + 1 for n, k in zip(input.shape[2:], self.kernel_size, strict=True))
        if larger and self.training and input.device.type == "cpu":
            return _LargeKernel.apply(input, self.weight.to(input.dtype))
        return super().forward(input)


class _LargeKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        return F.conv2d(image, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        (slope,), (image, weight) = grads, ctx.saved_tensors
        images, slopes = (
            x.transpose(0, 1).contiguous(memory_format=torch.channels_last) for x in (image, slope)
        )
        return F.conv_transpose2d(slope, weight), F.conv2d(images, slopes).transpose(0, 1)
