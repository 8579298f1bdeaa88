"""Models as files for other programs: ONNX for any runtime, and PyTorch's own archive.

One graph serves every batch and every image size. This package fixes no size while it is traced;
only layers of the model around it can.
"""

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from ._errors import InputError, how_to_get, shown
from ._files import whole_files
from ._hints import require_name
from ._types import Image
from .sampler import Sampler

Dynamic: TypeAlias = Literal["all", "batch", "none"]

OPSET = 20
_OLDEST = 16  # opset, the first with a GridSample
_WRITTEN = 18  # the oldest opset that torch writes by itself
#: Of each GridSample of ONNX, by its first opset: the most spatial axes that it takes, and its
#: names for grid_sample's modes 0, 1 and 2.
_GRID_SAMPLES = {
    _OLDEST: (2, ("bilinear", "nearest", "bicubic")),
    20: (3, ("linear", "nearest", "cubic")),
}
_AXES = ("depth", "height", "width")
# bytes of weights in one ONNX file: its format ends at 2 GiB, less room for the graph
_LARGEST = 2**31 - 2**24
_SAMPLERS = ("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")


def export(
    model: nn.Module,
    image: Image,
    path: str | os.PathLike[str],
    *,
    dynamic: Dynamic = "all",
    decompose: bool = False,
    outputs: Sequence[str] = ("output",),
    opset: int = OPSET,
) -> Path:
    """Write a model as `.onnx` or `.pt2`, for any batch and any image size.

    The model is written as it runs in eval mode, and left as it was. The file appears whole or not
    at all. It holds the weights; those of an `.onnx` above 2 GB lie beside it, in `.onnx.data`.
    Coordinates are computed in [-1, 1], as `grid_sample` takes them, so that outputs equal those of
    the model in PyTorch up to rounding.

    Args:
        model: a `SpatialTransformer`, or any network that holds some, that takes one image.
        image: an example (N, C, H, W), (N, C, D, H, W) or (N, C, W); only its shape, dtype and
            device matter.
        path: the file; its suffix says the format: `.onnx` needs the extra `onnx`.
        dynamic: what may differ from the example: `all` is batch, depth, height and width. Models
            whose layers fix the image's size take `batch`; `none` is for runtimes that want all
            shapes known.
        decompose: sample by gathers and sums in place of `GridSample`, which many runtimes lack,
            above all in 3-D. This is slower in runtimes that have `GridSample`.
        outputs: a name per tensor that the model returns, in ONNX. The input is `image`.
        opset: of ONNX, 16 or later, for runtimes that lag. Before 20, `GridSample` takes images
            only, and volumes need `decompose`.

    Returns:
        The path.

    Raises:
        InputError: a suffix or an image that does not fit, a package that is missing, a model that
            cannot be traced, takes one size only or returns no tensors, an operation that ONNX, or
            its `opset`, does not have.
        OSError: if the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer
        >>> affine = Affine()
        >>> stn = SpatialTransformer(LocalisationCNN(affine, in_channels=1), affine)
        >>> with TemporaryDirectory() as folder:
        ...     path = export(stn, torch.rand(1, 1, 28, 28), f"{folder}/stn.pt2")
        ...     loaded = torch.export.load(path).module()
        >>> loaded(torch.rand(5, 1, 60, 40)).shape
        torch.Size([5, 1, 60, 40])
        >>> loaded(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])

    Source: https://onnx.ai/onnx/operators/onnx__GridSample.html

    """
    path = Path(path)
    write = _writer(path, outputs, opset)
    _check_image(image, dynamic)
    with whole_files(path) as folder, _prepared(model, decompose), _quietly(), torch.no_grad():
        _run(model, image)
        program = _trace(model, image, dynamic)
        if decompose:
            _refuse_samplers(model, program)
        write(program, folder / path.name, _names(image, dynamic))
    return path


def _writer(
    path: Path, outputs: Sequence[str], opset: int
) -> Callable[[ExportedProgram, Path, dict], None]:
    if path.suffix == ".pt2":
        return lambda program, file, names: _write_archive(program, file)
    if path.suffix != ".onnx":
        raise InputError(f"export to {path} was asked for; give a name that ends in .onnx or .pt2")
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"export to {path} needs the package {error.name!r}; {how_to_get('onnx')}"
        ) from error
    newest = onnx.defs.onnx_opset_version()
    if type(opset) is not int or not _OLDEST <= opset <= newest:
        raise InputError(f"opset={opset!r} was asked for; give one from {_OLDEST} to {newest}")
    return lambda program, file, names: _write_onnx(program, file, names, outputs, opset)


