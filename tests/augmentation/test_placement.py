"""What is drawn; oracles: OpenCV, SciPy, and the distributions asked for."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from scipy.stats import binomtest, kstest
from torch.testing import assert_close

from augmentation.cases import SIZE, smooth
from spatial_transformers import (
    Affine,
    RandomWarp,
    Sampler,
    to_opencv,
)

MANY = torch.arange(2000)


def fixed(**values):
    """Return ranges of one value, or of one value per axis."""
    return {
        name: tuple((v, v) for v in value) if isinstance(value, tuple) else (value, value)
        for name, value in values.items()
    }


def about_the_centre(linear, move=(0.0, 0.0)):
    """Return OpenCV's matrix of a linear map of the content, and a move in pixels."""
    centre = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    return np.column_stack((linear, centre + move - linear @ centre))


def seen_by_opencv(matrix):
    # OpenCV rounds where it samples to 1/32 pixel, so the image is smooth
    return torch.from_numpy(cv2.warpAffine(smooth(SIZE), matrix, SIZE[::-1]))


def assert_seen(augment, expected):
    image = torch.from_numpy(smooth(SIZE))[None]
    assert_close(augment(image)[0], expected, rtol=0, atol=5e-3)
    assert (augment(image)[0] - image[0]).abs().max() > 0.2


@pytest.mark.parametrize("align_corners", [False, True])
def test_turns_scales_and_moves_are_those_of_opencv(align_corners):
    matrix = cv2.getRotationMatrix2D(((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), 30, 0.7)
    extent = np.array(SIZE[::-1]) - align_corners
    matrix[:, 2] += np.array([0.1, -0.05]) * extent
    ranges = fixed(rotation=30, scale=0.7, translation=(0.1, -0.05))
    sampler = Sampler(align_corners=align_corners)
    assert_seen(RandomWarp(**ranges, sampler=sampler), seen_by_opencv(matrix))


def test_stretches_shears_and_mirrors_are_those_of_opencv():
    stretch = np.diag([1.3, 0.8])
    assert_seen(RandomWarp(**fixed(stretch=(1.3, 0.8))), seen_by_opencv(about_the_centre(stretch)))
    lean = np.array([[1, -math.tan(math.radians(20))], [0, 1]])
    assert_seen(RandomWarp(**fixed(shear=20)), seen_by_opencv(about_the_centre(lean)))
    image = torch.rand(3, *SIZE)
    for flip, axes in ((1, 0), [2]), ((0, 1), [1]), ((1, 1), [1, 2]):
        assert_close(RandomWarp(flip=flip)(image), image.flip(axes))


def test_perspective_is_that_of_opencv():
    """The content is moved first, and then seen in perspective."""
    tilt, move = np.array([0.3, -0.2]), np.array([0.1, 0.2])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    seen = corners / (1 + corners @ tilt)[:, None] - 2 * move
    half = np.array(SIZE[::-1]) / 2
    target, source = ((c * half + half - 0.5).astype(np.float32) for c in (corners, seen))
    expected = cv2.getPerspectiveTransform(source, target)
    augment = RandomWarp(**fixed(perspective=tuple(tilt), translation=tuple(move)))
    _, theta = augment(torch.zeros(1, *SIZE), return_theta=True)
    found = to_opencv(augment.transformation.matrix(theta.double()), SIZE, SIZE)[0].numpy()
    assert_close(found / found[2, 2], expected, rtol=0, atol=1e-3)


def test_volumes_turn_as_those_of_scipy():
    size, vector = (20, 26, 32), np.radians([20.0, -35.0, 50.0])
    volume = smooth(size)
    grid = Rotation.from_rotvec(vector).as_matrix()[::-1, ::-1] / 0.8  # (z, y, x), as arrays go
    centre = (np.array(size) - 1) / 2
    expected = affine_transform(volume, grid, centre - grid @ centre, order=1, mode="constant")
    augment = RandomWarp(ndim=3, **fixed(rotation=(20, -35, 50), scale=0.8))
    assert_close(augment(torch.from_numpy(volume)[None])[0].numpy(), expected, rtol=0, atol=1e-5)


def test_a_turn_keeps_distances_in_pixels():
    augment = RandomWarp(rotation=(-180, 180), coordinates="pixels")
    points = torch.rand(len(MANY), 5, 2) * 30
    moved = augment({"image": torch.zeros(len(MANY), 1, 4, 40), "points": points})["points"]
    assert_close(torch.cdist(moved, moved), torch.cdist(points, points), rtol=0, atol=1e-3)


def drawn(augment, keys=MANY):
    return augment(torch.zeros(len(keys), 1, 8, 8), key=keys, return_theta=True)[1].double()


def test_ranges_are_kept_and_filled():
    """Parts of square images are read off by the library's own geometric family."""
    ranges = {
        "rotation": (-30, 60),
        "scale": (0.5, 2.0),
        "shear": (-10, 5),
        "translation": ((-0.1, 0.2), (0.0, 0.05)),
    }
    augment = RandomWarp(**ranges)
    theta = drawn(augment)
    matrix = augment.transformation.matrix(theta)
    parts = Affine(parameters="geometric").from_matrix(matrix).numpy()
    content = -0.5 * torch.linalg.solve(matrix[:, :, :2], matrix[:, :, 2:])[..., 0].numpy()
    found = {
        (-30, 60): np.degrees(parts[:, 0]),
        (math.log(0.5), math.log(2)): -np.log(parts[:, 1]),
        (-10, 5): np.degrees(np.arctan(parts[:, 3])),
        (-0.1, 0.2): content[:, 0],
        (0.0, 0.05): content[:, 1],
    }
    for (low, high), values in found.items():
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert kstest(values, "uniform", args=(low, high - low)).pvalue > 0.001
    np.testing.assert_allclose(parts[:, 1], parts[:, 2], rtol=1e-6)
    correlation = np.corrcoef(np.stack([*found.values()]))
    assert np.abs(correlation - np.eye(5)).max() < 0.1


@pytest.mark.parametrize("name", ["velocity-field", "free-form", None])
def test_bends_have_the_deviation_asked_for(name):
    theta = drawn(RandomWarp(bend=0.03, family=name), MANY[:200])
    assert kstest(theta.flatten().numpy(), "norm", args=(0, 0.06)).pvalue > 0.001


def test_p_and_flips_are_probabilities():
    augment = RandomWarp(flip=(0.3, 0.9), p=0.6)
    theta = drawn(augment)
    for entry, share in ((0, 0.18), (4, 0.54)):
        count = int((theta[:, entry] < 0).sum())
        assert binomtest(count, len(MANY), share).pvalue > 0.001
    still = (theta == augment.transformation.identity()).all(1)
    assert abs(still.double().mean() - 0.4 - 0.6 * 0.07) < 0.05
