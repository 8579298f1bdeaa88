"""Batch normalisation by the statistics of the whole batch, over all processes that share it.

PyTorch's SyncBatchNorm runs on GPUs only. This one runs wherever processes can add up tensors.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(_BatchNorm):
    """Batch normalisation that is the same for any number of processes with equal shares."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C) or (N, C, H, W)."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        x = input.to(self.weight.dtype)
        count = dist.get_world_size() * x.numel() / x.shape[1]
        across = [axis for axis in range(x.dim()) if axis != 1]
        per_channel = (-1,) + (1,) * (x.dim() - 2)
        mean = all_reduce(x.sum(across)) / count
        centred = x - mean.view(per_channel)
        variance = all_reduce(centred.square().sum(across)) / count
        self._remember(mean, variance * (count / (count - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(per_channel) + self.bias.view(per_channel)).to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of axes behind the channels."""

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        momentum = self.momentum or 0.0
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None:
                running.lerp_(new, momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


def share_batches(network: nn.Module) -> None:
    """Replace every batch normalisation of a network by a `BatchNorm`."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                setattr(module, name, BatchNorm(child.num_features))
