"""OpenCV's matrices; oracles: OpenCV's own warps and point maps, SimpleITK's resampling."""

import cv2
import numpy as np
import pytest
import SimpleITK
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, Projective, from_opencv, to_opencv, warp
from spatial_transformers.grid.numerics.matrices import square
from spatial_transformers.grid.regular import half_extents, pixel_frame

corners = pytest.mark.parametrize("align_corners", [False, True])
directions = pytest.mark.parametrize("inverse_map", [False, True])
families = pytest.mark.parametrize(("make", "spread"), [(Affine, 0.3), (Projective, 0.15)])

SIZE, SOURCE = (31, 53), (40, 60)  # of the target, of the source


def _theta(transformation, spread, n=1):
    identity = transformation.identity().double()
    return identity + spread * (2 * torch.rand(n, len(identity), dtype=torch.float64) - 1)


def _smooth(size):
    """Return a smooth image (float32) that vanishes on its border, so that it goes on outside."""
    axes = np.meshgrid(*[np.linspace(0, np.pi, n) for n in size], indexing="ij")
    window = np.prod([np.sin(a) for a in axes], 0)
    waves = sum(np.sin((2 + i) * a + i) for i, a in enumerate(axes))
    return (100 * window * waves).astype(np.float32)


def _largest_slopes(image):
    """Add up the largest slope along each axis: a linear interpolation has none above it."""
    return sum(float(np.abs(np.diff(image, axis=a)).max()) for a in range(image.ndim))


def _normalised(pixels, size, align_corners=False):
    """Turn pixel coordinates (..., 2) of an image into normalised ones."""
    extents, centre = half_extents(size, align_corners), pixel_frame(size, align_corners).centre
    return (torch.as_tensor(pixels, dtype=torch.float64) - torch.tensor(centre)) / torch.tensor(
        extents, dtype=torch.float64
    )


@corners
@directions
@families
def test_opencv_warps_as_warp_does(make, spread, inverse_map, align_corners):
    image = _smooth(SOURCE)
    transformation = make()
    theta = _theta(transformation, spread)
    options = {"align_corners": align_corners, "inverse_map": inverse_map}
    matrix = to_opencv(transformation.matrix(theta), SIZE, SOURCE, **options)[0].numpy()
    opencv = cv2.warpPerspective if transformation.perspective else cv2.warpAffine
    flags = cv2.INTER_LINEAR | (cv2.WARP_INVERSE_MAP if inverse_map else 0)
    seen = torch.from_numpy(opencv(image, matrix, SIZE[::-1], flags=flags))
    warped = warp(
        torch.from_numpy(image)[None, None],
        theta,
        transformation,
        size=SIZE,
        align_corners=align_corners,
    )[0, 0]
    assert (warped != 0).float().mean() > 0.5
    # OpenCV 4 rounds where it samples to 1/32 pixel: half of it, along the largest slopes
    assert_close(warped, seen, rtol=0, atol=_largest_slopes(image) / 64 + 1e-3)


@corners
@directions
@families
def test_opencv_maps_points_as_transform_points_does(make, spread, inverse_map, align_corners):
    transformation = make()
    theta = _theta(transformation, spread, n=4)
    matrices = to_opencv(
        transformation.matrix(theta),
        SIZE,
        SOURCE,
        align_corners=align_corners,
        inverse_map=inverse_map,
    )
    size, other = (SIZE, SOURCE) if inverse_map else (SOURCE, SIZE)
    map_points = transformation.transform_points if inverse_map else transformation.inverse_points
    pixels = np.random.default_rng(0).uniform(0, size[::-1], (1, 20, 2))
    mapped = map_points(theta, _normalised(pixels, size, align_corners))
    opencv = cv2.perspectiveTransform if transformation.perspective else cv2.transform
    for matrix, expected in zip(matrices.numpy(), mapped, strict=True):
        seen = _normalised(opencv(pixels, matrix)[0], other, align_corners)
        assert_close(seen, expected, rtol=1e-9, atol=1e-9)


