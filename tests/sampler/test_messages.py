"""Bad input is refused with what was asked, what was found and what to do; oracle: the text."""

import pytest
import torch

from spatial_transformers import Affine, InputError, explain, sample, warp

pytestmark = pytest.mark.traced

IMAGE = torch.zeros(2, 3, 5, 4)
VOLUME = torch.zeros(2, 3, 5, 4, 6)
GRID = torch.zeros(2, 7, 8, 2)
THETA = Affine().identity()[None]


def _sample(image=IMAGE, grid=GRID, **options):
    return lambda: sample(image, grid, **options)


def _warp(image=IMAGE, theta=THETA, ndim=2, **options):
    return lambda: warp(image, theta, Affine(ndim), **options)


CASES = {
    "theta-width": (_warp(theta=torch.zeros(1, 5)), ["Affine", "(1, 5)", "give (N, 6)", "m11"]),
    "theta-dims": (_warp(theta=torch.zeros(6)), ["Affine", "(6,)", "give (N, 6)"]),
    "theta-matrix": (_warp(theta=torch.zeros(1, 2, 3)), ["(1, 2, 3)", "give (N, 6)"]),
    "theta-integer": (_warp(theta=THETA.long()), ["int64 theta", "give a floating dtype"]),
    "theta-batch": (_warp(theta=THETA.expand(3, 6)), ["theta", "batches of 2 and 3", "or 1"]),
    "theta-empty": (_warp(theta=THETA[:0]), ["theta", "batches of 2 and 0"]),
    "warp-volume": (_warp(VOLUME), ["Affine", "(2, 3, 5, 4, 6)", "give (N, C, H, W)"]),
    "warp-plane": (
        _warp(ndim=3, theta=torch.zeros(1, 12)),
        ["Affine", "(2, 3, 5, 4)", "give (N, C, D, H, W)"],
    ),
    "warp-no-batch": (_warp(IMAGE[0]), ["(3, 5, 4)", "give (N, C, H, W)"]),
    "warp-size": (_warp(size=(4, 5, 6)), ["(4, 5, 6)", "give (H, W)"]),
    "warp-size-zero": (_warp(size=(4, 0)), ["(4, 0)", "give (H, W)", "at least 1 pixel"]),
    "warp-size-negative": (_warp(size=-1), ["-1", "give (H, W)", "at least 1 pixel"]),
    "grid-dims": (_sample(VOLUME), ["(2, 3, 5, 4, 6)", "(2, 7, 8, 2)", "give floating"]),
    "grid-width": (_sample(grid=GRID[..., :1]), ["(2, 7, 8, 1)", "(N, *target, 2)"]),
    "grid-integer": (_sample(grid=GRID.long()), ["int64", "give floating coordinates"]),
    "grid-batch": (_sample(grid=GRID[[0] * 3]), ["grid", "batches of 2 and 3", "equal"]),
    "grid-empty": (_sample(grid=GRID[:, :0]), ["(2, 0, 8, 2)", "at least one pixel"]),
    "fill-infinite": (
        _warp(padding_mode="constant", fill_value=-float("inf")),
        ["fill_value -inf", "finite or NaN"],
    ),
    "fill-list-infinite": (
        _warp(padding_mode="constant", fill_value=[0.0, float("inf"), 0.0]),
        ["fill_value [0.0, inf, 0.0]", "finite or NaN"],
    ),
    "fill-too-large": (
        _warp(padding_mode="constant", fill_value=[1e39]),
        ["fill_value [1e+39]", "torch.float32", "cannot hold it"],
    ),
    "fill-complex": (
        _warp(padding_mode="constant", fill_value=[1 + 2j]),
        ["fill_value [(1+2j)]", "give a number"],
    ),
    "fill-complex-tensor": (
        _warp(padding_mode="constant", fill_value=torch.ones(3) * 1j),
        ["fill_value tensor(", "give a number"],
    ),
    "fill-text": (_warp(padding_mode="constant", fill_value="1"), ["fill_value '1'"]),
    "image-float8": (
        _warp(IMAGE.to(torch.float8_e5m2)),
        ["torch.float8_e5m2", "give float16"],
    ),
    "explain-backend": (
        lambda: explain(IMAGE, THETA, Affine(), backend="fast"),
        ["backend 'fast'", "known backends: cpu, triton, aten, reference"],
    ),
    "image-empty": (_sample(IMAGE[..., :0]), ["(2, 3, 5, 0)", "at least one pixel"]),
    "image-dims": (_sample(IMAGE[0, 0]), ["(5, 4)", "give (N, C, *spatial)"]),
    "mode": (_sample(mode="linear"), ["mode 'linear'", "nearest, bilinear"]),
    "padding": (
        _sample(padding_mode="circular"),
        ["padding_mode 'circular'", "zeros, constant, border, reflection, wrap, renormalise"],
    ),
    "backend": (_warp(backend="cuda"), ["backend 'cuda'", "known backends: ", "reference"]),
    "integer-bilinear": (_sample(IMAGE.byte()), ["uint8", "bilinear", "use mode='nearest'"]),
    "bool-bilinear": (_warp(IMAGE.bool()), ["bool", "bilinear", "use mode='nearest'"]),
    "fill-missing": (_sample(padding_mode="constant"), ["'constant'", "without a fill_value"]),
    "fill-misplaced": (_warp(fill_value=1.0), ["padding_mode 'zeros'", "goes with 'constant'"]),
    "fill-width": (
        _sample(padding_mode="constant", fill_value=[1.0, 2.0]),
        ["2 fill values", "3 channels", "one per channel"],
    ),
    "fill-tensor": (
        _warp(padding_mode="constant", fill_value=torch.zeros(2, 2)),
        ["4 fill values", "3 channels", "one per channel"],
    ),
    "explain-mode": (
        lambda: explain(IMAGE, THETA, Affine(), mode="linear"),
        ["mode 'linear'", "bilinear"],
    ),
    "explain-image": (lambda: explain(IMAGE[0, 0], GRID), ["(5, 4)", "give (N, C, *spatial)"]),
}


@pytest.mark.parametrize(("call", "fragments"), CASES.values(), ids=CASES)
def test_message(call, fragments):
    with pytest.raises(InputError) as error:
        call()
    for fragment in fragments:
        assert fragment in str(error.value)


@pytest.mark.parametrize(
    "fill", [-1, 300, [-1.0], [300.0], 0.5, torch.tensor([0.5]), 2**70, torch.nan]
)
def test_a_fill_that_the_image_cannot_hold(fill):
    """An integer image must not wrap or cut a fill value in silence."""
    with pytest.raises(InputError, match="fill"):
        _sample(IMAGE.byte(), mode="nearest", padding_mode="constant", fill_value=fill)()


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)
