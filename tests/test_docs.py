"""The documentation tells the truth: its tables, examples and claims against the code."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from spatial_transformers import (
    FAMILIES,
    KERNELS,
    Affine,
    InputError,
    ThinPlateSpline,
    Translation,
    make_transformation,
    warp,
)
from spatial_transformers.benchmarks.registry import all_cases, groups
from spatial_transformers.benchmarks.tables import TABLES, renewed
from spatial_transformers.sampler.options import GRADIENTS
from spatial_transformers.sampler.padding import PADDING_MODES

DOCS = Path(__file__).parents[1] / "docs"
PAGE, KERNEL_PAGE = DOCS / "choose" / "transformation.md", DOCS / "choose" / "kernel.md"
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


def rows(page=PAGE):
    lines = [line for line in page.read_text().splitlines() if line.startswith("| `")]
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


def test_the_tables_have_every_kernel_and_padding():
    assert list(rows(KERNEL_PAGE)) == [*KERNELS, *PADDING_MODES]


@pytest.mark.parametrize("name", KERNELS)
def test_the_table_says_what_a_kernel_does(name):
    _, taps, interpolates, overshoots, *_ = rows(KERNEL_PAGE)[name]
    assert int(taps) == KERNELS[name].count
    image = torch.randint(2, (1, 1, 12, 12), generator=torch.Generator().manual_seed(0)).double()
    shift = torch.tensor([[0.3 / 6, 0.4 / 6]], dtype=torch.float64)
    same, moved = (warp(image, t, Translation(), mode=name) for t in (0 * shift, shift))
    assert (interpolates == "yes") == torch.allclose(same, image, rtol=0, atol=1e-12)
    assert (overshoots != "no") == bool(moved.min() < -1e-3)


def test_the_kernel_pages_pictures_are_there_and_small():
    shown = re.findall(r"!\[.*?\]\((.*?)\)", KERNEL_PAGE.read_text())
    files = {
        path.relative_to(KERNEL_PAGE.parent): path for path in (DOCS / "choose/kernel").iterdir()
    }
    assert sorted(shown) == sorted(map(str, files))
    assert set(KERNELS) - {Path(p).stem for p in shown} == {"bspline0", "bspline1"}
    assert all(1000 < path.stat().st_size < 120_000 for path in files.values())


@pytest.mark.parametrize(("name", "same"), [("bspline0", "nearest"), ("bspline1", "bilinear")])
def test_a_kernel_without_a_picture_is_another(name, same):
    assert rows(KERNEL_PAGE)[name][0] == f"`{same}`"
    image, theta = torch.rand(1, 1, 9, 9), torch.tensor([[0.8, -0.3, 0.1, 0.2, 1.1, 0.05]])
    a, b = (warp(image, theta, Affine(), mode=mode, backend="reference") for mode in (name, same))
    assert torch.equal(a, b)


def test_the_page_on_text_has_a_small_picture():
    assert 10_000 < (DOCS / "text" / "lines.png").stat().st_size < 300_000


@pytest.mark.parametrize(("rows", "missed"), [((2, 10), 0.5), ((2, 20), 0.5), ((3, 10), 0.1)])
def test_two_rows_miss_the_middle_of_a_wave_as_the_page_on_text_says(rows, missed):
    """Oracle: the wave itself, by its formula, as shares of the line's height."""
    spline = ThinPlateSpline(rows, parameters="positions")
    x, y = spline.points.unbind(1)
    theta = torch.stack((x, 0.2 * torch.sin(3 * x) + 0.1 * y), 1).flatten()[None]
    found = spline.grid(theta, (33, 201), align_corners=True)[0, :, :, 1]
    x, y = torch.linspace(-1, 1, 201).double(), torch.linspace(-1, 1, 33).double()[:, None]
    off = (found - 0.2 * torch.sin(3 * x) - 0.1 * y).abs().max() / 0.2
    assert off.item() == pytest.approx(missed, abs=0.02)


def results(name):
    return json.loads((DOCS / "results" / f"{name}.json").read_text())


MEASURED = {
    "performance": ("shapes", "sizes", "peers", "splines"),
    "kernels": ("kernels",),
    "thin-plate-spline": ("thin-plate-spline",),
}


