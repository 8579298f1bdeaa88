"""Every block of Python on every page runs, in order and in one namespace, and says what it should.

`CHECKS` says more of some pages than the pages themselves assert. Other blocks have no language:
commands of a shell, output, and code of libraries that the tests do without.
"""

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = {
    str(page.relative_to(DOCS)): blocks
    for page in sorted(DOCS.rglob("*.md"))
    if (blocks := _BLOCK.findall(page.read_text()))
}
#: They trace, which jaxtyping's import hook breaks, train, which it slows down, or show an error of
#: our own, before which it speaks.
TRACED = {"export.md", "library.md", "start.md"}
CHECKS = {}


def check(page):
    """Register what holds of the names that a page leaves, and of what it prints."""
    return lambda function: CHECKS.setdefault(page, function)


def run(page):
    """Run the blocks of a page one after the other, and return their names."""
    torch.manual_seed(0)
    names = {"__name__": page}
    for number, block in enumerate(PAGES[page], 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=[pytest.mark.traced] * (p in TRACED)) for p in PAGES]
)
def test_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run(page)
    CHECKS.get(page, lambda *_: None)(names, capsys.readouterr().out, tmp_path)


def test_what_a_page_claims_falsely_is_found(monkeypatch):
    monkeypatch.setitem(PAGES, "false.md", ["x = 1\n", "assert x == 2\n"])
    with pytest.raises(AssertionError) as failure:
        run("false.md")
    assert str(failure.traceback[-1].path) == "false.md, block 2"


def test_checks_are_of_pages_that_there_are():
    assert CHECKS.keys() | TRACED <= PAGES.keys()


def test_every_fence_is_closed_and_python_or_nothing():
    for page in DOCS.rglob("*.md"):
        fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
        assert set(fences[::2]) <= {"", "python"}, page
        assert set(fences[1::2]) <= {""}, page


@check("choose/transformation.md")
def _(names, said, _):
    assert names["out"].shape == (1, 3, 64, 64)
    assert not names["folds"].any()
    assert "scale" in said


@check("choose/kernel.md")
def _(names, said, _):
    assert names["blur"].phi.grad.isfinite().all()
    assert names["blur"].phi.grad != 0
    assert names["soft"].shape == names["softer"].shape == (4, 1, 28, 28)
    assert "grid_sample has no such mode or padding" in said


@check("choose/backend.md")
def _(names, said, _):
    assert said.startswith("warp of a 2-D float32 image on cpu, mode bicubic, padding border")


@check("export.md")
def _(names, _, folder):
    assert names["v"].shape == (3, 1, 48, 40)
    assert {path.name for path in folder.iterdir()} == {"stn.onnx", "stn.pt2", "fixed.pt2"}


@check("arrangements.md")
def _(names, *_):
    assert len(names["thetas"]) == 4


@check("augmentation.md")
def _(names, *_):
    assert names["warped"].shape == names["images"].shape


@check("text.md")
def _(names, *_):
    assert (names["seen"].sum(1) // 4 == names["steps"]).all()
    assert 80 < names["steps"].max() * 4 < 130
    assert names["localisation"].head.weight.grad.isfinite().all()


@check("troubleshooting.md")
def _(names, said, _):
    assert "theta has not left its start" in said
    rates = [group["lr"] for group in names["optimiser"].param_groups]
    assert rates == [1e-3, 1e-4]


@check("start.md")
def _(names, said, folder):
    assert "Nothing seems wrong." in said
    assert (folder / "stn.png").stat().st_size > 10_000
