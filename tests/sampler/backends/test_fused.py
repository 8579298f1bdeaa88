"""What fused backends share: functions of B that are kept between calls; oracle: the reference."""

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import Structured, ThinPlateSpline, warp
from spatial_transformers.sampler.backends import functions

IMAGE = torch.rand(2, 1, 9, 8)


def _agrees(transformation, size=None):
    theta = torch.full((2, transformation.num_parameters), 0.05) + transformation.identity()
    options = {"size": size, "padding_mode": "border"}
    found = warp(IMAGE, theta, transformation, **options)
    due = warp(IMAGE, theta, transformation, backend="reference", **options)
    assert_close(found, due, rtol=0, atol=2e-5)


def _counted(monkeypatch, transformation):
    """Return the list of the sizes that the transformation's basis is computed for."""
    sizes, basis = [], type(transformation).basis

    def counted(self, size, **options):
        sizes.append(size)
        return basis(self, size, **options)

    monkeypatch.setattr(type(transformation), "basis", counted)
    return sizes


def test_functions_are_computed_once(monkeypatch):
    spline = ThinPlateSpline(3)
    sizes = _counted(monkeypatch, spline)
    for _ in range(3):
        _agrees(spline)
    assert len(sizes) == 1
    _agrees(spline, (5, 6))
    _agrees(spline)
    assert sizes == [(9, 8), (5, 6), (9, 8)]


def test_functions_follow_what_they_are_made_of():
    spline = ThinPlateSpline(torch.rand(9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    _agrees(spline)
    other = ThinPlateSpline(torch.rand(9, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    spline.load_state_dict(other.state_dict())
    _agrees(spline)
    structured = Structured(torch.rand(2, 4, 5))
    _agrees(structured)
    structured.functions.mul_(3)
    _agrees(structured)
    structured.functions = torch.rand(2, 4, 5)
    _agrees(structured)


@pytest.mark.parametrize("learned", [False, True])
def test_functions_in_inference_mode_serve_no_gradient(learned):
    structured = Structured(torch.rand(2, 4, 5), learned=learned)
    with torch.inference_mode():
        _agrees(structured)
    theta = structured.identity()[None].requires_grad_()
    warp(IMAGE, theta, structured).sum().backward()
    assert theta.grad is not None
    assert (structured in functions._LAST) is not learned
    if learned:
        assert structured.functions.grad is not None
