"""The paper's distortion R: rotation by U(-90°, 90°), on the fly and in batches."""

import math

import torch
from torch import Tensor

from spatial_transformers import Affine, warp

from .draws import uniform

LARGEST_ANGLE = 90.0  # degrees; the range is second-hand, from re-implementations that agree


def rotate(
    images: Tensor, sample: Tensor, *, size: int, share: float, seed: int, epoch: int
) -> Tensor:
    """Turn each image about its centre by its own angle, onto a black canvas.

    Args:
        images: (N, C, H, W), square.
        sample: (N,) numbers that name the samples; with seed and epoch they decide the angles.
        size: height and width of the canvas in pixels.
        share: the part of the canvas's width that the image spans.
        seed: of the data.
        epoch: a new epoch turns the same sample differently.

    """
    angle = uniform(
        -LARGEST_ANGLE, LARGEST_ANGLE, seed=seed, epoch=epoch, sample=sample, draw=0
    ).mul(math.pi / 180)
    cos, sin = angle.cos() / share, angle.sin() / share
    zero = torch.zeros_like(cos)
    theta = torch.stack((cos, -sin, zero, sin, cos, zero), -1)
    return warp(images, theta.to(images), Affine(), size=size)
