"""Score trained networks on inputs that another program made: `python docs/score_others.py RUNS`.

RUNS holds a folder per experiment, as `stn reproduce` fills it; --data is that of MNIST. OpenCV or
SciPy distorts all test digits by numpy's random numbers (2,000 of them to volumes), and the errors
are written to `results/others.json` beside those of the experiment's own test inputs; what it says
of runs that are not in RUNS stays.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from spatial_transformers._files import write_json
from spatial_transformers.experiments import metrics, reproduce, run
from spatial_transformers.experiments.data.digits import mnist
from spatial_transformers.experiments.recipe import Recipe

Array = NDArray[Any]
VOLUMES = 2_000  # of 60×60×60 voxels, which SciPy takes a minute to fill
RESULTS = Path(__file__).parent / "results" / "others.json"


def warped(image: Array, draw: Generator) -> Array:
    """Return a digit under a homography (OpenCV): corners moved by up to a fifth of the side."""
    corners = np.array([[0, 0], [28, 0], [28, 28], [0, 28]], np.float32)
    moved = corners + draw.uniform(-5.6, 5.6, (4, 2)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners - 0.5, moved - 0.5)
    return cv2.warpPerspective(image, matrix, (28, 28), flags=cv2.INTER_LINEAR)[None]


def homographies(images: Array, labels: Array, draw: Generator) -> tuple[list[Array], Array]:
    """Return digits under homographies."""
    return [warped(image, draw) for image in images], labels


def posed(image: Array, draw: Generator) -> Array:
    """Return a digit that is turned, scaled and placed on 42×42 pixels (SciPy)."""
    angle, scale = np.deg2rad(draw.uniform(-45, 45)), draw.uniform(0.7, 1.2)
    room = 21 - 14 * scale
    centre = 20.5 + draw.uniform(-room, room, 2)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    offset = 13.5 - matrix @ centre
    return ndimage.affine_transform(image, matrix, offset, (42, 42), order=1, mode="grid-constant")


def sums(images: Array, labels: Array, draw: Generator) -> tuple[list[Array], Array]:
    """Return pairs of digits in two channels, and their sums."""
    partners = draw.permutation(len(images))
    pairs = zip(images, images[partners], strict=True)
    canvases = [np.stack([posed(image, draw) for image in pair]) for pair in pairs]
    return canvases, labels + labels[partners]


def pictures(images: Array, labels: Array, draw: Generator) -> tuple[list[Array], Array]:
    """Return two digits, one of 0 to 4 and one of 5 to 9, apart on clutter (OpenCV)."""
    few = np.flatnonzero(labels < 5)
    partners = draw.choice(np.flatnonzero(labels >= 5), len(few))
    canvases = []
    for pair in zip(few, partners, strict=True):
        along = np.add(np.sort(draw.uniform(0, 16, 2)), [0, 16])
        corners = np.stack((along, draw.uniform(0, 32, 2)), 1)[:, :: draw.choice([1, -1])]
        canvas: Array = np.zeros((48, 48), np.float32)
        for number, corner in zip(pair, corners, strict=True):
            matrix = np.array([[16 / 28, 0, corner[0] - 3 / 14], [0, 16 / 28, corner[1] - 3 / 14]])
            part = cv2.warpAffine(images[number], matrix, (48, 48), flags=cv2.INTER_LINEAR)
            canvas = np.maximum(canvas, part)
        for other in images[draw.integers(len(images), size=8)]:
            (top, left), (row, column) = draw.integers(23, size=2), draw.integers(43, size=2)
            place = np.s_[row : row + 6, column : column + 6]
            canvas[place] = np.maximum(canvas[place], other[top : top + 6, left : left + 6])
        canvases.append(canvas[None])
    return canvases, 5 * labels[few] + labels[partners] - 5


def bodies(images: Array, labels: Array, draw: Generator) -> tuple[list[Array], Array]:
    """Return digits as bodies, turned and placed in volumes (SciPy)."""
    some, volumes = draw.permutation(len(images))[:VOLUMES], []
    for image in images[some]:
        turn = Rotation.from_euler("XYZ", draw.uniform(-75, 75, 3), degrees=True).as_matrix()
        centre = 29.5 + draw.uniform(-16, 16, 3)
        body = np.broadcast_to(image, (12, 28, 28))
        offset = np.array([5.5, 13.5, 13.5]) - turn @ centre
        volume = ndimage.affine_transform(
            body, turn, offset, (60, 60, 60), order=1, mode="grid-constant"
        )
        volumes.append(volume[None])
    return volumes, labels[some]


MADE: dict[str, Callable[[Array, Array, Generator], tuple[list[Array], Array]]] = {
    "inverse-compositional": homographies,
    "mnist-addition": sums,
    "two-parts": pictures,
    "mnist-3d": bodies,
}


@torch.no_grad()
def error(recipe: Recipe, folder: Path, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the share of inputs that the network of a run misreads, in percent."""
    _, network = run.load(folder)
    read = [network(part)[0].argmax(1) for part in inputs.split(100)]
    return round(100 * (torch.cat(read) != targets).double().mean().item(), 2)


def main() -> None:
    """Score what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    test = mnist(given.data).test
    images, labels = test.inputs[:, 0].numpy() / np.float32(255), test.targets.numpy()
    found: dict[str, dict[str, dict[str, float]]] = {}
    if RESULTS.is_file():
        found = json.loads(RESULTS.read_text())
    for experiment, made in MADE.items():
        if not (given.runs / experiment).is_dir():
            continue
        drawn, targets = made(images, labels, np.random.default_rng(0))
        inputs = torch.from_numpy(np.stack(drawn))
        for cell, runs in reproduce.finished(reproduce.cells(experiment), given.runs / experiment):
            for facts in runs:
                name = f"{cell.name}/{facts['recipe']['seed']}"
                folder = given.runs / experiment / name
                recipe = type(cell.recipe).from_json(facts["recipe"], folder)
                there = metrics.read(folder / "metrics.json", recipe)["test_error"]
                here = error(recipe, folder, inputs, torch.from_numpy(targets))
                found.setdefault(experiment, {})[name] = {"own": round(there, 2), "others": here}
                print(f"{experiment}, {name}: {there:.2f} % of its own, {here:.2f} % of others")
    write_json(RESULTS, found)


if __name__ == "__main__":
    main()
