"""Similarities; oracle: scikit-image's SimilarityTransform, and algebra in 3-D."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from skimage.transform import SimilarityTransform
from torch.testing import assert_close

from spatial_transformers import InputError, Similarity

N = 50


def test_matrix_is_scikit_images():
    theta = torch.randn(N, 4, dtype=torch.float64)
    theta[:, 0] = theta[:, 0].abs() + 0.1
    expected = [
        SimilarityTransform(scale=s, rotation=r, translation=(x, y)).params[:2]
        for s, r, x, y in theta.tolist()
    ]
    matrix = Similarity().matrix(theta)
    assert_close(matrix, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-14)
    back = Similarity().from_matrix(matrix)
    turns = (theta - back)[:, 1] / (2 * torch.pi)
    assert_close(turns, turns.round(), rtol=0, atol=1e-12)
    assert_close(back[:, [0, 2, 3]], theta[:, [0, 2, 3]])


def test_matrix_in_3d():
    theta = torch.randn(N, 7, dtype=torch.float64)
    turn = torch.from_numpy(Rotation.from_rotvec(theta[:, 1:4].numpy()).as_matrix())
    expected = torch.cat((theta[:, :1, None] * turn, theta[:, 4:, None]), -1)
    assert_close(Similarity(3).matrix(theta), expected, rtol=0, atol=1e-14)


def test_describe_reads_scale_and_rotation():
    parts = Similarity().describe(torch.tensor([[0.5, torch.pi / 4, 0.0, -0.4]]))
    expected = {"scale": 0.5, "rotation (deg)": 45.0}
    expected |= {"translation x (%)": 0.0, "translation y (%)": -20.0}
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected)


def test_a_mirror_in_3d_inverts_and_is_described():
    theta = torch.tensor([[-2.0, 0.1, 0.2, 0.3, 0.4, 0.0, 0.0]])
    points = torch.rand(1, 5, 3)
    back = Similarity(3).inverse(theta)
    assert_close(back[:, 0], torch.tensor([-0.5]))
    moved = Similarity(3).transform_points(theta, points)
    assert_close(Similarity(3).transform_points(back, moved), points)
    assert Similarity(3).describe(theta)["scale"].item() == -2


@pytest.mark.traced
def test_a_sheared_matrix_is_named():
    sheared = torch.tensor([[[1.0, 0.3, 0.0], [0.0, 1.0, 0.0]]])
    with pytest.raises(InputError, match="sample 0 of the batch is not of this family"):
        Similarity().from_matrix(sheared)
