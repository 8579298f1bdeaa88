"""The site names every part of the library: the paper's, and the public ones.

Where MkDocs is installed, as by the extra `docs`, it is built, and asks no other machine.
"""

import inspect
import json
import os
import re
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from spatial_transformers import _public
from spatial_transformers.experiments.registry import EXPERIMENTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PUBLIC = [name for name in vars(_public) if not name.startswith("_")]
_LINK = re.compile(r"\]\(([^)#]+)")
#: What the paper has, in the words of its page.
PARTS = {
    *(f"section {s}" for s in (3.1, 3.2, 3.3, 3.4, 4.1, 4.2, 4.3)),
    *(f"appendix A.{n}" for n in range(1, 7)),
    *(f"Table {n}" for n in range(1, 6)),
    *(f"eq. {n}" for n in range(1, 8)),
    "Figure 2",
}


def rows():
    """Return the rows of the paper's page: the cells, and the files that they lead to."""
    page = DOCS / "paper.md"
    lines = [line for line in page.read_text().splitlines() if re.match(r"\| [a-zF]", line)]
    lines = [line for line in lines if not line.startswith("| paper |")]
    files = [[(DOCS / link).resolve() for link in _LINK.findall(line)] for line in lines]
    return [
        ([cell.strip() for cell in line.strip("|").split(" | ")], found)
        for line, found in zip(lines, files, strict=True)
    ]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_on_the_paper_has_all_its_parts():
    assert {cell for cells, _ in rows() for cell in cells[:2]} >= PARTS


@pytest.mark.parametrize(("cells", "files"), rows(), ids=lambda value: str(value[0]))
def test_a_part_of_the_paper_is_in_the_files_that_its_row_names(cells, files):
    assert files
    assert all(path.is_file() for path in files), files
    if cells[0].startswith("appendix A.") and len(cells) == 3:
        return  # files only
    text = "\n".join(path.read_text() for path in files)
    for name in names(cells[2]):
        if name in EXPERIMENTS:
            recipe = type(EXPERIMENTS[name].recipe)
            assert Path(inspect.getfile(recipe)) in files
            assert cells[0] in text.partition('"""\n')[0]
        else:
            assert name in PUBLIC
            assert re.search(rf"^((class|def) {name}\b|{name}\b.* = )", text, re.MULTILINE), name
    assert mentions(text, cells[0])


def mentions(text, part):
    """Whether sources speak of a part of the paper: sections of an equation count for it."""
    kind, _, number = part.partition(" ")
    if kind != "eq.":
        return bool(re.search(rf"{kind}s?\b[^.]*? {re.escape(number)}\b", text, re.IGNORECASE))
    ranges = re.findall(r"eqs?\. (\d)(?: (?:to|and) (\d))?", text)
    return "section 3.2" in text or any(a <= number <= (b or a) for a, b in ranges)


def entries():
    """Return the public names that the API's pages describe."""
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    return re.findall(r"^::: spatial_transformers\.(\w+)$", pages, re.MULTILINE)


def test_the_api_has_every_public_name_once():
    assert sorted(entries()) == sorted(PUBLIC)


def test_the_apis_first_page_leads_to_every_public_name():
    found = re.findall(
        r"\(\w+\.md#spatial_transformers\.(\w+)\)", (DOCS / "api/index.md").read_text()
    )
    assert sorted(found) == sorted(PUBLIC)


def test_the_page_on_the_whole_library_names_every_public_name():
    text = (DOCS / "library.md").read_text()
    assert [name for name in PUBLIC if not re.search(rf"\b{name}\b", text)] == []


def test_nobody_is_told_to_install_from_an_index():
    for page in (ROOT / "README.md", *DOCS.rglob("*.md")):
        assert not re.search(r"pip install '?spatial", page.read_text()), page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site in a process that reaches no network."""
    if not find_spec("mkdocs"):
        pytest.skip("MkDocs is not installed (extra `docs`)")
    out = tmp_path_factory.mktemp("site")
    no_network = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env=os.environ | no_network | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=300,
    )
    return out


def test_the_inventory_has_every_public_name(site):
    _, _, _, _, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    found = {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}
    assert {f"spatial_transformers.{name}" for name in PUBLIC} <= found


def test_the_search_finds_every_public_name(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    titles = {re.sub(r"<.*?>", "", entry["title"]).strip() for entry in index["docs"]}
    assert [name for name in PUBLIC if name not in titles] == []


def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(r"<(?:script|link|img|iframe|source)[^>]+(?:src|href)=\"?(?:https?:)?//")
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_llms_txt_has_a_line_for_every_page_of_the_navigation(site):
    lines = [s for s in (site / "llms.txt").read_text().splitlines() if s.startswith("- ")]
    for line in lines:
        title, uri, sentence = re.fullmatch(r"- \[(.+)\]\((.+)\): (.+)", line).groups()
        assert (site / uri).is_file()
        assert len(title) > 2, line
        assert len(sentence) > 20, line
    assert len(lines) > 35
