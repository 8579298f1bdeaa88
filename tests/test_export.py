"""Exported files in ONNX Runtime and loaded again; oracle: the model in eager, at other sizes."""

import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from grid.contract import FAMILIES
from spatial_transformers import (
    Affine,
    InputError,
    LocalisationCNN,
    Sampler,
    SpatialTransformer,
    ThinPlateSpline,
    export,
    exporting,
    warp,
)

pytestmark = pytest.mark.traced

TRACED = (2, (16, 16, 9))  # alike, as the sides of images often are
OTHERS = ((1, (17, 14, 10)), (3, (30, 11, 9)), (5, (13, 41, 8)))
EVERY = (TRACED, *OTHERS)
PADDINGS = ("zeros", "border", "reflection", "constant")


class Reads(nn.Module):
    """A localisation network that reads θ off the pixels of the image's first channel."""

    def __init__(self, transformation, first=0):
        super().__init__()
        self.entries = slice(first, first + transformation.num_parameters)

    def forward(self, image):
        return image[:, 0].flatten(1)[:, self.entries]


def _transformer(localisation, transformation, size=None, **options):
    return SpatialTransformer(localisation, transformation, Sampler(**options), size=size)


class Several(nn.Module):
    """Several transformations of one image, whose pixels hold the θ of all."""

    def __init__(self, transformations, **options):
        super().__init__()
        first, parts = 0, []
        for transformation in transformations:
            parts.append(_transformer(Reads(transformation, first), transformation, **options))
            first += transformation.num_parameters
        self.parts = nn.ModuleList(parts)

    def forward(self, image):
        return tuple(part(image) for part in self.parts)

    def show(self, n, size, spread=0.05):
        """Return images (N, 2, *size) that hold θ about the identity."""
        identity = torch.cat([part.transformation.identity() for part in self.parts])
        theta = identity + spread * (torch.rand(n, len(identity)) * 2 - 1)
        image = torch.rand(n, 2, *size[: self.parts[0].transformation.ndim])
        image.view(n, 2, -1)[:, 0, : len(identity)] = theta
        return image


