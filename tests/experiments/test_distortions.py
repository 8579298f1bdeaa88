"""The paper's distortions: against OpenCV and scipy, in range, and a function of their keys."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from spatial_transformers import Affine, ThinPlateSpline, warp
from spatial_transformers.experiments.data.distortion import Distortion, _bent, rotated, translated
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.distorted_mnist.distortions import (
    DISTORTIONS,
    elastic,
    projected,
    rotated_scaled_translated,
)
from spatial_transformers.experiments.registry import defaults, named

from .mnist import write_mnist

PIXEL = 2 / 28  # in normalised units
ON_60 = partial(translated, canvas=60)


class Given(Draws):
    """Draws that are given: {purpose: numbers}; all others are in the middle of their range."""

    def __init__(self, count=1, **numbers):
        super().__init__(0, 0, torch.arange(count))
        given = {key.replace("_", " "): value for key, value in numbers.items()}
        object.__setattr__(self, "numbers", given)  # Draws are frozen

    def uniform(self, purpose, low, high, count=1):
        given = self.numbers.get(purpose, [(low + high) / 2] * count)
        return torch.tensor(given, dtype=torch.float64).reshape(1, -1).expand(len(self.sample), -1)

    def normal(self, purpose, std, count=1):
        return self.uniform(purpose, 0, 0, count)

    def integers(self, purpose, low, high, count=1):
        return self.uniform(purpose, low, high, count).long()

    def of(self, part):
        return self


def draws(count, seed=0, epoch=0):
    return Draws(seed, epoch, torch.arange(count))


def smooth(size=28):
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((size, size)), 1)
    return np.pad(image[4:-4, 4:-4], 4).astype(np.float32)


def distorted(place, given, size=28, image=None):
    image = smooth() if image is None else image
    images = torch.from_numpy(image)[None, None]
    return Distortion(size, lambda _: place(given))(images, draws(1), images)[0, 0].numpy()


@pytest.mark.parametrize("degrees", [-73.0, 20.0, 90.0])
def test_rotation_against_scipy(degrees):
    expected = ndimage.rotate(smooth(), degrees, reshape=False, order=1)
    inside = np.hypot(*np.mgrid[-13.5:14, -13.5:14]) < 12
    found = distorted(rotated, Given(angle=[degrees]))
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)


def test_rotation_leaves_room_on_the_canvas():
    images = torch.ones(50, 1, 8, 8)
    turned = Distortion(32, lambda d: rotated(d, share=0.5))(images, draws(50), images)
    border = torch.cat([turned[..., :3, :], turned[..., -3:, :]])
    assert border.abs().max() == 0
    assert turned.sum((1, 2, 3)).allclose(torch.tensor(256.0), rtol=0.05)  # 16 × 16 pixels of 1


def test_rotation_scale_translation_against_opencv():
    angle, scale, position = 30.0, 0.8, (0.5, -1.0)
    matrix = cv2.getRotationMatrix2D((13.5, 13.5), angle, scale)
    room = (42 - 28 * scale) / 2
    matrix[:, 2] += 20.5 - 13.5 + room * np.array(position)
    expected = cv2.warpAffine(smooth(), matrix, (42, 42), flags=cv2.INTER_LINEAR)
    given = Given(angle=[angle], scale=[scale], position=position)
    found = distorted(rotated_scaled_translated, given, 42)
    np.testing.assert_allclose(found, expected, atol=0.02)  # OpenCV rounds to 1/32 pixel


def test_projection_against_opencv():
    moves = np.array([[3.0, 2.0], [-4.0, 1.0], [2.0, -5.0], [1.0, 3.0]])  # pixels
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 14.0
    matrix = cv2.getPerspectiveTransform(
        (corners + 13.5).astype(np.float32), (0.9 * corners + moves + 13.5).astype(np.float32)
    )
    expected = cv2.warpPerspective(smooth(), matrix, (28, 28), flags=cv2.INTER_LINEAR)
    given = Given(scale_0=[0.9], corners_0=(moves * PIXEL).ravel())
    np.testing.assert_allclose(distorted(projected, given), expected, atol=0.02)


def test_projections_see_the_whole_image():
    """Corners in convex position: every point of the image has a place, in front of the camera."""
    transformation, theta = projected(draws(2000))
    inside = torch.rand(1, 50, 2, dtype=torch.float64) * 2 - 1
    placed = transformation.transform_points(
        transformation.inverse(theta), inside.expand(2000, -1, -1)
    )
    assert placed.isfinite().all()


def test_projections_follow_their_figures():
    """Mean and spread of the corners, but for those that are drawn anew."""
    transformation, theta = projected(draws(5000))
    corners = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]], dtype=torch.float64)
    placed = transformation.inverse_points(theta, corners.expand(5000, -1, -1)) * 14
    assert (placed.mean(0) - 0.875 * 14 * corners[0]).abs().max() < 0.2
    spread = placed.std(0).mean() ** 2  # of a scale of std 0.25/√12, and of the corners
    assert abs(spread - (14 * 0.25) ** 2 / 12 - 5) < 0.3


def test_elastic_control_points():
    moves = torch.randn(16, 2, dtype=torch.float64) * 1.5 * PIXEL
    spline, theta = elastic(Given(scale=[0.8], points=moves.flatten().tolist()))
    points = spline.points.double()
    found = spline.double().transform_points(theta, points[None])
    torch.testing.assert_close(found[0], (points + moves) / 0.8, atol=1e-6, rtol=0)
    spline.float()


def test_translation_moves_whole_pixels():
    found = distorted(ON_60, Given(position=[5, 20]), 60)
    assert np.array_equal(found[20:48, 5:33], smooth())
    found[20:48, 5:33] = 0
    assert not found.any()


def test_clutter():
    """Six patches of other images, the brighter pixel on top."""
    others = torch.randint(256, (9, 1, 28, 28), dtype=torch.uint8)
    images = torch.rand(40, 1, 28, 28)
    clean = Distortion(60, ON_60)(images, draws(40), others)
    found = DISTORTIONS["TC"](images, draws(40), others)
    key = draws(40)
    source, top, left, row, column = (
        key.integers(purpose, 0, high, 6)
        for purpose, high in (
            ("patches", 9),
            ("patches' top", 23),
            ("patches' left", 23),
            ("patches' row", 55),
            ("patches' column", 55),
        )
    )
    for n in range(40):
        for k in range(6):
            y, x, v, u = (int(part[n, k]) for part in (row, column, top, left))
            patch = others[source[n, k], 0, v : v + 6, u : u + 6] / 255
            place = clean[n, 0, y : y + 6, x : x + 6]
            place.copy_(torch.maximum(place, patch))
    assert torch.equal(found, clean)


@pytest.mark.parametrize(
    ("place", "purpose", "low", "high"),
    [
        (rotated, "angle", -90, 90),
        (rotated_scaled_translated, "angle", -45, 45),
        (rotated_scaled_translated, "scale", 0.7, 1.2),
        (rotated_scaled_translated, "position", -1, 1),
        (elastic, "scale", 0.75, 1),
        (ON_60, "position", 0, 32),
    ],
)
def test_ranges(monkeypatch, place, purpose, low, high):
    seen = {}
    for name in ("uniform", "integers"):
        draw = getattr(Draws, name)

        def keep(*arguments, draw=draw):
            seen[arguments[1]] = draw(*arguments)
            return seen[arguments[1]]

        monkeypatch.setattr(Draws, name, keep)
    place(draws(5000))
    assert low <= seen[purpose].min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < seen[purpose].max() <= high


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("jitter", [0, 0.5])
def test_a_function_of_seed_epoch_and_sample(name, jitter):
    distortion = DISTORTIONS[name]
    images, others = torch.rand(12, 1, 28, 28), torch.rand(30, 1, 28, 28)

    def batch(part, seed=0, epoch=0):
        return distortion(images[part], Draws(seed, epoch, part), others, jitter=jitter)

    everything = torch.arange(12)
    together = batch(everything)
    assert together.shape == (12, 1, distortion.size, distortion.size)
    order = torch.randperm(12)
    apart = torch.cat([batch(part) for part in order.split(5)])
    torch.testing.assert_close(apart, together[order], atol=1e-6, rtol=0)
    for other in (batch(everything, seed=1), batch(everything, epoch=1)):
        assert (other - together).abs().flatten(1).max(1).values.min() > 0.1


def test_jitter_bends_but_little():
    image = np.zeros((28, 28), np.float32)
    image[8:20, 8:20] = 1
    images = torch.from_numpy(image).expand(500, 1, -1, -1)
    still = Distortion(28, lambda d: rotated(Given(500, angle=[0])))
    bent = still(images, draws(500), images, jitter=1.0)
    assert (still(images, draws(500), images) - images).abs().max() < 1e-5
    assert _centres_of_mass(bent).abs().max() < 0.15  # pixels
    assert 0.05 < (bent.sum((1, 2, 3)) / 144).std() < 0.25
    assert (bent - images).abs().mean() > 0.02


@pytest.mark.parametrize(
    ("epoch", "strength", "widest"),
    [(0, 1.0, 15), (3, 0.8, 15 + 75 * 0.6), (5, 0.6, 90), (9, 0.3, 90), (0, 0.0, 90)],
)
def test_r_widens_in_training(monkeypatch, epoch, strength, widest, tmp_path):
    """From a sixth of its range at the start to all of it halfway; scoring has all of it."""
    seen, place = [], DISTORTIONS["R"].place

    def watched(draws):
        seen.append(place(draws))
        return seen[-1]

    monkeypatch.setitem(DISTORTIONS, "R", replace(DISTORTIONS["R"], place=watched))
    data = named("distorted-mnist").data(
        defaults("distorted-mnist", epochs=10), write_mnist(tmp_path)
    )
    images = torch.rand(2000, 1, 28, 28)
    data.prepare(images, Draws(0, epoch, torch.arange(2000)), data.train, strength)
    matrix = seen[0][1].view(-1, 2, 3)
    angles = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]).rad2deg()
    assert 0.98 * widest < angles.abs().max() <= widest + 1e-6


def test_a_shift_does_without_jitter():
    images, keys = torch.zeros(500, 1, 28, 28), draws(500)
    images[:, :, 9:17, 12:20] = 1
    moved = Distortion(28, rotated)(images, keys, images, shift=0.7)
    assert _centres_of_mass(moved).std(0).tolist() == pytest.approx([0.7, 0.7], abs=0.1)


@pytest.mark.parametrize("patches", [0, 1])
def test_with_a_shift_the_centre_of_mass_does_not_tell_the_angle(patches):
    """Of a square that lies off the centre, in the frame of the canvas and in that of the image."""
    images = torch.zeros(2000, 1, 28, 28)
    images[:, :, 9:17, 12:20] = 1
    keys, black = draws(2000), torch.zeros(1, 1, 28, 28)
    for shift, off in (0, (2, -1)), (0.7, (0, 0)):
        distortion = Distortion(28, rotated, patches)
        turned = distortion(images, keys, black, jitter=1.0, shift=shift)
        theta = rotated(keys)[1].view(-1, 2, 3)[..., :2].float()
        on_canvas = _centres_of_mass(turned)
        in_image = (theta @ on_canvas[..., None])[..., 0]
        torch.testing.assert_close(in_image.mean(0), torch.tensor(off).float(), atol=0.1, rtol=0)
        if shift:
            for found in (on_canvas, in_image):
                assert found.mean(0).abs().max() < 0.1
                torch.testing.assert_close(found.T.cov(), 0.49 * torch.eye(2), atol=0.06, rtol=0)


def _centres_of_mass(images):
    """Return where images (N, 1, 28, 28) have their mass, (x, y) in pixels from the centre."""
    at, mass = torch.arange(28.0) - 13.5, images[:, 0]
    moments = torch.stack(((mass.sum(1) * at).sum(1), (mass.sum(2) * at).sum(1)), 1)
    return moments / mass.sum((1, 2))[:, None]


def test_jitter_leaves_digits_and_clutter_alike_in_sharpness():
    """Of white noise, neighbouring pixels differ as much in bent digits as in pieces."""
    noise, black, keys = torch.rand(400, 1, 28, 28).round(), torch.zeros(400, 1, 28, 28), draws(400)
    cluttered = Distortion(60, ON_60, patches=1)
    x, y = (keys.integers("position", 0, 33, 2) + 8).unbind(1)  # well within the digit
    bent = _differences(cluttered(noise, keys, black, jitter=1.0), x, y)
    x, y = (keys.integers(f"patches' {axis}", 0, 55)[:, 0] for axis in ("column", "row"))
    shifted, whole = (_differences(cluttered(black, keys, noise, jitter=j), x, y) for j in (1.0, 0))
    assert bent == pytest.approx(shifted, rel=0.05)
    assert shifted < 0.9 * whole


def _differences(canvas, left, top):
    """Return the mean difference of pixels side by side, in 6×6 of them."""
    found = [c[0, y : y + 6, x : x + 6] for c, x, y in zip(canvas, left, top, strict=True)]
    return torch.stack(found).diff(dim=2).abs().mean().item()


@pytest.mark.parametrize("size", [8, 28])
def test_jitter_is_a_spline_with_the_centre_of_mass_put_back(size):
    moves = np.random.default_rng(1).normal(0, 0.05, 50)
    theta = torch.tensor(moves[None], dtype=torch.float32)
    spline, regular = ThinPlateSpline(5), Affine().grid(Affine().identity()[None], size)
    image = smooth() if size == 28 else smooth(16)[4:-4, 4:-4]
    images = torch.from_numpy(image)[None, None]
    bent = warp(images, theta, spline, size=size)[0, 0].numpy()
    moved = np.subtract(ndimage.center_of_mass(bent), ndimage.center_of_mass(image))
    shift = torch.tensor(moved[::-1].copy() * 2 / size, dtype=torch.float32)
    expected = spline.transform_points(theta, (regular + shift).flatten(1, 2)).view_as(regular)
    found = _bent(regular, images, Given(1, jitter_of_points=moves), 1.0)
    torch.testing.assert_close(found, expected, atol=4e-3, rtol=0)
    assert (expected - regular).abs().max() > 0.05
