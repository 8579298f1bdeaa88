"""K maps of every image; oracle: the same calls on images that are repeated."""

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import (
    KERNELS,
    Affine,
    InputError,
    Projective,
    ThinPlateSpline,
    sample,
    warp,
)
from spatial_transformers.sampler.backends import BACKENDS

N, K, C = 3, 4, 2
SIZES = {2: ((9, 11), (6, 7)), 3: ((5, 6, 7), (4, 3, 5))}
FAMILIES = {
    "affine": Affine(),
    "affine-3d": Affine(3),
    "projective": Projective(),
    "thin-plate-spline": ThinPlateSpline(3),
}
transformations = pytest.mark.parametrize("transformation", FAMILIES.values(), ids=FAMILIES.keys())
backends = pytest.mark.parametrize("backend", [b.name for b in BACKENDS if b.name != "triton"])


def _drawn(transformation, images=N, maps=N, channels=C, dtype=torch.float64):
    source, _ = SIZES[transformation.ndim]
    image = torch.randn(images, channels, *source, dtype=dtype)
    noise = torch.randn(maps, K, transformation.num_parameters, dtype=dtype)
    return image.requires_grad_(), (
        transformation.identity().to(dtype) + 0.2 * noise
    ).requires_grad_()


def _repeated(image, theta):
    """Every image K times, and its maps one after the other."""
    batch = max(len(image), len(theta))
    image = image.expand(batch, *image.shape[1:]).repeat_interleave(K, 0)
    return image, theta.expand(batch, *theta.shape[1:]).flatten(0, 1)


@transformations
@backends
@pytest.mark.parametrize(("images", "maps"), [(N, N), (1, N), (N, 1), (1, 1)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_values_and_gradients_are_those_of_repeated_images(
    transformation, backend, images, maps, mode
):
    if backend == "aten" and mode == "bicubic" and transformation.ndim == 3:
        mode = "bilinear"
    image, theta = _drawn(transformation, images, maps)
    options = {"size": SIZES[transformation.ndim][1], "mode": mode, "backend": backend}
    found = warp(image, theta, transformation, **options)
    due = warp(*_repeated(image, theta), transformation, **options).unflatten(0, (-1, K))
    assert found.shape == (max(images, maps), K, C, *options["size"])
    assert_close(found, due, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(found)
    grads, wanted = (torch.autograd.grad(v, (image, theta), cotangent) for v in (found, due))
    for one, other in zip(grads, wanted, strict=True):
        assert_close(one, other, rtol=0, atol=1e-11)


@backends
@pytest.mark.parametrize("channels", [1, 2, 9, 40])
@pytest.mark.parametrize("padding_mode", ["zeros", "constant", "border", "reflection"])
@pytest.mark.parametrize("last", [False, True])
def test_every_way_of_reading(backend, channels, padding_mode, last):
    """Many channels and images take other paths through the compiled code than few."""
    transformation = Affine()
    image, theta = _drawn(transformation, 8, 8, channels, torch.float32)
    if last:
        image = image.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    fill = {"fill_value": 0.5} if padding_mode == "constant" else {}
    options = {"size": (24, 20), "padding_mode": padding_mode, "backend": backend, **fill}
    found = warp(image, theta, transformation, **options)
    due = warp(*_repeated(image, theta), transformation, **options).unflatten(0, (-1, K))
    assert_close(found, due, rtol=0, atol=1e-5)
    cotangent = torch.randn_like(found)
    grads, wanted = (torch.autograd.grad(v, (image, theta), cotangent) for v in (found, due))
    for one, other in zip(grads, wanted, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-3)


@backends
def test_grids(backend):
    transformation = Affine()
    image, theta = _drawn(transformation)
    grid = transformation.grid(theta.detach().flatten(0, 1), (6, 7))
    found = sample(image, grid.unflatten(0, (N, K)), backend=backend)
    due = sample(image.repeat_interleave(K, 0), grid, backend=backend)
    assert_close(found.flatten(0, 1), due, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "bspline3"},
        {"mode": "lanczos3", "antialias": True},
        {"gradient": "multi-scale"},
        {"gradient": "linearized"},
    ],
    ids=str,
)
def test_every_option(options):
    image, theta = _drawn(Affine())
    found = warp(image, theta, Affine(), **options)
    due = warp(*_repeated(image, theta), Affine(), **options).unflatten(0, (-1, K))
    assert_close(found, due, rtol=0, atol=1e-12)
    (one,), (other,) = (torch.autograd.grad(v.sum(), theta) for v in (found, due))
    assert_close(one, other, rtol=0, atol=1e-10)


def test_integers_and_no_images():
    mask = torch.randint(255, (N, 1, 9, 11), dtype=torch.uint8)
    theta = Affine().identity().expand(N, K, 6)
    assert torch.equal(
        warp(mask, theta, Affine(), mode="nearest"), mask[:, None].expand(-1, K, -1, -1, -1)
    )
    assert warp(torch.rand(0, 2, 5, 5), torch.zeros(0, K, 6), Affine()).shape == (0, K, 2, 5, 5)


def test_second_derivatives():
    image, theta = _drawn(Affine())
    theta = theta.detach()[:1, :2].requires_grad_()
    image = image.detach()[:1, :1].requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda image, theta: warp(image, theta, Affine(), size=3), (image, theta)
    )


