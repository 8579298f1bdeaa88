"""What a type checker knows of the package, and that names at run time are those of its types."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

import spatial_transformers
from spatial_transformers import (
    FAMILIES,
    KERNELS,
    Affine,
    Diagnosis,
    SpatialTransformer,
    make_transformation,
)
from spatial_transformers.augmentation.located import ORIGINS, Coordinates
from spatial_transformers.grid.names import Name
from spatial_transformers.sampler.backends import BACKENDS
from spatial_transformers.sampler.names import BackendName, Gradient, Mode, PaddingName
from spatial_transformers.sampler.options import GRADIENTS, Options
from spatial_transformers.sampler.padding import PADDING_MODES

MISTAKES = Path(__file__).with_name("typing") / "mistakes.py"
SOURCES = Path(spatial_transformers.__file__).parents[1]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Return what pyright says of the mistakes, by line."""
    folder = tmp_path_factory.mktemp("pyright")
    settings = {"extraPaths": [str(SOURCES)], "typeCheckingMode": "standard", "include": ["."]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    (folder / MISTAKES.name).write_text(MISTAKES.read_text())
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    quiet = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    ran = subprocess.run([*command, "-p", folder], capture_output=True, text=True, env=quiet)
    found = json.loads(ran.stdout)["generalDiagnostics"]
    lines = {}
    for one in found:
        lines.setdefault(one["range"]["start"]["line"], []).append(one["message"])
    return lines


def test_a_type_checker_reports_typical_mistakes_and_nothing_else(reported):
    for number, line in enumerate(MISTAKES.read_text().splitlines()):
        said = "\n".join(reported.get(number, []))
        wanted = re.search(r"# error: (.*)", line)
        if wanted:
            assert wanted[1] in said.replace("\xa0", " "), f"line {number + 1}: {line}\n{said}"
        else:
            assert not said, f"line {number + 1}: {line}\n{said}"


@pytest.mark.parametrize(
    ("hint", "names"),
    [
        (Mode, KERNELS),
        (PaddingName, PADDING_MODES),
        (Gradient, GRADIENTS),
        (BackendName, [backend.name for backend in BACKENDS]),
        (Name, FAMILIES),
        (Coordinates, ORIGINS),
    ],
)
def test_the_names_at_run_time_are_those_of_the_types(hint, names):
    assert list(get_args(hint)) == list(names)


def test_all_names_of_the_types_are_taken():
    for mode in get_args(Mode):
        assert Options(mode).kernel.name == mode
    for name in get_args(Name):
        assert make_transformation(name).num_parameters


def test_calls_are_those_of_torch():
    """Types cost nothing: modules are called by `nn.Module`'s own function, hooks and all."""
    for module in (SpatialTransformer, Affine):
        assert module.__call__ is torch.nn.Module.__call__


def test_a_transformation_is_called_for_its_grid():
    theta = torch.rand(2, 6)
    affine = Affine()
    assert torch.equal(affine(theta, 4), affine.grid(theta, 4))
    corners = affine.grid(theta, 4, align_corners=True)
    assert torch.equal(affine(theta, 4, align_corners=True), corners)


def test_the_version_is_that_of_the_distribution():
    assert re.match(r"\d+\.\d+\.\d+", spatial_transformers.__version__)
    code = "import sys, spatial_transformers as s; print(s.__version__, 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [spatial_transformers.__version__, "False"]


@pytest.mark.parametrize("name", sorted(spatial_transformers.__all__))
def test_the_help_says_what_each_argument_is(name):
    found = getattr(spatial_transformers, name)
    if not callable(found) or found in (spatial_transformers.InputError, Diagnosis):
        return
    said = inspect.getdoc(found)
    silent = [p for p in inspect.signature(found).parameters if f"\n    {p}: " not in said]
    silent = [p for p in silent if f"\n    *{p}: " not in said and f"\n    **{p}: " not in said]
    assert silent == []