def run(path, image):
    """Return what ONNX Runtime makes of the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["image"]
    return [torch.from_numpy(found) for found in session.run(None, {"image": image.numpy()})]


def nodes(path, opset=20):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
    return list(model.graph.node)


def operators(path):
    return [node.op_type for node in nodes(path)]


def write(tmp_path, model, image, suffix=".onnx", **options):
    return export(model, image, tmp_path / f"model{suffix}", **options)


def assert_same(path, model, images):
    """Compare every output of a file with those of the model."""
    for image in images:
        with torch.no_grad():
            expected = model(image)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for number, (a, b) in enumerate(zip(run(path, image), expected, strict=True)):
            assert a.isfinite().all()
            assert_close(a, b, rtol=0, atol=1e-4, msg=lambda m, i=number: f"output {i}: {m}")


def stn(transformation, **options):
    """Return a spatial transformer that moves by its own network, and its images."""
    network = LocalisationCNN(transformation, in_channels=1, input_size=8, perturbation=0.1)
    model = _transformer(network, transformation, **options)
    return model, [torch.rand(n, 1, *size[: transformation.ndim]) for n, size in EVERY]


@pytest.mark.costly
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family(family, tmp_path):
    model = Several([family.make()])
    images = [model.show(*case) for case in EVERY]
    path = write(tmp_path, model, images[0])
    assert operators(path).count("GridSample") == (model.parts[0].transformation.ndim > 1)
    assert_same(path, model, images)


#: Modes, paddings and whether corners align: all pairs of the three.
OPTIONS = [
    (mode, padding, (m + p) % 2 == 1)
    for p, padding in enumerate(PADDINGS)
    for m, mode in enumerate(("nearest", "bilinear"))
]


@pytest.mark.parametrize(
    ("ndim", "decompose", "options"),
    [
        (2, False, OPTIONS),
        (2, True, [OPTIONS[3], OPTIONS[6]]),
        (3, False, [OPTIONS[1], OPTIONS[4]]),
        pytest.param(3, True, [OPTIONS[2], OPTIONS[7]], marks=pytest.mark.only_all),
    ],
)
def test_modes_and_paddings(ndim, decompose, options, tmp_path):
    """Also where θ is not finite, which fills, at one of the sizes."""
    model = Several([Affine(ndim)] * len(options))
    for part, (part.mode, part.padding_mode, part.align_corners) in zip(
        model.parts, options, strict=True
    ):
        part.fill_value = 0.7 if part.padding_mode == "constant" else None
    images = [model.show(*case, spread=0.3) for case in EVERY]
    numbers = images[2].view(3, 2, -1)[:, 0]  # finite where no θ is read: they are sampled, too
    for sample, bad in enumerate((torch.nan, torch.inf, -torch.inf)):
        numbers[sample, 1 : len(options) * Affine(ndim).num_parameters : 6] = bad
    path = write(tmp_path, Hidden(model), images[0], decompose=decompose, outputs=_names(options))
    found = operators(path)
    assert ("GridSample" in found) != decompose
    assert ("GatherElements" in found) == decompose
    assert_same(path, Hidden(model), images)


KERNELS = (
    (2, {"mode": "bicubic", "padding_mode": "reflection"}),
    (2, {"mode": "bspline3", "padding_mode": "border"}),
    (2, {"mode": "bilinear", "padding_mode": "renormalise"}),
)
#: They take minutes, of steps that the others write, too.
MORE_KERNELS = (
    (2, {"mode": "lanczos3"}),
    (2, {"mode": "gaussian", "padding_mode": "wrap"}),
    (2, {"antialias": 2}),
    (3, {"mode": "bspline3", "padding_mode": "border"}),
    (3, {"mode": "gaussian", "padding_mode": "wrap"}),
)


@pytest.mark.parametrize(
    ("ndim", "options"),
    [*KERNELS, *(pytest.param(*more, marks=pytest.mark.only_all) for more in MORE_KERNELS)],
)
def test_kernels_that_onnx_lacks(ndim, options, tmp_path):
    """Gathers and sums; only bicubic in 2-D is an operator of its own."""
    model = Several([Affine(ndim)], **options)
    model.parts[0].size = 8 if "antialias" in options else None
    images = [model.show(*case, spread=0.3) for case in EVERY]
    path = write(tmp_path, Hidden(model), images[0])
    assert operators(path).count("GridSample") == (options.get("mode") == "bicubic")
    assert_same(path, Hidden(model), images)


class Moves(nn.Module):
    """Warps by the numbers of the first channel, once for each of some options."""

    def __init__(self, *options):
        super().__init__()
        self.options = options

    def forward(self, image):
        affine = Affine(image.ndim - 2)
        theta = image[:, 0].flatten(1)[:, : affine.num_parameters] / 5 + affine.identity()
        return tuple(warp(image, theta, affine, **options) for options in self.options)


MODES = [
    {"mode": mode, "padding_mode": padding}
    for mode, padding in zip(("bilinear", "nearest", "bicubic"), PADDINGS, strict=False)
]
OLD, NEW = ["bicubic", "bilinear", "nearest"], ["cubic", "linear", "nearest"]


@pytest.mark.parametrize(
    ("opset", "names"),
    [
        (16, OLD),
        pytest.param(17, OLD, marks=pytest.mark.only_all),
        pytest.param(18, OLD, marks=pytest.mark.only_all),
        pytest.param(19, OLD, marks=pytest.mark.only_all),
        pytest.param(22, NEW, marks=pytest.mark.only_all),
        (26, NEW),  # beyond what torch's own converter knows
    ],
)
def test_modes_have_the_names_of_the_opset(opset, names, tmp_path):
    """What has no sampler is written too."""
    model = Moves(*MODES, {"padding_mode": "wrap"})
    images = [torch.rand(n, 2, *size[:2]) for n, size in EVERY]
    path = write(tmp_path, model, images[0], outputs=("a", "b", "c", "d"), opset=opset)
    samplers = [node for node in nodes(path, opset) if node.op_type == "GridSample"]
    found = [a.s.decode() for node in samplers for a in node.attribute if a.name == "mode"]
    assert sorted(found) == names
    assert_same(path, model, images)


def _names(options):
    return ["-".join(map(str, option)) for option in options]


class Hidden(nn.Module):
    """Hides from a model's transformers that θ stands in channel 0: they sample channel 1."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        thetas = [part.localisation(image) for part in self.model.parts]
        pairs = zip(self.model.parts, thetas, strict=True)
        return tuple(part.warp(image[:, 1:], theta) for part, theta in pairs)


def test_a_network_of_any_size(tmp_path):
    model, images = stn(ThinPlateSpline())
    path = write(tmp_path, model, images[0][:1])
    assert_same(path, model, images)
    axes = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", 1, "height", "width"]


