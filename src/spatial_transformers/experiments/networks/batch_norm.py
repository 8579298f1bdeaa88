"""Batch normalisation by the statistics of the whole batch, of all processes that share it.

PyTorch's SyncBatchNorm runs on GPUs alone; this one wherever processes can add up.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that is the same for any number of processes with equal shares."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        x = input.to(self.weight.dtype)
        count = dist.get_world_size() * x.numel() / x.shape[1]
        mean = all_reduce(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        self._remember(mean, variance * (count / (count - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        momentum = self.momentum or 0.0
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None:
                running.lerp_(new, momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


def share_batches(network: nn.Module) -> None:
    """Let every batch normalisation of a network be the one above."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, BatchNorm(child.num_features))
