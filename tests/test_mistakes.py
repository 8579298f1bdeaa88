"""Ordinary mistakes end in one line that names what was given; no error is of another's making."""

import numpy as np
import pytest
import torch

from spatial_transformers import (
    CPAB,
    KERNELS,
    Affine,
    Displacement,
    InputError,
    Kernel,
    LocalisationCNN,
    LocalisationFCN,
    PiecewiseAffine,
    RegressionHead,
    Sampler,
    SpatialTransformer,
    VelocityField,
    box_points,
    enclosing_boxes,
    explain,
    from_opencv,
    make_transformation,
    normalise,
    sample,
    to_opencv,
    unnormalise,
    warp,
)

pytestmark = pytest.mark.traced  # the import hook would refuse wrong types before we do

AFFINE = Affine()
THETA = AFFINE.identity()[None]
IMAGE = torch.rand(1, 1, 20, 20)
GRID = torch.zeros(1, 3, 3, 2)
NETWORK = LocalisationCNN(AFFINE, in_channels=1)
STN = SpatialTransformer(NETWORK, AFFINE)
POINTS = torch.zeros(1, 4, 2)

#: Calls of one tensor, by the name that their message gives it.
TAKES_TENSORS = {
    "warp-image": ("image", lambda x: warp(x, THETA, AFFINE)),
    "warp-theta": ("theta", lambda x: warp(IMAGE, x, AFFINE)),
    "sample-image": ("image", lambda x: sample(x, GRID)),
    "sample-grid": ("grid", lambda x: sample(IMAGE, x)),
    "explain-image": ("image", lambda x: explain(x, THETA, AFFINE)),
    "explain-grid": ("grid", lambda x: explain(IMAGE, x)),
    "sampler-image": ("image", lambda x: Sampler()(x, GRID)),
    "sampler-grid": ("grid", lambda x: Sampler()(IMAGE, x)),
    "sampler-warp-image": ("image", lambda x: Sampler().warp(x, THETA, AFFINE)),
    "transformer": ("image", STN),
    "transformer-warp-image": ("image", lambda x: STN.warp(x, THETA)),
    "transformer-warp-theta": ("theta", lambda x: STN.warp(IMAGE, x)),
    "cnn": ("image", NETWORK),
    "fcn": ("image", LocalisationFCN(AFFINE, in_channels=1)),
    "head": ("features", RegressionHead(4, AFFINE)),
    "head-start": ("start", lambda x: RegressionHead(4, AFFINE, start=x)),
    "grid": ("theta", lambda x: AFFINE.grid(x, 4)),
    "pixels": ("theta", lambda x: AFFINE.pixels(x, 4, 4)),
    "spacing": ("theta", lambda x: AFFINE.spacing(x, 4, 4)),
    "points-theta": ("theta", lambda x: AFFINE.transform_points(x, POINTS)),
    "points": ("points", lambda x: AFFINE.transform_points(THETA, x)),
    "inverse-points": ("points", lambda x: AFFINE.inverse_points(THETA, x)),
    "inverse": ("theta", AFFINE.inverse),
    "compose": ("theta", lambda x: AFFINE.compose(THETA, x)),
    "describe": ("theta", AFFINE.describe),
    "matrix": ("theta", AFFINE.matrix),
    "from-matrix": ("", AFFINE.from_matrix),
    "normalise": ("pixels", lambda x: normalise(x, 4)),
    "unnormalise": ("points", lambda x: unnormalise(x, 4)),
    "box-points": ("box_points", box_points),
    "enclosing-boxes": ("enclosing_boxes", lambda x: enclosing_boxes(x, 1)),
    "to-opencv": ("matrices", lambda x: to_opencv(x, 4, 4)),
    "from-opencv": ("matrices", lambda x: from_opencv(x, 4, 4)),
}


@pytest.mark.parametrize(("name", "call"), TAKES_TENSORS.values(), ids=TAKES_TENSORS)
@pytest.mark.parametrize("given", [np.zeros((1, 1, 20, 20)), [[0.5]], None, "image"], ids=str)
def test_what_is_no_tensor(name, call, given):
    if name == "start" and not isinstance(given, str | np.ndarray):
        given = 0.5  # None is the identity, and a list of numbers is a start
    with pytest.raises(InputError) as error:
        call(given)
    assert name in str(error.value)
    assert f"was given a {type(given).__name__}" in str(error.value)
    assert "torch.from_numpy" in str(error.value)