def test_memory_does_not_grow_with_the_maps_beyond_the_output():
    """Not a byte is asked for beside the output: no image is copied, and no grid is made."""
    image, theta = torch.rand(2, 8, 64, 64), Affine().identity().repeat(2, 50, 1)
    warp(image, theta, Affine(), size=8)
    with torch.profiler.profile(profile_memory=True) as found:
        output = warp(image, theta, Affine(), size=8)
    asked = sum(max(0, event.cpu_memory_usage) for event in found.events())
    assert asked <= 2 * output.numel() * 4  # which `warp` and `empty` both count


@pytest.mark.traced
@pytest.mark.parametrize("transformation", [Affine(), ThinPlateSpline(3)], ids=["affine", "tps"])
def test_compiled_and_exported(transformation):
    image, theta = (t.detach() for t in _drawn(transformation, dtype=torch.float32))

    def call(image, theta):
        return warp(image, theta, transformation, size=(6, 7))

    due = call(image, theta)
    assert_close(torch.compile(call, fullgraph=True)(image, theta), due)
    module = type("Warp", (torch.nn.Module,), {"forward": lambda self, a, b: call(a, b)})()
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(
        module, (image, theta), dynamic_shapes=[{0: batch}, {0: batch}]
    ).module()
    assert_close(exported(image, theta), due, rtol=1e-4, atol=1e-5)
    assert exported(image[:2], theta[:2]).shape == (2, K, C, 6, 7)
    mapped = torch.func.vmap(lambda i, t: call(i[None], t[None])[0])
    assert_close(mapped(image, theta), due, rtol=1e-4, atol=1e-5)


@pytest.mark.traced
def test_refusals():
    image = torch.rand(3, 1, 5, 5)
    with pytest.raises(InputError, match="0 maps per image"):
        warp(image, torch.zeros(3, 0, 6), Affine())
    with pytest.raises(InputError, match="batches of 3 and 2"):
        warp(image, torch.zeros(2, 4, 6), Affine())
    with pytest.raises(InputError, match="batches of 3 and 2"):
        sample(image, torch.zeros(2, 4, 5, 5, 2))
    with pytest.raises(InputError, match="theta of shape"):
        warp(image, torch.zeros(3, 4, 5), Affine())


@pytest.mark.parametrize("shape", [(N, 1), (N, 2, 1), (1, 1), (1,)], ids=str)
def test_each_image_has_its_phi(shape):
    """Of several maps of an image, all are read by the image's kernel."""
    image, theta = _drawn(Affine())
    widths = 0.5 + torch.rand(shape, dtype=torch.float64)
    found = warp(image, theta, Affine(), mode=KERNELS["gaussian"].with_phi(widths))
    per_map = widths if len(widths) == 1 else widths.repeat_interleave(K, 0)
    kernel = KERNELS["gaussian"].with_phi(per_map)
    due = warp(*_repeated(image, theta), Affine(), mode=kernel).unflatten(0, (-1, K))
    assert_close(found, due, rtol=0, atol=1e-12)
    with pytest.raises(InputError, match=r"per image \(3, 1\)"):
        warp(image, theta, Affine(), mode=KERNELS["gaussian"].with_phi(torch.rand(N * K, 1)))
