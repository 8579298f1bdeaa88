"""Traced or transformed, `sample` and `warp` stay right; oracles: eager, and finite differences."""

import pytest
import torch
from torch.func import hessian, vmap
from torch.testing import assert_close

from spatial_transformers import Affine, RegressionHead, SpatialTransformer, sample, warp
from tracing import compile_and_compare, export_and_compare, jvp_and_compare

from .oracles import PADDINGS, normalise, off_kinks

pytestmark = pytest.mark.traced

paddings = pytest.mark.parametrize("padding_mode", PADDINGS)
corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])
operations = pytest.mark.parametrize("operation", ["sample", "warp"])

# Nothing traced first is 1, or equal to another size by chance: neither must be made a rule of.
SIZES = ((7, 10, 13), (12, 9, 8), (6, 17, 11), (21, 8, 9))
BATCH, CHANNELS = 4, 5


def _function(operation, padding_mode="zeros", **options):
    """Return an operation as a function of image and coordinates."""

    def call(image, coordinates):
        # written here, the number is a constant of the graph, not an input of it
        fill = {"fill_value": 0.7} if padding_mode == "constant" else {}
        if operation == "sample":
            return sample(image, coordinates, padding_mode=padding_mode, **fill, **options)
        affine = Affine(image.ndim - 2)
        return warp(image, coordinates, affine, padding_mode=padding_mode, **fill, **options)

    return call


def _inputs(operation, n, size, *, corners=False, channels=CHANNELS):
    """Draw image and coordinates that keep off kinks."""
    image = torch.randn(n, channels, *size, dtype=torch.float64)
    if operation == "sample":
        return image, normalise(off_kinks(n, size, [k + 1 for k in size]), size, corners)
    affine = Affine(len(size))
    while True:
        theta = affine.identity().double() + torch.randn(n, affine.num_parameters) / 4
        pixels = affine.pixels(theta, size, size, align_corners=corners) * 2
        if ((pixels - pixels.round()).abs() > 1e-5).all():
            return image, theta


def _cases(operation, ndim, count=2, **options):
    sizes = [size[:ndim] for size in SIZES[:count]]
    return [_inputs(operation, BATCH + k, size, **options) for k, size in enumerate(sizes)]


def _spoil(coordinates):
    """Put numbers that are not finite in some places of some images."""
    for image, number in enumerate((torch.nan, torch.inf, -torch.inf)):
        coordinates[image].view(-1)[image::5] = number