CONSTANT = {"padding_mode": "constant"}
MISTAKES = {
    "mode-list": (lambda: warp(IMAGE, THETA, AFFINE, mode=["bilinear"]), r"mode \['bilinear'\]"),
    "padding-list": (lambda: sample(IMAGE, GRID, padding_mode=["zeros"]), r"padding_mode \['ze"),
    "gradient-list": (lambda: sample(IMAGE, GRID, gradient=["exact"]), r"gradient \['exact'\]"),
    "backend-list": (lambda: sample(IMAGE, GRID, backend=["cpu"]), r"backend \['cpu'\]"),
    "antialias-text": (lambda: sample(IMAGE, GRID, antialias="False"), "antialias 'False'"),
    "corners-numpy": (lambda: sample(IMAGE, GRID, align_corners=np.True_), "align_corners .*True"),
    "corners-none": (lambda: Sampler(align_corners=None), "align_corners None"),
    "corners-text": (lambda: warp(IMAGE, THETA, AFFINE, align_corners="no"), "align_corners 'no'"),
    "fill-complex": (lambda: sample(IMAGE, GRID, fill_value=1j, **CONSTANT), "fill_value 1j"),
    "phi-complex": (lambda: KERNELS["gaussian"].with_phi(1j), "phi 1j"),
    "phi-nan": (lambda: KERNELS["gaussian"].with_phi(float("nan")), "phi nan"),
    "phi-text": (lambda: KERNELS["gaussian"].with_phi("0.5"), "phi '0.5'"),
    "phi-integers": (lambda: KERNELS["gaussian"].with_phi(torch.tensor([1])), "int64"),
    "kernel-phi": (lambda: Kernel(torch.abs, 1, phi=torch.tensor([1j])), "complex64"),
    "start-complex": (lambda: RegressionHead(2, AFFINE, start=THETA[0] * 1j), "complex64"),
    "start-bool": (lambda: RegressionHead(2, AFFINE, start=THETA[0] > 0), "torch.bool"),
    "channels": (lambda: LocalisationCNN(AFFINE, in_channels=0), "in_channels=0"),
    "channels-float": (lambda: LocalisationFCN(AFFINE, in_channels=1.5), "in_channels=1.5"),
    "filters": (lambda: LocalisationCNN(AFFINE, in_channels=1, filters=0), "filters=0"),
    "hidden": (lambda: LocalisationFCN(AFFINE, in_channels=1, hidden=(8, 0)), "hidden=0"),
    "perturbation": (lambda: RegressionHead(2, AFFINE, perturbation=torch.inf), "perturbation inf"),
    "perturbed-less": (lambda: RegressionHead(2, AFFINE, perturbation=-0.1), "perturbation -0.1"),
    "three-channels": (lambda: NETWORK(IMAGE.expand(1, 3, 20, 20)), "1 channels .* 3 channels"),
    "double": (lambda: STN(IMAGE.double()), "torch.float32 was given .* torch.float64"),
    "box-one": (lambda: enclosing_boxes(torch.zeros(1, 4, 1), 2), r"\(1, 4, 1\).* 2 or 3"),
    "box-five": (lambda: enclosing_boxes(torch.zeros(1, 4, 5), 2), r"\(1, 4, 5\).* 2 or 3"),
    "box-bool": (lambda: box_points(torch.ones(1, 2, 4) > 0), "torch.bool"),
    "steps": (lambda: VelocityField(4, steps=150), r"steps=150\).* 0 to 30"),
    "more-steps": (lambda: CPAB(4, steps=10**7), r"steps=10000000\).* 1 to 10000"),
    "triangles": (lambda: PiecewiseAffine(80), "12482 triangles; give at most 5000"),
    "parts": (lambda: make_transformation("+".join(["affine"] * 3000)), "3000 parts"),
    "a-long-name": (lambda: make_transformation("affin" * 3000), r"transformation 'affinaffin.*…"),
    "many-entries": (lambda: Displacement((900, 900)).grid(THETA, 4), r"give \(N, 1620000\)$"),
    "large": (lambda: warp(IMAGE, THETA, AFFINE, size=60_000), "60000 was asked .* 3,600,000,000"),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_means_something_else(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert len(str(error.value)) < 500


def test_a_million_entries_are_quoted_in_a_line():
    with pytest.raises(InputError, match=r"size \(1, 1, 1") as error:
        warp(IMAGE, THETA, AFFINE, size=(1,) * 1_000_000)
    assert len(str(error.value)) < 400


def test_autocast_converts_images_itself():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert STN(IMAGE.bfloat16()).dtype == torch.bfloat16