TABLES_AT_LEAST = {
    "performance.md": 2,
    "choose/kernel.md": 2,
    "distorted-mnist.md": 2,
    "troubleshooting.md": 2,
}


@pytest.mark.parametrize("page", [*TABLES_AT_LEAST, "../README.md"])
def test_tables_are_those_of_the_committed_results(page):
    text = (DOCS / page).read_text()
    assert renewed(text, runpy.run_path(str(DOCS / "renew_tables.py"))["table"]) == text
    assert text.count("<!-- table: ") == text.count("<!-- end -->") >= TABLES_AT_LEAST.get(page, 1)
    assert renewed(text, lambda results, name: "another") != text


@pytest.mark.parametrize("page", ["performance.md", "choose/kernel.md"])
def test_tables_of_times_follow_the_rows(page):
    def reversed_table(file, name):
        return TABLES[name]({**results(file), "rows": results(file)["rows"][::-1]})

    text = (DOCS / page).read_text()
    assert renewed(text, reversed_table) != text


def test_the_page_on_performance_shows_every_group():
    shown = re.findall("<!-- table: performance (.*) -->", (DOCS / "performance.md").read_text())
    assert {*MEASURED["performance"], "where", "absent"} <= set(shown) <= set(TABLES)


@pytest.mark.parametrize("name", MEASURED)
def test_results_are_of_the_registrys_cases(name):
    found = results(name)
    known = [case for group in MEASURED[name] for case in groups()[group].values()]
    rivals = {(c.name, r.name): r for c in known for r in c.rivals}
    for row in found["rows"]:
        rival = rivals[row["case"], row["rival"]]
        assert row["pass"] in rival.passes
        assert row["equal_to"] == rival.equal_to
        assert row["verified"] is (True if rival.equal_to else None)


def test_results_have_every_case_of_the_page_on_performance():
    found = results("performance")
    measured = {(f["case"], f["pass"]) for name in ("rows", "absent") for f in found[name]}
    known = [groups()[group].values() for group in MEASURED["performance"]]
    assert measured == {(case.name, w) for cases in known for case in cases for w in case.passes}
    assert not found["quick"]


def test_results_have_every_kernel():
    rows = [row for row in results("kernels")["rows"] if row["case"] == "kernels-turned"]
    for which in ("forward", "forward+backward"):
        assert set(KERNELS) <= {"bilinear", *(r["rival"] for r in rows if r["pass"] == which)}


@pytest.mark.parametrize("page", ["performance.md", "choose/kernel.md", "choose/transformation.md"])
def test_pages_name_cases_that_there_are(page):
    commands = re.findall(r"stn bench ([^\n`#-][^\n`#]*)", (DOCS / page).read_text())
    for name in " ".join(commands).split():
        if not name.isdigit() and "/" not in name and not name.startswith("--"):
            assert name in {**all_cases(), **groups()}, name


def far_slopes(gradient, loss):
    """Return the slopes of a blob's shift by 14 to 24 pixels."""
    axis = torch.arange(64, dtype=torch.float64) - 31.5
    blob = (-(axis[:, None] ** 2 + axis**2) / 8).exp()[None, None]
    pixels = torch.arange(14.125, 24, 0.25, dtype=torch.float64)
    theta = torch.stack((pixels / 32, torch.zeros_like(pixels)), 1).requires_grad_()
    moved = warp(blob, theta, Translation(), gradient=gradient)
    return torch.autograd.grad(loss(moved, blob).sum(), theta)[0][:, 0]


def test_far_away_only_multi_scale_has_a_slope():
    slopes = {g: far_slopes(g, lambda u, v: -u * v) for g in GRADIENTS}
    weakest = slopes.pop("multi-scale").min()
    assert all(weakest > 5 * slope.abs().max() for slope in slopes.values())


def test_under_a_squared_error_slopes_swing_about_their_mean():
    slopes = {g: far_slopes(g, lambda u, v: (u - v).square()) for g in ("exact", "multi-scale")}
    assert all(slope.min() < 0 < slope.max() for slope in slopes.values())
    assert slopes["exact"].mean().abs() < 1e-2 < slopes["multi-scale"].mean()
