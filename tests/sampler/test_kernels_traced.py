"""Every kernel traced or transformed, and what is refused; oracles: eager, differences, the text.

Paddings take turns, so that each kernel and each padding occurs, not every pair of them. Each
kernel is compiled, exported, or exported as a sampler; with `--all` it is all three.
"""

from functools import partial
from itertools import cycle

import pytest
import torch
from torch import nn
from torch.func import hessian, jvp, vmap
from torch.testing import assert_close

from spatial_transformers import KERNELS, Affine, InputError, Kernel, sample, warp
from spatial_transformers.sampler.padding import PADDING_MODES
from tracing import compile_and_compare, export_and_compare

from .oracles import PHI, normalise, off_kinks

pytestmark = pytest.mark.traced

PAIRS = [*zip(KERNELS, cycle(PADDING_MODES), strict=False)]
each_kernel = pytest.mark.parametrize(("mode", "padding_mode"), PAIRS)


def _every_third(start):
    """Ask for every third kernel, and for the others with `--all`: tracing takes seconds each."""
    pairs = [
        pair if k % 3 == start else pytest.param(*pair, marks=pytest.mark.only_all)
        for k, pair in enumerate(PAIRS)
    ]
    return pytest.mark.parametrize(("mode", "padding_mode"), pairs)


each_phi = pytest.mark.parametrize(
    ("mode", "padding_mode"), [*zip(sorted(PHI), ("constant", "wrap", "renormalise"), strict=True)]
)

# Nothing traced first is 1, a number of taps, of axes or of entries of Φ, or equal to another size.
SIZES = ((13, 19), (9, 17), (21, 12))
BATCH, CHANNELS = 14, 15


def _fill(padding_mode):
    return 0.7 if padding_mode == "constant" else None


def _theta(n, size):
    """Draw affine maps that keep samples off kinks."""
    affine = Affine(len(size))
    while True:
        theta = affine.identity().double() + torch.randn(n, affine.num_parameters).double() / 4
        pixels = affine.pixels(theta, size, size) * 2
        if ((pixels - pixels.round()).abs() > 1e-5).all():
            return theta


def _cases(count):
    return [
        (torch.randn(BATCH + k, CHANNELS, *size).double(), _theta(BATCH + k, size))
        for k, size in enumerate(SIZES[:count])
    ]


def _lines(count):
    sizes = ((23, 37), (50, 19), (12, 60))[:count]
    return [
        (
            torch.randn(BATCH + k, CHANNELS, m).double(),
            normalise(off_kinks(BATCH + k, (m,), (n,)), (m,), False),
        )
        for k, (m, n) in enumerate(sizes)
    ]


def _sampler(mode, padding_mode):
    def call(image, grid):
        fill = _fill(padding_mode)  # written here, a constant of the graph, not an input of it
        return sample(image, grid, mode=mode, padding_mode=padding_mode, fill_value=fill)

    return call


def _warp(image, theta, phi=None, *, mode, padding_mode):
    kernel = mode if phi is None else KERNELS[mode].with_phi(phi)
    options = {"mode": kernel, "padding_mode": padding_mode, "fill_value": _fill(padding_mode)}
    return warp(image, theta, Affine(image.ndim - 2), **options)


def _phi(mode, n):
    return torch.tensor(PHI[mode]).double() * (0.6 + torch.rand(n, len(PHI[mode])).double())


@_every_third(0)
def test_compiles_once(mode, padding_mode):
    if mode in ("lanczos2", "bspline2", "bspline4", "bspline6"):  # in 1-D, as it takes long
        compile_and_compare(_sampler(mode, padding_mode), _lines(2))
    else:
        compile_and_compare(partial(_warp, mode=mode, padding_mode=padding_mode), _cases(2))


@each_phi
def test_compiles_with_a_phi(mode, padding_mode):
    cases = [(u, theta, _phi(mode, len(u))) for u, theta in _cases(2)]
    compile_and_compare(partial(_warp, mode=mode, padding_mode=padding_mode), cases)