@corners
@directions
@families
def test_from_opencv_undoes_to_opencv(make, spread, inverse_map, align_corners):
    transformation = make()
    theta = _theta(transformation, spread, n=8)
    options = {"align_corners": align_corners, "inverse_map": inverse_map}
    there = to_opencv(transformation.matrix(theta), SIZE, SOURCE, **options)
    back = from_opencv(there, SIZE, SOURCE, **options)
    assert_close(back, transformation.matrix(theta), rtol=0, atol=1e-12)
    assert_close(transformation.from_matrix(back), theta, rtol=0, atol=1e-12)


@corners
@pytest.mark.parametrize("k", [3, 4])
def test_opencv_matrix_of_point_pairs(k, align_corners):
    corner = np.array([[0, 0], [59, 0], [59, 39], [0, 39]])[:k]
    source = (corner + np.random.default_rng(k).uniform(-9, 9, (k, 2))).astype(np.float32)
    target = np.array([[0, 0], [52, 0], [52, 30], [0, 30]], np.float32)[:k]
    solve = cv2.getPerspectiveTransform if k == 4 else cv2.getAffineTransform
    matrix = torch.from_numpy(solve(source, target))[None]
    transformation = Projective() if k == 4 else Affine()
    theta = transformation.from_matrix(
        from_opencv(matrix, SIZE, SOURCE, align_corners=align_corners)
    )
    there, back = (
        _normalised(points, size, align_corners)[None]
        for points, size in ((target, SIZE), (source, SOURCE))
    )
    assert_close(transformation.transform_points(theta, there), back, rtol=0, atol=1e-6)


@corners
def test_volumes_are_resampled_as_by_simpleitk(align_corners):
    affine, size, source = Affine(3), (7, 9, 11), (10, 8, 12)
    volume, theta = _smooth(source), _theta(affine, 0.2)
    options = {"align_corners": align_corners, "inverse_map": True}
    matrix = to_opencv(affine.matrix(theta), size, source, **options)[0].numpy()
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(matrix[:, :3].flatten().tolist())
    transform.SetTranslation(matrix[:, 3].tolist())
    reference = SimpleITK.Image(*size[::-1], SimpleITK.sitkFloat32)
    seen = SimpleITK.Resample(
        SimpleITK.GetImageFromArray(volume), reference, transform, SimpleITK.sitkLinear
    )
    image = torch.from_numpy(volume)[None, None]
    warped = warp(image, theta, affine, size=size, align_corners=align_corners)[0, 0]
    assert (warped != 0).float().mean() > 0.3
    assert_close(warped, torch.from_numpy(SimpleITK.GetArrayFromImage(seen)), rtol=0, atol=1e-3)


@directions
@pytest.mark.parametrize("ndim", [2, 3])
def test_shapes_are_kept_and_both_shapes_agree(ndim, inverse_map):
    size, source = (7, 9, 11)[:ndim], (10, 8, 12)[:ndim]
    compact = Affine(ndim).matrix(_theta(Affine(ndim), 0.3, n=3))
    for convert in (to_opencv, from_opencv):
        short = convert(compact, size, source, inverse_map=inverse_map)
        full = convert(square(compact), size, source, inverse_map=inverse_map)
        assert short.shape == compact.shape
        assert_close(square(short), full, rtol=0, atol=1e-12)
        assert convert(compact[:0], size, source, inverse_map=inverse_map).shape[0] == 0
        assert convert(compact.half(), size, source).dtype == torch.float32


@directions
@corners
@pytest.mark.parametrize("convert", [to_opencv, from_opencv])
def test_the_identity_between_equal_sizes_is_exact(convert, align_corners, inverse_map):
    for ndim in (2, 3):
        identity = torch.eye(ndim, ndim + 1)[None]
        for n in (*range(1, 70), 82, 224, 299, 1023):
            size = (n, n + 1, 3 * n)[:ndim]
            found = convert(
                identity, size, size, align_corners=align_corners, inverse_map=inverse_map
            )
            assert_identical(found, identity)


