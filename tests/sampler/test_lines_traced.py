"""Lines of text: what is refused, and graphs; oracle: the eager call."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, ThinPlateSpline, text_rows, warp_lines

pytestmark = pytest.mark.traced
SPLINE = ThinPlateSpline(text_rows(16, margin=0.05), parameters="positions")


def _lines(**options):
    theta = options.pop("theta", torch.zeros(2, 6))
    family = options.pop("family", Affine())
    return warp_lines(torch.rand(2, 1, 8, 8), theta, family, **options)


MISTAKES = {
    "height": (lambda: _lines(height=0), "height=0 was given to warp_lines; give whole"),
    "height-float": (lambda: _lines(height=32.0), "height=32.0"),
    "multiple": (lambda: _lines(multiple_of=True), "multiple_of=True"),
    "smallest": (lambda: _lines(min_width=-1), "min_width=-1"),
    "largest": (lambda: _lines(max_width=None), "max_width=None"),
    "limits": (lambda: _lines(min_width=9, max_width=8), "min_width=9 and max_width=8"),
    "widths": (lambda: _lines(widths=[3]), r"widths \[3\] were given to warp_lines for 2 lines"),
    "widths-one": (lambda: _lines(widths=7), "widths 7 were given"),
    "widths-zero": (lambda: _lines(widths=[3, 0]), "widths=0 was given"),
    "widths-float": (lambda: _lines(widths=torch.ones(2)), "widths=1.0 was given"),
    "sampler": (lambda: _lines(sampler="bilinear"), "sampler='bilinear' was given"),
    "batch": (lambda: _lines(theta=torch.zeros(3, 6)), "batches of 2 and 3"),
    "theta": (lambda: _lines(theta=torch.zeros(2, 5)), r"theta of shape \(2, 5\)"),
    "theta-list": (lambda: _lines(theta=[[0.0]]), "was given a list"),
    "family": (lambda: _lines(family="affine"), "'affine' was given as a transformation"),
    "large": (lambda: _lines(widths=[10**9, 1]), "1000000000"),
    "volume": (
        lambda: warp_lines(torch.rand(1, 1, 4, 4, 4), torch.zeros(1, 12), Affine(3)),
        r"Affine\(ndim=3\) was given to warp_lines; give .*2-D",
    ),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert len(str(error.value)) < 300


class Straightened(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.widths = widths

    def forward(self, images, theta):
        return warp_lines(images, theta, SPLINE, height=8, widths=self.widths)


def test_graphs_with_given_widths():
    images, theta = torch.rand(2, 1, 16, 40), SPLINE.identity().expand(2, -1)
    due, numbers = Straightened([20, 12])(images, theta)
    compiled = torch.compile(Straightened([20, 12]), fullgraph=True, backend="aot_eager")
    exported = torch.export.export(Straightened([20, 12]), (images, theta)).module()
    for found in (compiled(images, theta), exported(images, theta)):
        assert_close(found[0], due, rtol=0, atol=1e-5)
        assert_identical(found[1], numbers)
    with pytest.raises(Exception, match="exported without widths"):
        torch.export.export(Straightened(None), (images, theta))
    gradient = torch.func.grad(lambda t: warp_lines(images, t, SPLINE, height=8)[0].sum())
    assert gradient(theta).isfinite().all()
