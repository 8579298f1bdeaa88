"""Changes of training images that leave their class as it is: in place, and in light."""

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers import Affine, warp

from .distortion import rotation
from .draws import Draws


def jittered(images: Tensor, draws: Draws, strength: float) -> Tensor:
    """Return images that are turned, scaled and moved.

    At a strength of 1 they are turned by up to 15°, and along each axis scaled by up to 15 % and
    moved by up to 7.5 % of their side. The pixels at their edges are repeated beyond them.
    """
    height, width = images.shape[2:]
    turn = rotation(draws.uniform("turn", -15, 15)[:, 0] * strength)
    turn = turn * turn.new_tensor([[1, height / width], [width / height, 1]])  # of pixels
    scale = 1 + strength * draws.uniform("scale", -0.15, 0.15, 2)
    move = strength * draws.uniform("move", -0.15, 0.15, 2)
    theta = torch.cat((turn * scale[:, None], move[..., None]), 2).flatten(1)
    return warp(images, theta.to(images), Affine(), padding_mode="border")


def lit(images: Tensor, draws: Draws, strength: float) -> Tensor:
    """Return images in [0, 1] in other light, colours and sharpness.

    At a strength of 1 the exponent of their values is up to e^0.6 or down to e^-0.6, a colour is up
    to 15 % brighter or darker, and a side of the image up to 50 %, in any direction. It is mixed
    with itself as blurred over 3×3 pixels.
    """

    def uniform(purpose: str, low: float, high: float, count: int = 1) -> Tensor:
        return strength * draws.uniform(purpose, low, high, count).to(images)[..., None, None]

    x, y = ((torch.arange(n, device=images.device) + 0.5) * 2 / n - 1 for n in images.shape[:1:-1])
    across, down = uniform("shade", -0.5, 0.5, 2).split(1, 1)
    images = images.clamp(min=1e-4) ** uniform("exponent", -0.6, 0.6).exp()
    images = images * (1 + uniform("colours", -0.15, 0.15, 3))
    images = images * (1 + across * x + down * y[:, None])
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    blurred = F.avg_pool2d(padded, 3, 1)
    return torch.lerp(images, blurred, uniform("blur", 0, 1).clamp(max=1)).clamp(0, 1)
