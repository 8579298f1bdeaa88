"""Mistakes that a type checker finds: a line of each, with what it says of it.

This file is read by pyright only. Lines without a remark are right.
"""

import torch
from typing_extensions import assert_type

from spatial_transformers import (
    KERNELS,
    Affine,
    AppendTheta,
    Kernel,
    LocalisationCNN,
    LocalisationFCN,
    Parallel,
    PiecewiseAffine,
    Recurrent,
    RegressionHead,
    Sampler,
    Series,
    SpatialTransformer,
    ThinPlateSpline,
    Transformation,
    VelocityField,
    __version__,
    export,
    sample,
    warp,
)

image, theta, grid = torch.rand(2, 1, 8, 8), torch.zeros(2, 6), torch.zeros(2, 8, 8, 2)
affine = Affine()
localisation = LocalisationCNN(affine, in_channels=1)
stn = SpatialTransformer(localisation, affine)
assert_type(__version__, str)

# What a call returns is what `forward` does.
assert_type(stn(image), torch.Tensor)
assert_type(stn(image, return_theta=True), tuple[torch.Tensor, torch.Tensor])
assert_type(localisation(image), torch.Tensor)
assert_type(LocalisationFCN(affine, in_channels=1)(image), torch.Tensor)
assert_type(RegressionHead(4, affine)(torch.rand(2, 4)), torch.Tensor)
assert_type(AppendTheta(affine)(torch.rand(2, 4), theta), torch.Tensor)
assert_type(Sampler()(image, grid), torch.Tensor)
assert_type(affine(theta, (8, 8)), torch.Tensor)
assert_type(KERNELS["bicubic"](grid, (-0.5,)), torch.Tensor)
assert_type(Series(stn, stn)(image), torch.Tensor)
assert_type(Recurrent(stn, 2)(image, return_theta=True), tuple[torch.Tensor, list[torch.Tensor]])
assert_type(Parallel(stn, stn)(image), torch.Tensor)
assert_type(Parallel(stn, join=None)(image), list[torch.Tensor])
assert_type(Parallel(stn)(image, return_theta=True), tuple[torch.Tensor, list[torch.Tensor]])
assert_type(Affine.from_config(affine.to_config()), Affine)
assert_type(Transformation.from_config({}), Transformation)

warp(image, stn(image, return_theta=True), affine)  # error: to parameter "theta"
print(stn(image).theta)  # error: Cannot access attribute "theta"
print(stn(image, return_theta=True).shape)  # error: Cannot access attribute "shape"
stn(image, theta)  # error: No overloads for "forward"
stn(image, return_thetas=True)  # error: No overloads for "forward"
stn()  # error: No overloads for "forward"
print(Parallel(stn, join=None)(image).shape)  # error: Cannot access attribute "shape"
affine(theta)  # error: Argument missing for parameter "size"
Sampler()(image)  # error: Argument missing for parameter "grid"

# A missing θ, and arguments in a wrong place.
warp(image, affine)  # error: Argument missing for parameter "transformation"
warp(image, theta)  # error: Argument missing for parameter "transformation"
warp(image, transformation=affine)  # error: Argument missing for parameter "theta"
affine.grid((8, 8))  # error: Argument missing for parameter "size"
warp(image, affine, theta)  # error: to parameter "theta"
warp(image, theta, affine, (8, 8))  # error: Expected 3 positional arguments
SpatialTransformer(affine, localisation)  # error: to parameter "transformation"
SpatialTransformer(localisation)  # error: Argument missing for parameter "transformation"
LocalisationCNN(affine)  # error: Argument missing for parameter "in_channels"

# Misspelt names.
warp(image, theta, affine, mode="bilinaer")  # error: to parameter "mode"
sample(image, grid, mode="cubic")  # error: to parameter "mode"
Sampler("linear")  # error: to parameter "mode"
Sampler(padding_mode="zero")  # error: to parameter "padding_mode"
Sampler(padding_mode=("border", "warp"))  # error: to parameter "padding_mode"
Sampler(gradient="linearised")  # error: to parameter "gradient"
Sampler(backend="cuda")  # error: to parameter "backend"
Affine(parameters="geometry")  # error: to parameter "parameters"
ThinPlateSpline(parameters="position")  # error: to parameter "parameters"
PiecewiseAffine(outside="NaN")  # error: to parameter "outside"
VelocityField(4, degree=2)  # error: to parameter "degree"
Affine(bounds={"tx": 0.5})  # error: to parameter "bounds"
LocalisationCNN(affine, in_channels=1, norm="layer")  # error: to parameter "norm"
Parallel(stn, join="list")  # error: No overloads for "__init__"
export(stn, image, "stn.onnx", dynamic="size")  # error: to parameter "dynamic"
Affine(2, (-1, 1))  # error: Expected 1 positional argument
Affine(n_dim=3)  # error: No parameter named "n_dim"

# Right.
warp(image, theta, affine, mode="lanczos3", padding_mode=["border", "wrap"], antialias=True)
warp(image, theta, affine, mode=KERNELS["gaussian"].with_phi(0.7), size=5)
Sampler(Kernel(torch.cos, 1), padding_mode="constant", fill_value=(0.1, 0.2))
Affine(bounds={"tx": (-0.5, None)})
LocalisationCNN(affine, in_channels=1, start=[1.0, 0, 0, 0, 1, 0], norm=None)
