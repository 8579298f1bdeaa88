"""Any transformation, kernel and padding on any image: its sampling grid, and the output."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from spatial_transformers import InputError, Transformation, make_transformation, warp

from ..._drawing import grid_lines, in_words
from ..data.digits import shipped
from .pictures import at_most, shown, with_grid

#: As `warp` knows them; `constant` fills with a grey.
PADDING_MODES = ("zeros", "constant", "border", "reflection", "wrap", "renormalise")
MOST_KNOBS = 10  # entries of θ with a slider each; of a family with more, a draw decides
STRONGEST = 0.5  # standard deviation of a drawn θ
_GREY = 0.5
_SIDE = 256  # pixels of an image along its longer axis, and of its output
_LINES, _POINTS = 9, 49  # of the grid
_MOST_WORDS = 8  # lines


class Knob(NamedTuple):
    """A slider of one entry of θ."""

    label: str
    low: float
    high: float
    start: float
    unit: float = 1.0  # of the slider, in units of θ


class Explained(NamedTuple):
    """What is shown of one map of one image."""

    given: Image.Image  # with the sampling grid
    output: Image.Image
    words: str  # what θ does, a line per quantity


@cache
def samples() -> dict[str, Tensor]:
    """Return pictures that ship with scikit-learn, (C, H, W) in [0, 1], by name."""
    from sklearn.datasets import load_sample_image

    photographs = {
        name: torch.from_numpy(load_sample_image(f"{name}.jpg").copy()).movedim(-1, 0)[None] / 255
        for name in ("flower", "china")
    }
    digit = shipped(None, "rotated-digits").test.inputs[0].float() / 255
    small = {name: at_most(image, _SIDE)[0] for name, image in photographs.items()}
    return {**small, "digit": digit}


def knobs(name: str) -> list[Knob]:
    """Return the sliders of a family, or none where it has too many entries for that."""
    family = make_transformation(name)
    if family.num_parameters > MOST_KNOBS:
        return []
    return [
        _knob(entry, start)
        for entry, start in zip(family.entries, family.identity().tolist(), strict=True)
    ]


def _knob(entry: str, start: float) -> Knob:
    """Return a slider about the identity."""
    if entry == "rotation":
        return Knob("rotation (deg)", -180, 180, math.degrees(start), math.pi / 180)
    reach = 0.5 if entry.startswith("h3") else 1.0  # a perspective of 1 has the horizon inside
    return Knob(entry, start - reach, start + reach, start)


def theta_of(
    name: str, values: Sequence[float] = (), *, strength: float = 0.0, seed: float = 0
) -> tuple[Transformation, Tensor]:
    """Return a family and θ (1, P), by the values of its sliders, or drawn if it has none.

    A drawn θ lies about the identity, as that of `stn warp --random`.

    Raises:
        InputError: for an unknown family, and numbers that are too few or out of range.

    """
    family, known = make_transformation(name), knobs(name)
    if not known:
        if not 0 <= strength <= STRONGEST or not 0 <= seed < 1 << 32:
            raise InputError(
                f"strength {strength} and seed {seed} were asked for; give 0 to {STRONGEST}, and a "
                "seed from 0 below 2^32"
            )
        generator = torch.Generator().manual_seed(int(seed))
        noise = torch.randn(family.num_parameters, generator=generator)
        return family, (family.identity() + strength * noise)[None]
    if len(values) < len(known) or not all(map(math.isfinite, values)):
        raise InputError(f"{len(values)} numbers were given; {name} needs {len(known)} finite ones")
    given = [knob.unit * value for knob, value in zip(known, values, strict=False)]
    return family, torch.tensor([given])


@torch.inference_mode()
def explain(
    image: Tensor, family: Transformation, theta: Tensor, *, mode: Any, padding_mode: Any
) -> Explained:
    """Warp an image (C, H, W) by θ (1, P), and show the grid on it, the output, and θ in words.

    The names of kernel and padding are those of the page's menus, which `warp` checks.
    """
    image = at_most(image[None], _SIDE)
    output = warp(
        image,
        theta,
        family,
        mode=mode,
        padding_mode=padding_mode,
        fill_value=_GREY if padding_mode == "constant" else None,
    )
    words = in_words(family, theta)[0].splitlines()
    return Explained(
        with_grid(image[0], grid_lines(family, theta, _LINES, _POINTS)),
        shown(output[0]),
        "\n".join(words[:_MOST_WORDS]),
    )
