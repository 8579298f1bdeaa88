"""The documentation tells the truth: its table of transformations against the code."""

import re
from pathlib import Path

import pytest

from spatial_transformers import FAMILIES, InputError, make_transformation

PAGE = Path(__file__).parents[1] / "docs" / "choose" / "transformation.md"
EXPORT = PAGE.parents[1] / "export.md"
#: In 3-D a family takes a lattice per axis, so its name alone does not make it.
VOLUMES = {
    "attention-per-axis": "Attention(3, per_axis=True)",
    "affine-geometric": "Affine(3, parameters='geometric')",
    "affine-exponential": "AffineExponential(3)",
    "thin-plate-spline": "ThinPlateSpline(4, ndim=3)",
    "free-form": "FreeForm((7, 7, 7))",
    "displacement": "Displacement((4, 4, 4))",
    "velocity-field": "VelocityField((4, 4, 4))",
    "cpab": "CPAB(4, ndim=3)",
}


def rows():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in (_cells(line) for line in lines)}


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_family():
    assert list(rows()) == list(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_counts_parameters(name):
    import spatial_transformers

    family, (shown, plane, volume, *_) = make_transformation(name), rows()[name]
    assert shown.strip("`").startswith(type(family).__name__)
    assert int(plane) == family.num_parameters
    if volume.isdigit():
        code = VOLUMES.get(name, f"{type(family).__name__}(3)")
        assert int(volume) == eval(code, vars(spatial_transformers)).num_parameters


@pytest.mark.traced
@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_says_what_is_closed(name):
    family, (*_, inverse, compose, _) = make_transformation(name), rows()[name]
    theta = family.identity()[None]
    for said, call in ((inverse, family.inverse), (compose, lambda t: family.compose(t, t))):
        try:
            call(theta)
        except InputError:
            assert said == "–"
        else:
            assert said in ("yes", "within the constraint")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_picture(name):
    path = PAGE.with_suffix("") / f"{name}.png"
    assert path.stat().st_size > 5000
    assert f"transformation/{name}.png" in PAGE.read_text()


def test_the_example_runs(capsys):
    _, code, _ = re.split(r"```python\n|```\n", PAGE.read_text(), maxsplit=2)
    names = {}
    exec(code, names)
    assert names["out"].shape == (1, 3, 64, 64)
    assert not names["folds"].any()
    assert "scale" in capsys.readouterr().out


@pytest.mark.traced
def test_the_page_on_export_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", EXPORT.read_text(), re.DOTALL):
        exec(code, names)
    assert names["v"].shape == (3, 1, 48, 40)
    assert {path.name for path in tmp_path.iterdir()} == {"stn.onnx", "stn.pt2", "fixed.pt2"}