@pytest.mark.parametrize("decompose", [False, True])
def test_archives(decompose, tmp_path):
    model, images = stn(ThinPlateSpline())
    model.localisation.to(memory_format=torch.channels_last)
    path = write(tmp_path, model, images[0], ".pt2", decompose=decompose)
    loaded = torch.export.load(path).module()
    for image in images:
        assert_close(loaded(image), model(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_the_model_is_left_as_it_was(suffix, tmp_path):
    model, images = stn(Affine(), backend="aten")
    model.localisation.body[1].eval()
    before = [module.training for module in model.modules()]
    path = write(tmp_path, model, images[0], suffix, decompose=True)
    assert [module.training for module in model.modules()] == before
    assert model.sampler.options.backend == "aten"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_of_the_example_and_the_machine_is_written(tmp_path):
    model, images = stn(Affine())
    secret = torch.full_like(images[0], 0.123456789)
    for suffix in (".onnx", ".pt2"):
        written = write(tmp_path, model, secret, suffix).read_bytes()
        assert __file__.rpartition("/tests/")[0].encode() not in written
        assert secret[:1, :1].numpy().tobytes() not in written


class Fixed(nn.Sequential):
    """A classifier for images of 14 × 14."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3))


def test_a_network_of_one_size(tmp_path):
    model, image = Fixed(), torch.rand(1, 1, 14, 14)
    with pytest.raises(InputError, match=r"Fixed was asked for any image size.*dynamic='batch'"):
        write(tmp_path, model, image)
    assert list(tmp_path.iterdir()) == []
    assert_same(write(tmp_path, model, image, dynamic="batch"), model, [torch.rand(3, 1, 14, 14)])
    axes = onnx.load(write(tmp_path, model, image, dynamic="none")).graph.input[0]
    assert [axis.dim_value for axis in axes.type.tensor_type.shape.dim] == [1, 1, 14, 14]


class Branches(nn.Module):
    def forward(self, image):
        return image if image.sum() > 0 else -image


class Exponential(nn.Module):
    def forward(self, image):
        return torch.linalg.matrix_exp(image)


class Samples(nn.Module):
    def forward(self, image):
        return nn.functional.grid_sample(image, image.movedim(1, -1), align_corners=False)


class Returns(nn.Module):
    def __init__(self, *returned):
        super().__init__()
        self.returned = returned

    def forward(self, image):
        return (image, *self.returned) if self.returned else None


IMAGE = torch.rand(2, 2, 8, 8)


@pytest.mark.parametrize(
    ("model", "image", "options", "message"),
    [
        (
            Samples(),
            IMAGE,
            {"suffix": ".pb"},
            r"model\.pb was asked for; .*ends in \.onnx or \.pt2",
        ),
        (Samples(), IMAGE, {"dynamic": "some"}, "dynamic='some' was asked for; give 'all'"),
        (Samples(), IMAGE[0, 0], {}, r"shape \(8, 8\) was given; give an example \(N, C, H, W\)"),
        (Samples(), IMAGE[..., :1], {}, r"\(2, 2, 8, 1\) .*at least 2 pixels"),
        (Samples(), IMAGE.numpy(), {}, "as image was given a ndarray"),
        (Samples(), IMAGE[:, :1], {}, r"Samples cannot run on the image of shape \(2, 1, 8, 8\)"),
        (Samples(), IMAGE, {"decompose": True}, "samples outside of its SpatialTransformers"),
        (Samples(), IMAGE, {"outputs": ("a", "b")}, "the model returns 1; give a name to each"),
        (stn(Affine())[0], IMAGE[None], {}, r"give \(N, C, H, W\)"),
        (Branches(), IMAGE, {}, r"Branches cannot be traced .*data-dependent.*take branches"),
        (Returns(), IMAGE, {}, r"Returns returned NoneType.*return a tensor"),
        (Returns(), IMAGE, {"suffix": ".pt2"}, "Returns returned NoneType"),
        (Returns(None, 3), IMAGE, {"suffix": ".pt2"}, "Returns returned NoneType, int"),
        (Samples(), IMAGE, {"opset": 15}, r"opset=15 was asked for; give one from 16 to \d\d"),
        (Samples(), IMAGE, {"opset": "18"}, "opset='18' was asked for"),
        (
            Moves({}),
            torch.rand(2, 2, 5, 6, 7),
            {"opset": 19},
            "opset=19 .*3-D images, .*from opset 20 on; give opset=20 or decompose=True",
        ),
        (Exponential(), IMAGE, {}, r"what ONNX does not have .*matrix_exp.*write a \.pt2"),
    ],
)
def test_errors(model, image, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write(tmp_path, model, image, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install '\.\[onnx\]'"):
        write(tmp_path, Samples(), IMAGE)
    assert write(tmp_path, Samples(), IMAGE, ".pt2").is_file()


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        export(Samples(), IMAGE, tmp_path / "none" / "model.pt2")
    assert error.value.filename == str(tmp_path / "none" / "model.pt2")


def test_a_full_disk_leaves_the_file_of_before(tmp_path):
    """In a process of its own, which torch ends where its own writer fails."""
    path = write(tmp_path, Samples(), IMAGE, ".pt2")
    before = path.read_bytes()
    code = (
        "import resource, torch\n"
        "from spatial_transformers import export\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        f"    export(torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 8, 8), {str(path)!r})\n"
        "except OSError as error:\n"
        "    print(error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weights_beyond_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_LARGEST", 0)
    model, images = stn(Affine())
    path = write(tmp_path, model, images[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert_same(path, model, images)