def _write_archive(program: ExportedProgram, file: Path) -> None:
    """Write from memory: torch ends the process where its own writer finds the disk full."""
    archive = io.BytesIO()
    torch.export.save(program, archive)
    file.write_bytes(archive.getbuffer())


def _check_image(image: Tensor, dynamic: Dynamic) -> None:
    require_name(dynamic, Dynamic, f"dynamic={shown(dynamic)} was asked for")
    if not isinstance(image, Tensor):
        raise InputError(f"as image was given a {type(image).__name__}; give a tensor of torch")
    least = 2 if dynamic == "all" else 1
    if image.ndim not in (3, 4, 5) or min(image.shape[2:]) < least or 0 in image.shape:
        raise InputError(
            f"an image of shape {tuple(image.shape)} was given; give an example (N, C, H, W), "
            f"(N, C, D, H, W) or (N, C, W) of at least {least} pixels along every axis"
        )


@contextmanager
def _prepared(model: nn.Module, decompose: bool) -> Iterator[None]:
    """Put a model in eval mode, and its samplers on portable code, while the block lasts."""
    modules = [(module, module.training) for module in model.modules()]
    pinned = [(m, m.options) for m, _ in modules if isinstance(m, Sampler)]
    model.eval()
    for sampler, options in pinned:
        gathers = decompose or options.backend == "reference"
        sampler.options = options.changed(backend="reference" if gathers else None)
    try:
        yield
    finally:
        for module, training in modules:
            module.training = training
        for sampler, options in pinned:
            sampler.options = options


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence what torch says to its own developers."""
    # One warns that torchvision is missing, which nothing here needs, the other of what it calls.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in (
                r".*isinstance\(treespec, LeafSpec\)",  # torch's own use of what it deprecates
                "No complete tensor found",  # about weights that are not stored row by row
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _run(model: nn.Module, image: Tensor) -> None:
    """Run the model once: an image that does not fit is no tracer's error, None is no output."""
    try:
        returned = pytree.tree_leaves(model(image))
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{type(model).__name__} cannot run on the image of shape {tuple(image.shape)} that "
            f"was given ({_first_line(error)}); give one as the model takes it"
        ) from error
    strange = {type(leaf).__name__ for leaf in returned if not isinstance(leaf, Tensor)}
    if strange or not returned:
        raise InputError(
            f"{type(model).__name__} returned {', '.join(sorted(strange)) or 'nothing'}, which a "
            "file has no place for; return a tensor, or several"
        )


def _trace(model: nn.Module, image: Tensor, dynamic: Dynamic) -> ExportedProgram:
    try:
        program = _program(model, image, dynamic)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot be traced with dynamic={dynamic!r} "
            f"({_first_line(error)}); take branches on values and sizes out of its forward"
        ) from error
    if dynamic == "all":
        _refuse_fixed_layers(model, program, image)
    return program


def _refuse_fixed_layers(model: nn.Module, program: ExportedProgram, image: Tensor) -> None:
    """Refuse layers for one image size, by running the trace on an image about twice as large.

    That image has no memory. The trace's guards raise where another size does not fit; ONNX has no
    such guards. Most often the layer is a fully connected one on all pixels, which takes one size,
    or a few that pool alike.
    """
    larger = (len(image) + 2, image.shape[1], *(2 * n + 1 for n in image.shape[2:]))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            program.module()(torch.empty(larger, dtype=image.dtype, device=image.device))
    except (AssertionError, RuntimeError) as error:
        size = "×".join(map(str, image.shape[2:]))
        raise InputError(
            f"{type(model).__name__} was asked for any image size, but has layers for {size} or "
            f"sizes near it ({_first_line(error)}); give dynamic='batch', or put a "
            "SpatialTransformer of fixed `size` before them"
        ) from error