class Own(nn.Module):
    """A warp by a kernel with a learned Φ."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def forward(self, image, theta):
        return warp(image, theta, Affine(), mode=self.kernel)


def test_a_learned_kernel_compiles():
    compile_and_compare(Own(KERNELS["gaussian"].learnable().double()), _cases(2))


def test_a_learned_kernel_exports():
    module = Own(KERNELS["mitchell"].learnable().double())
    export_and_compare(module, _cases(3), ((0, 2, 3), (0,)))


@_every_third(1)
def test_exports_for_any_batch_and_size(mode, padding_mode):
    function = partial(_warp, mode=mode, padding_mode=padding_mode)
    export_and_compare(function, _cases(3), ((0, 2, 3), (0,)))


@_every_third(2)
def test_exports_a_sampler(mode, padding_mode):
    """In 1-D, at other sizes of image and grid."""
    export_and_compare(_sampler(mode, padding_mode), _lines(3), ((0, 2), (0, 1)))


# Transforms: arguments by name, each drawn for a small problem.


def _arguments(mode, padding_mode, n=1):
    """Return what takes a gradient."""
    size = (3, 4)
    arguments = {
        "image": torch.randn(n, 1, *size).double(),
        "grid": normalise(off_kinks(n, size, (2, 1)), size, False),
        "theta": _theta(n, size),
        "fill": torch.randn(1).double(),
        "phi": _phi(mode, n) if mode in PHI else None,
    }
    if padding_mode != "constant":
        del arguments["fill"]
    return {k: v for k, v in arguments.items() if v is not None}


def _call(mode, padding_mode, **given):
    kernel = KERNELS[mode].with_phi(given["phi"]) if "phi" in given else mode
    options = {"mode": kernel, "padding_mode": padding_mode, "fill_value": given.get("fill")}
    sampled = sample(given["image"], given["grid"], **options)
    warped = warp(given["image"], given["theta"], Affine(), size=(2, 1), **options)
    return torch.cat((sampled, warped), 2)


@each_kernel
def test_vmap_over_every_argument(mode, padding_mode):
    drawn = [_arguments(mode, padding_mode, n=2) for _ in range(3)]
    names = list(drawn[0])
    for over in [*([name] for name in names), names]:
        stacked = [torch.stack([d[k] for d in drawn]) if k in over else drawn[0][k] for k in names]

        def call(*tensors, names=names):
            return _call(mode, padding_mode, **dict(zip(names, tensors, strict=True)))

        in_dims = tuple(0 if k in over else None for k in names)
        due = [
            call(*(t[i] if k in over else t for k, t in zip(names, stacked, strict=True)))
            for i in range(3)
        ]
        assert_close(vmap(call, in_dims)(*stacked), torch.stack(due))


@each_kernel
def test_jvp_along_every_argument(mode, padding_mode):
    given = _arguments(mode, padding_mode, n=2)
    step = 1e-6
    for name, x in given.items():

        def call(x, name=name):
            return _call(mode, padding_mode, **{**given, name: x})

        direction = torch.randn_like(x)
        output, tangent = jvp(call, (x,), (direction,))
        assert_close(output, call(x))
        difference = (call(x + step * direction) - call(x - step * direction)) / (2 * step)
        assert_close(tangent, difference, rtol=1e-6, atol=1e-6)


@each_kernel
def test_hessian_of_all_arguments(mode, padding_mode):
    given = _arguments(mode, padding_mode)
    names, shapes = list(given), [t.shape for t in given.values()]
    both = torch.cat([t.flatten() for t in given.values()])

    def loss(both):
        parts = both.split([s.numel() for s in shapes])
        tensors = [p.reshape(s) for p, s in zip(parts, shapes, strict=True)]
        return _call(mode, padding_mode, **dict(zip(names, tensors, strict=True))).square().sum()

    found = hessian(loss)(both)
    step = 1e-5
    directions = torch.eye(len(both)).double() * step

    def slope(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]  # first derivatives are checked elsewhere

    due = torch.stack([(slope(both + d) - slope(both - d)) / (2 * step) for d in directions])
    assert found.any()
    scale = max(1.0, found.abs().max().item())
    assert_close(found / scale, due / scale, rtol=0, atol=1e-7)


# What is refused, and how.

IMAGE, GRID = torch.zeros(2, 3, 5, 4), torch.zeros(2, 7, 8, 2)


def _exponential(d, rate):
    return torch.exp(-rate * d.abs())


def _sampled(**options):
    return lambda: sample(IMAGE, GRID, **options)


def _given(mode, phi):
    return lambda: sample(IMAGE, GRID, mode=KERNELS[mode].with_phi(phi))


MESSAGES = {
    "support-0": (
        lambda: Kernel(_exponential, 0),
        ["support of 0", "'_exponential'", "at most 16"],
    ),
    "support-wide": (lambda: Kernel(_exponential, 17, name="far"), ["17", "'far'", "at most 16"]),
    "support-kind": (lambda: Kernel(_exponential, "2"), ["support of '2'", "number of pixels"]),
    "support-nan": (lambda: Kernel(_exponential, float("nan")), ["support of nan"]),
    "returns-number": (
        _sampled(mode=Kernel(lambda d: 1.0, 1, name="one")),
        ["'one'", "returned", "float", "of that shape"],
    ),
    "returns-shape": (
        _sampled(mode=Kernel(lambda d: d[:1, :1], 1, name="few")),
        ["'few'", "returned", "of that shape"],
    ),
    "phi-width": (
        _given("mitchell", (1.0, 2.0, 3.0)),
        ["(3,)", "'mitchell'", "(b, c)", "give (2,)", "(N, ndim, 2)"],
    ),
    "phi-none": (_given("bilinear", 1.0), ["(1,)", "'bilinear'", "give (0,)"]),
    "phi-batch": (
        _given("gaussian", torch.ones(3, 1)),
        ["(3, 1)", "'gaussian'", "sigma", "give (1,)", "(2, 1)"],
    ),
    "phi-axes": (_given("gaussian", torch.ones(2, 3, 1)), ["(2, 3, 1)", "(2, 2, 1)"]),
    "phi-number": (_given("gaussian", torch.tensor(1.0)), ["()", "give (1,)"]),
    "phi-dims": (_given("gaussian", torch.ones(2, 2, 1, 1)), ["(2, 2, 1, 1)"]),
    "learnable": (KERNELS["lanczos3"].learnable, ["'lanczos3'", "no Φ to learn"]),
    "integer": (
        lambda: sample(IMAGE.byte(), GRID, mode=KERNELS["lanczos3"]),
        ["uint8", "lanczos3", "use mode='nearest'"],
    ),
    "name": (_sampled(mode="bspline8"), ["'bspline8'", "bspline7", "or a Kernel"]),
}


@pytest.mark.parametrize(("call", "fragments"), MESSAGES.values(), ids=MESSAGES)
def test_message(call, fragments):
    with pytest.raises(InputError) as error:
        call()
    for fragment in fragments:
        assert fragment in str(error.value)
