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
PUBLIC = [
    name
    for name, member in vars(_public).items()
    if not name.startswith("_") and not inspect.ismodule(member)  # which the import hook adds
]
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


def test_the_apis_first_page_says_what_named_tensors_are():
    page = (DOCS / "api" / "index.md").read_text()
    types = (ROOT / "src" / "spatial_transformers" / "_types.py").read_text()
    named = re.findall(r"^(\w+): TypeAlias", types, re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == named


def test_the_page_on_the_whole_library_names_every_public_name():
    text = (DOCS / "library.md").read_text()
    assert [name for name in PUBLIC if not re.search(rf"\b{name}\b", text)] == []


def test_nobody_is_told_to_install_from_an_index():
    pages = (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "src").rglob("*.py"))
    for page in pages:
        if page != DOCS / "release.md":  # which says when that may be told
            assert not re.search(r"pip install ['\"]?spatial", page.read_text()), page


@pytest.mark.skipif(not find_spec("mkdocs"), reason="MkDocs is not installed (extra `docs`)")
def test_the_site_is_built_strictly_and_whole(tmp_path):
    """One build for all that is looked at: it takes longest."""
    no_network = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | no_network | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert set(PUBLIC) <= inventory(tmp_path)
    assert set(PUBLIC) <= titles(tmp_path)
    assert loaded_from_elsewhere(tmp_path) == []
    for line in listed(tmp_path):
        title, uri, sentence = re.fullmatch(r"- \[(.+?)\]\((.+?)\): (.+)", line).groups()
        assert (tmp_path / uri).is_file()
        assert len(title) > 2, line
        assert len(sentence) > 20, line
    assert len(listed(tmp_path)) > 35


def inventory(site):
    """Return the names that other projects' pages can link to."""
    _, _, _, _, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    found = (line.split()[0] for line in zlib.decompress(packed).decode().splitlines())
    return {name.removeprefix("spatial_transformers.") for name in found}


def titles(site):
    """Return the first words of the places that the search knows."""
    index = json.loads((site / "search" / "search_index.json").read_text())
    return {re.split(r"[ <]", entry["title"])[0] for entry in index["docs"]}


def loaded_from_elsewhere(site):
    """Return the pages and sheets by which a browser would ask another machine."""
    page = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//")
    sheet = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
    return [
        path
        for kind, found in {"html": page, "css": sheet}.items()
        for path in site.rglob(f"*.{kind}")
        if found.search(path.read_text())
    ]


def listed(site):
    """Return the lines of `llms.txt` that are pages."""
    return [line for line in (site / "llms.txt").read_text().splitlines() if line[:1] == "-"]


def test_what_a_page_loads_from_elsewhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="https://a.org">a</a><img src="b.png">')
    (tmp_path / "b.html").write_text('<link rel="x" href="https://a.org/b.css">')
    (tmp_path / "c.css").write_text("@import url(//a.org/c.css)")
    assert {path.name for path in loaded_from_elsewhere(tmp_path)} == {"b.html", "c.css"}