def _program(model: nn.Module, image: Tensor, dynamic: Dynamic) -> ExportedProgram:
    """Trace at an image of zeros: archives keep the example that they were traced with."""
    example = torch.zeros_like(image)
    if dynamic != "none" and len(image) == 1:  # a traced size of 1 would stay 1
        example = torch.cat((example, example))
    shapes = (dict.fromkeys(_names(image, dynamic), Dim.DYNAMIC),)
    program = torch.export.export(model, (example,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of the machine that exports
    return program


def _names(image: Tensor, dynamic: Dynamic) -> dict[int, str]:
    """Return the axes of the image that may vary, and their names."""
    spatial = dict(enumerate(_AXES[5 - image.ndim :], start=2)) if dynamic == "all" else {}
    return {} if dynamic == "none" else {0: "batch", **spatial}


def _refuse_samplers(model: nn.Module, program: ExportedProgram) -> None:
    packets = {str(node.target).split(".")[-2:][0] for node in program.graph.nodes}
    if packets & set(_SAMPLERS):
        raise InputError(
            f"{type(model).__name__} was asked for decomposed, but samples outside of its "
            "SpatialTransformers too; give backend='reference' to its calls of warp and sample, in "
            "place of grid_sample"
        )


def _write_onnx(
    program: ExportedProgram,
    file: Path,
    names: dict[int, str],
    outputs: Sequence[str],
    opset: int,
) -> None:
    found = len(program.graph_signature.user_outputs)
    if found != len(outputs):
        raise InputError(
            f"outputs={tuple(outputs)} were asked for, but the model returns {found}; give a name "
            "to each"
        )
    _refuse_axes(program, opset)
    overloads = [getattr(torch.ops.aten, name).default for name in _SAMPLERS]
    try:
        converted: Any = torch.onnx.export(
            program,
            opset_version=max(opset, _WRITTEN),
            input_names=["image"],
            output_names=list(outputs),
            dynamic_shapes=(names,),
            custom_translation_table=dict.fromkeys(overloads, _translation(opset)),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(
            f"the model uses what ONNX does not have ({_first_line(error.__cause__ or error)}); "
            "write a .pt2, or replace that operation"
        ) from error
    if opset < _WRITTEN:
        _lower(converted, opset)
    if converted.model.opset_imports[""] != opset:
        raise InputError(
            f"opset={opset} was asked for, which the torch and the onnx that are installed cannot "
            f"write for this model; give opset={converted.model.opset_imports['']}"
        )
    tensors = [*program.state_dict.values(), *program.constants.values()]
    size = sum(t.nbytes for t in tensors if isinstance(t, Tensor))
    converted.save(file, external_data=size > _LARGEST)


def _grid_sample_of(opset: int) -> tuple[int, int, Sequence[str]]:
    """Return the GridSample of an opset: its first opset, its most axes, its modes."""
    first = max(known for known in _GRID_SAMPLES if known <= opset)
    return first, *_GRID_SAMPLES[first]


def _refuse_axes(program: ExportedProgram, opset: int) -> None:
    """Refuse samplers of more spatial axes than an opset's GridSample takes."""
    _, most, _ = _grid_sample_of(opset)
    for node in program.graph.nodes:
        if str(node.target).split(".")[-2:][0] not in _SAMPLERS:
            continue
        axes = node.meta["val"].ndim - 2
        if axes > most:
            enough = min(first for first, (m, _) in _GRID_SAMPLES.items() if m >= axes)
            raise InputError(
                f"opset={opset} was asked for a model that samples {axes}-D images, which "
                f"GridSample takes from opset {enough} on; give opset={enough} or decompose=True"
            )


def _lower(converted: Any, opset: int) -> None:
    """Turn a model to an opset older than those that torch writes."""
    from onnx.version_converter import convert_version
    from onnxscript import ir

    for node in converted.model.graph:
        if node.op_type.startswith("Reduce"):  # of newer opsets only, and of no effect with axes
            node.attributes.pop("noop_with_empty_axes", None)
    try:
        converted.model = ir.from_proto(convert_version(converted.model_proto, opset))
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"opset={opset} was asked for, but the model cannot be turned to it "
            f"({_first_line(error)}); give opset={_WRITTEN} or later"
        ) from error


def _translation(opset: int) -> Callable[..., Any]:
    """Return how aten's samplers become the `GridSample` of an opset.

    Torch's own translation knows 2-D only, and writes the names of modes of opset 16.
    """
    from onnxscript.values import Opset

    first, _, modes = _grid_sample_of(opset)

    def grid_sample(image: Any, grid: Any, mode: int, padding: int, align_corners: bool) -> Any:
        return Opset("", first).GridSample(
            image,
            grid,
            mode=modes[mode],
            padding_mode=("zeros", "border", "reflection")[padding],
            align_corners=int(align_corners),
        )

    return grid_sample


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