@directions
@corners
def test_axes_of_one_pixel(align_corners, inverse_map):
    matrix = torch.tensor([[[0.5, 0.0, 0.25], [0.0, 1.0, 0.0]]])
    options = {"align_corners": align_corners, "inverse_map": inverse_map}
    there = to_opencv(matrix, (1, 8), (1, 16), **options)
    assert_close(from_opencv(there, (1, 8), (1, 16), **options), matrix)
    line = torch.rand(1, 1, 1, 16)
    flags = cv2.INTER_LINEAR | (cv2.WARP_INVERSE_MAP if inverse_map else 0)
    seen = cv2.warpAffine(line[0, 0].numpy(), there[0].numpy(), (8, 1), flags=flags)
    warped = warp(line, matrix.flatten(1), Affine(), size=(1, 8), align_corners=align_corners)
    assert_close(warped[0, 0], torch.from_numpy(seen), rtol=0, atol=1 / 64 + 1e-6)


def test_projective_matrices_count_up_to_scale():
    projective = Projective()
    theta = _theta(projective, 0.15, n=4)
    pixels = to_opencv(projective.matrix(theta), SIZE, SOURCE)
    assert_identical(pixels[:, -1, -1], torch.ones(4).double())
    for factor in (2.0, -1.0, 1e-3):
        found = from_opencv(factor * pixels, SIZE, SOURCE)
        assert_close(projective.from_matrix(found), theta, rtol=0, atol=1e-10)


def test_a_horizon_through_the_first_pixel_stays_finite():
    # of 4 pixels, the first is at -0.75, where w = 1 + x / 0.75 is 0
    matrix = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [1 / 0.75, 0, 1]]], dtype=torch.float64)
    pixels = to_opencv(matrix, 4, 4, inverse_map=True)
    pixels[0, 2, 2] = 0  # but for rounding
    again = from_opencv(pixels, 4, 4, inverse_map=True)
    assert_close(again, matrix)
    shifted = matrix.clone()
    shifted[0, 2] = torch.tensor([1.0, 0.0, 0.0])  # w = 0 at the centre of the target
    pixels = from_opencv(to_opencv(shifted, 4, 4, inverse_map=True), 4, 4, inverse_map=True)
    assert pixels.isfinite().all()


def test_gradients_pass():
    matrix = Projective().matrix(_theta(Projective(), 0.15, n=2)).requires_grad_()
    for convert in (to_opencv, from_opencv):
        for inverse_map in (False, True):
            assert gradcheck(
                lambda m, c=convert, i=inverse_map: c(m, (5, 7), (6, 4), inverse_map=i), matrix
            )


@pytest.mark.traced
@pytest.mark.parametrize("convert", [to_opencv, from_opencv])
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 2), (1, 2, 2), (2, 4, 5), (1, 1, 2, 3), (3,)])
def test_wrong_shapes_say_what_to_give(convert, shape):
    with pytest.raises(InputError) as error:
        convert(torch.zeros(shape), 8, 8)
    assert str(shape) in str(error.value)
    assert "(N, 2, 3), (N, 3, 3), (N, 3, 4) or (N, 4, 4)" in str(error.value)
    assert "matrix[None]" in str(error.value)


@pytest.mark.traced
@pytest.mark.parametrize("convert", [to_opencv, from_opencv])
def test_wrong_sizes_and_integers_say_what_to_give(convert):
    for sizes in (((4, 4, 4), 8), (8, (4, 4, 4)), (0, 8), (8, (8, -1))):
        with pytest.raises(InputError, match=r"give \(H, W\)"):
            convert(torch.eye(2, 3)[None], *sizes)
    with pytest.raises(InputError, match=f"{convert.__name__}.*torch.int64.*floating"):
        convert(torch.eye(3, dtype=torch.int64)[None], 8, 8)


@pytest.mark.traced
@pytest.mark.parametrize("convert", [to_opencv, from_opencv])
@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_singular_maps_are_named(convert, bad):
    matrix = torch.eye(2, 3).repeat(4, 1, 1)
    matrix[1:3] = bad
    expected = rf"{convert.__name__} was asked for, but the map of sample 1, 2 of the batch"
    with pytest.raises(InputError, match=expected):
        convert(matrix, 8, 8)
    convert(matrix, 8, 8, inverse_map=True)
