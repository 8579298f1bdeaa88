"""Folds batch normalisation into the convolutions before it, without which a step takes longer."""

from collections.abc import Mapping

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(network: nn.Module, pairs: Mapping[str, str]) -> None:
    """Fold all normalisation as it is in evaluation, wherever a module has such a pair.

    Args:
        network: whose modules are changed in place.
        pairs: convolutions by their name in a module, and the normalisation behind each.

    """
    network.eval()
    for module in [*network.modules()]:
        for convolution, norm in pairs.items():
            if hasattr(module, convolution):
                folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
                setattr(module, convolution, folded.requires_grad_())  # its bias, too
                setattr(module, norm, nn.Identity())
    network.train()
