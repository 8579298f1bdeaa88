"""What a random warp refuses, in one line that says what to give."""

import math

import numpy as np
import pytest
import torch

from spatial_transformers import (
    InputError,
    Polar,
    RandomWarp,
    Sampler,
    ThinPlateSpline,
)

IMAGE = torch.rand(1, 8, 8)

#: What is refused, and a word of the cure.
OPTIONS = {
    "rotation=30": ({"rotation": 30}, r"\(lowest, highest\) in degrees"),
    "rotation-reversed": ({"rotation": (30, -30)}, "in degrees"),
    "rotation-nan": ({"rotation": (math.nan, 0.0)}, "degrees"),
    "scale-0": ({"scale": (0.0, 1.0)}, "factors above 0"),
    "scale-per-axis": ({"scale": ((1, 2), (1, 2))}, "factors above 0"),
    "stretch": ({"stretch": ((1, 2), (1, 2), (1, 2))}, "or 2 such pairs"),
    "shear": ({"shear": (-90, 0)}, "between -90 and 90"),
    "translation-text": ({"translation": "0.1"}, "shares of the image's side"),
    "perspective": ({"perspective": (-0.5, 0.5)}, "less than 1"),
    "flip-number": ({"flip": 0.5}, r"\(0.5, 0\)"),
    "flip-share": ({"flip": (0.5, 2)}, "probability along each axis"),
    "bend": ({"bend": -1.0}, "give a share"),
    "family-alone": ({"family": "affine"}, "give bend"),
    "family-ndim": ({"family": ThinPlateSpline(ndim=3), "bend": 0.1}, "of 2 dimensions"),
    "family-polar": ({"family": Polar(), "bend": 0.1}, "identity moves no point"),
    "family-name": ({"family": "spiral", "bend": 0.1}, "known: translation"),
    "p": ({"p": 1.5}, "from 0 to 1"),
    "ndim": ({"ndim": 4}, "2 or 3"),
    "size": ({"size": (0, 5)}, r"give \(H, W\)"),
    "sampler": ({"sampler": "bicubic"}, "a Sampler"),
    "mask_sampler": ({"mask_sampler": "nearest"}, "a Sampler"),
    "align_corners": ({"mask_sampler": Sampler(align_corners=True)}, "both the same"),
    "coordinates": ({"coordinates": "xywh"}, "normalised, pixels, edges"),
    "seed": ({"seed": -1}, "0 or more"),
}
CALLS = {
    "array": (lambda w: w(np.zeros((1, 8, 8))), "torch.from_numpy"),
    "shape": (lambda w: w(torch.zeros(8, 8)), r"give \(C, H, W\) or \(N, C, H, W\)"),
    "no-image": (lambda w: w({"label": 3}), "no image"),
    "array-mask": (lambda w: w((IMAGE, np.zeros((8, 8)))), "torch.from_numpy"),
    "mask-batch": (lambda w: w((IMAGE.expand(2, 1, 8, 8), torch.zeros(3, 8, 8))), "batches of 3"),
    "boxes": (lambda w: w({"image": IMAGE, "boxes": torch.zeros(2, 5)}), r"give \(K, 4\)"),
    "points": (lambda w: w({"image": IMAGE[None], "points": torch.zeros(2, 3)}), r"\(1, K, 2\)"),
    "list": (lambda w: w({"image": IMAGE, "boxes": [torch.zeros(2, 4)]}), "give a tensor"),
    "five": (lambda w: w((IMAGE, None, None, None, IMAGE)), "in a dict"),
    "key": (lambda w: w(IMAGE, key=(1, 2)), "whole number for each"),
    "key-float": (lambda w: w(IMAGE, key=torch.tensor([0.5])), "whole number"),
    "key-large": (lambda w: w(IMAGE, key=2**63), "64 bits"),
    "key-text": (lambda w: w(IMAGE, key="first"), "whole number"),
    "soft-labels": (lambda w: w((IMAGE[None], torch.rand(1, 10))), "labels in a dict"),
    "key-and-generator": (lambda w: w(IMAGE, key=1, generator=torch.Generator()), "one of them"),
}


@pytest.mark.traced
@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options_say_what_to_give(name):
    options, cure = OPTIONS[name]
    with pytest.raises(InputError, match=cure) as error:
        RandomWarp(**options)
    assert "\n" not in str(error.value)


@pytest.mark.traced
@pytest.mark.parametrize("name", CALLS)
def test_wrong_samples_say_what_to_give(name):
    call, cure = CALLS[name]
    with pytest.raises(InputError, match=cure) as error:
        call(RandomWarp(rotation=(-5, 5)))
    assert "\n" not in str(error.value)
