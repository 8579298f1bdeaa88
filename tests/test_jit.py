"""`torch.jit.trace`, which coremltools and older pipelines take; oracle: eager, at other sizes."""

import io
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from grid.contract import FAMILIES
from spatial_transformers import (
    KERNELS,
    Affine,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    Sampler,
    SpatialTransformer,
    sample,
    tiled_starts,
    warp,
)

pytestmark = [
    pytest.mark.traced,
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    # what the package asks for when it is imported, which pytest forgets
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:spatial_transformers"),
]

#: Batches and sizes, of which the first is traced.
CASES = ((2, (16, 13, 9)), (1, (17, 14, 10)), (3, (30, 11, 9)))
OPTIONS = (
    {},
    {"mode": "nearest", "padding_mode": "reflection"},
    {"mode": "bicubic", "padding_mode": "border", "align_corners": True},
    {"padding_mode": "constant", "fill_value": [0.3, 0.7]},
    {"padding_mode": "reflection", "align_corners": True},
    {"padding_mode": "wrap"},
    {"padding_mode": "renormalise", "backend": "reference"},
    {"mode": "bspline3", "padding_mode": "reflection"},
    {"mode": KERNELS["gaussian"].with_phi(0.7)},
    {"mode": "lanczos2"},
    {"antialias": 2},
    {"gradient": "linearized"},  # to values alone: a graph has the sampler's own
)

#: Of all families: one that is linear in 3-D, and one of each other way to map points.
BY_DEFAULT = ("affine-3d", "projective-2d", "thin-plate-spline-2d", "cpab-2d", "polar")


def _stn(transformation, network=LocalisationCNN, size=None, **options):
    localisation = network(transformation, in_channels=2, input_size=8, perturbation=0.1)
    return SpatialTransformer(localisation, transformation, Sampler(**options), size=size).eval()


def _images(ndim):
    return [(torch.rand(n, 2, *size[:ndim]),) for n, size in CASES]


def _thetas(*batches):
    return [Affine().identity() + 0.2 * torch.randn(n, 6) for n in batches]


def trace_and_compare(function, cases, *, gradients=True):
    """Trace at the first case; compare values, and gradients to the inputs, at all cases."""
    traced = torch.jit.trace(function, cases[0], check_trace=False)
    for case in cases:
        results = []
        for call in (traced, function):
            inputs = [x.detach().requires_grad_(gradients) for x in case]
            output = call(*inputs)
            cotangent = torch.linspace(-1, 1, output.numel()).to(output).view_as(output)
            found = torch.autograd.grad(output, inputs, cotangent) if gradients else ()
            results.append((output.detach(), found))
        (values, slopes), (expected, true) = results
        assert_close(values, expected, rtol=0, atol=1e-4)
        assert_close(slopes, true, rtol=0, atol=1e-2)  # steep, through the localisation network
    return traced


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    stn = _stn(Affine(), size=9 if "antialias" in options else None, **options)
    trace_and_compare(stn, _images(2), gradients="gradient" not in options)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(f, id=f.name, marks=() if f.name in BY_DEFAULT else pytest.mark.only_all)
        for f in FAMILIES
    ],
)
def test_every_family(family):
    transformation = family.make()
    trace_and_compare(_stn(transformation), _images(transformation.ndim))


@pytest.mark.parametrize("size", [None, (7, 9)])
def test_another_network(size):
    trace_and_compare(_stn(Affine(), LocalisationFCN, size=size), _images(2))


@pytest.mark.parametrize("options", [{}, {"mode": "lanczos2"}], ids=str)
@pytest.mark.parametrize(
    "batches",
    [[(2, 1), (3, 1)], [(1, 2), (1, 3), (3, 3)], [(1, 1), (3, 3)], [(2, 2), (3, 1), (1, 1)]],
    ids=str,
)
def test_one_image_or_one_map_for_many(batches, options):
    images = [torch.rand(n, 2, 9 + n, 8) for n, _ in batches]
    cases = list(zip(images, _thetas(*(m for _, m in batches)), strict=True))
    trace_and_compare(lambda u, theta: warp(u, theta, Affine(), **options), cases)


@pytest.mark.parametrize("batches", [(1, 3, 1), (2, 1, 3)], ids=str)
def test_several_maps_of_an_image(batches):
    stn = _stn(Affine(), partial(LocalisationCNN, start=tiled_starts(Affine(), 2)))
    trace_and_compare(stn, [(torch.rand(n, 2, 9 + n, 8),) for n in batches])
    cases = [
        (torch.rand(n, 2, 9, 8), Affine().identity() + 0.2 * torch.randn(n, 3, 6)) for n in batches
    ]
    trace_and_compare(lambda u, theta: warp(u, theta, Affine()), cases)


@pytest.mark.parametrize("antialias", [False, 2])
def test_sample(antialias):
    grids = [torch.rand(n, 5, 4 + n, 2) * 2 - 1 for n in (2, 3)]
    cases = [(torch.rand(len(grid), 2, 9, 8 + len(grid)), grid) for grid in grids]
    trace_and_compare(lambda u, grid: sample(u, grid, antialias=antialias), cases)


def test_labels():
    cases = [
        (torch.randint(255, (n, 1, 8 + n, 9), dtype=torch.uint8), theta)
        for n, theta in zip((2, 3), _thetas(2, 3), strict=True)
    ]
    options = {"mode": "nearest", "padding_mode": "constant", "fill_value": 7}
    trace_and_compare(lambda u, t: warp(u, t, Affine(), **options), cases, gradients=False)


def test_the_file_has_the_operation_that_converters_know():
    stn, ((image,), *_) = _stn(Affine()), _images(2)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(stn, image), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    assert "aten::grid_sampler(" in str(loaded.inlined_graph)
    image = torch.rand(4, 2, 20, 11)
    assert_close(loaded(image), stn(image), rtol=0, atol=1e-5)


def test_tensors_are_sizes_to_a_tracer_only():
    with pytest.raises(InputError, match=r"size tensor\(7\) was asked for"):
        _stn(Affine(), size=torch.tensor(7))


def test_nothing_is_said_of_branches():
    code = (
        "import warnings, torch\n"
        "warnings.simplefilter('error')\n"
        "from spatial_transformers import Affine, warp\n"
        "warnings.filterwarnings('ignore', category=DeprecationWarning)\n"
        "trace = lambda u, t: warp(u, t, Affine())\n"
        "torch.jit.trace(trace, (torch.rand(2, 1, 8, 9), torch.rand(2, 6)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