@pytest.mark.costly
@operations
@pytest.mark.parametrize(
    ("ndim", "options"),
    [
        (2, {"padding_mode": "zeros"}),
        (2, {"padding_mode": "border", "align_corners": True}),
        (2, {"padding_mode": "reflection"}),
        (2, {"padding_mode": "constant", "align_corners": True}),
        (2, {"mode": "nearest"}),
        (3, {"padding_mode": "reflection", "align_corners": True}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_compiles(operation, ndim, options):
    cases = _cases(operation, ndim, count=3, corners=options.get("align_corners", False))
    _spoil(cases[2][1])
    compile_and_compare(_function(operation, **options), cases)


@pytest.mark.costly
@operations
@pytest.mark.parametrize(
    "options",
    [
        {"antialias": 2},
        pytest.param(
            {"antialias": 2, "mode": "bspline2", "padding_mode": "renormalise"},
            marks=pytest.mark.only_all,
        ),
        {"gradient": "straight-through", "mode": "nearest"},
        {"gradient": "linearized"},
        {"gradient": "multi-scale", "padding_mode": "border"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_options_compile(operation, options):
    cases = _cases(operation, 2)
    if options.get("gradient") == "multi-scale":  # no level of the pyramid is one pixel wide
        sizes = ((35, 50), (60, 41))
        cases = [_inputs(operation, BATCH + k, size) for k, size in enumerate(sizes)]
    compile_and_compare(_function(operation, **options), cases)


@operations
@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.only_all)])
def test_antialiasing_exports(operation, ndim):
    function = _function(operation, antialias=2 if ndim == 2 else 1.2)
    cases = _cases(operation, ndim, count=3)
    of_image = (0, *range(2, ndim + 2))
    of_coordinates = (0, *range(1, ndim + 1)) if operation == "sample" else (0,)
    export_and_compare(function, cases, (of_image, of_coordinates))


@operations
@dimensions
def test_antialiasing_transforms(operation, ndim):
    function = _function(operation, antialias=2 if ndim == 2 else 1.2)
    image, coordinates = _inputs(operation, 2, (4, 3, 5)[:ndim])
    jvp_and_compare(lambda u: function(u, coordinates), image)
    jvp_and_compare(lambda c: function(image, c), coordinates)
    stacked = vmap(function)(image[:, None], coordinates[:, None])
    assert_close(stacked[:, 0], function(image, coordinates))


def test_the_reference_compiles_for_grids():
    compile_and_compare(_function("sample", backend="reference"), _cases("sample", 2))


@operations
def test_the_identity_compiles_to_the_same(operation):
    """All on kinks: for `sample`, at sizes where no operation rounds."""
    theta = Affine().identity().double().repeat(BATCH, 1)
    sizes = ((8, 16), (32, 2)) if operation == "sample" else ((7, 13), (31, 3))
    grids = [Affine().grid(theta, size) for size in sizes]
    coordinates = grids if operation == "sample" else [theta, theta]
    images = [torch.randn(BATCH, CHANNELS, *size, dtype=theta.dtype) for size in sizes]
    compile_and_compare(_function(operation), list(zip(images, coordinates, strict=True)))


@pytest.mark.costly
@operations
@paddings
@dimensions
def test_exports_for_any_batch_and_size(operation, padding_mode, ndim):
    cases = _cases(operation, ndim, count=4)
    _spoil(cases[3][1])
    of_image = (0, *range(2, ndim + 2))
    of_coordinates = (0, *range(1, ndim + 1)) if operation == "sample" else (0,)
    function = _function(operation, padding_mode=padding_mode)
    export_and_compare(function, cases, (of_image, of_coordinates))


TRANSFORMS = {
    "grad": lambda f: torch.func.grad(lambda c: f(c).square().sum()),
    "jacrev": torch.func.jacrev,
    "vmap": lambda f: vmap(lambda c: f(c[None])[0]),
    "jvp": lambda f: lambda c: torch.func.jvp(f, (c,), (c.cos(),))[1],
    "hessian": lambda f: hessian(lambda c: f(c).square().sum()),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@operations
def test_a_transform_compiles(transform, operation):
    image, coordinates = _inputs(operation, 1, (4, 3), channels=1)
    function = _function(operation)
    of_coordinates = transform(lambda c: function(image, c))
    torch._dynamo.reset()
    compiled = torch.compile(of_coordinates, fullgraph=True, backend="aot_eager")
    assert_close(compiled(coordinates), of_coordinates(coordinates))


def test_a_transform_of_a_module_compiles():
    affine = Affine()
    module = SpatialTransformer(RegressionHead(4, affine, perturbation=0.1), affine)
    module.localisation = torch.nn.Sequential(torch.nn.Flatten(), module.localisation)
    image = torch.rand(3, 1, 2, 2)

    def loss(parameters, image):
        return torch.func.functional_call(module, parameters, (image,)).square().sum()

    gradient = torch.func.grad(loss)
    parameters = dict(module.named_parameters())
    torch._dynamo.reset()
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    assert_close(compiled(parameters, image), gradient(parameters, image))


@operations
@paddings
@dimensions
@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0)])
def test_vmap(operation, padding_mode, ndim, in_dims):
    function = _function(operation, padding_mode=padding_mode)
    batches = [_inputs(operation, 2, (4, 3, 5)[:ndim]) for _ in range(3)]
    stacked = [torch.stack(tensors) for tensors in zip(*batches, strict=True)]
    inputs = [t if d == 0 else t[0] for t, d in zip(stacked, in_dims, strict=True)]
    each = [
        function(*(t[k] if d == 0 else t for t, d in zip(inputs, in_dims, strict=True)))
        for k in range(3)
    ]
    assert_close(vmap(function, in_dims)(*inputs), torch.stack(each))


@operations
@paddings
@corners
@dimensions
def test_jvp(operation, padding_mode, align_corners, ndim):
    function = _function(operation, padding_mode=padding_mode, align_corners=align_corners)
    image, coordinates = _inputs(operation, 2, (4, 3, 5)[:ndim], corners=align_corners)
    jvp_and_compare(lambda u: function(u, coordinates), image)
    jvp_and_compare(lambda c: function(image, c), coordinates)


def _second_differences(function, x, step=1e-4):
    """Return the Hessian of a scalar function by central differences of values."""
    steps = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape) * step

    def slopes(x):
        return torch.stack([(function(x + s) - function(x - s)) / (2 * step) for s in steps])

    rows = [(slopes(x + s) - slopes(x - s)) / (2 * step) for s in steps]
    return torch.stack(rows)


@operations
@paddings
@corners
def test_hessian(operation, padding_mode, align_corners):
    function = _function(operation, padding_mode=padding_mode, align_corners=align_corners)
    image, where = _inputs(operation, 1, (3, 2), corners=align_corners, channels=1)
    where = where[:, :2, :1] if operation == "sample" else where  # two points are enough
    both = torch.cat((image.flatten(), where.flatten()))

    def loss(both):
        u, c = both.split([image.numel(), where.numel()])
        return function(u.reshape(image.shape), c.reshape(where.shape)).square().sum()

    found = hessian(loss)(both)
    assert found.any()
    assert_close(found, _second_differences(loss, both), rtol=1e-5, atol=1e-5)
