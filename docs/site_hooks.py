"""What the site shows beside the pages of this folder; MkDocs calls the functions `on_…`.

The README, the contract, the changes and the word on security are pages of the site without a copy.
A link to any other file or folder of the tree leads to a page that shows it. `llms.txt` lists the
pages.
"""

import json
import re
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from posixpath import dirname, relpath
from typing import Any

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: Pages that lie elsewhere in the tree, by their names in the site.
ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "sampler.md": "src/spatial_transformers/sampler/README.md",
}
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_SHOWN = ("png", "gif", "json", "md")  # of a folder
_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


class Examples(Extension):
    """Docstrings head an example with `Example:`, which griffe knows in the plural only."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the heading."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages from elsewhere, notebooks, one for all else that is linked, and `llms.txt`."""
    for uri, path in ELSEWHERE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    for path in (ROOT / "docs").glob("notebooks/*.ipynb"):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_notebook(path)))
    for file in [*files.documentation_pages()]:
        for path in _links(file.src_uri, file.content_string):
            uri = _uri(path)
            if uri not in files.src_uris:
                files.append(File.generated(config, uri, content=_page(path)))
    files.append(File.generated(config, "llms.txt", content=_index(files, config)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where the site has what they lead to in the tree; hide an empty menu."""
    uri = page.file.src_uri
    if uri == "index.md":
        page.meta["hide"] = ["navigation"]  # a section of one page

    def moved(link: re.Match[str]) -> str:
        path = _path(uri, link[1])
        return link[1] if path is None else relpath(_uri(path), dirname(uri) or ".")

    return markdown if uri.startswith("source/") else _LINK.sub(moved, markdown)


def _links(uri: str, markdown: str) -> Iterator[str]:
    found = (_path(uri, link) for link in _LINK.findall(markdown))
    return (path for path in found if path is not None)


def _path(uri: str, link: str) -> str | None:
    """Return the path in the tree that a page's link leads to, if there is one."""
    path = normpath(Path(ELSEWHERE.get(uri, f"docs/{uri}")).parent / link)
    return path if (ROOT / path).exists() else None


def _uri(path: str) -> str:
    """Return the name in the site of what has a path in the tree."""
    pages = {theirs: uri for uri, theirs in ELSEWHERE.items()}
    if path in pages:
        return pages[path]
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    if path.startswith("docs/") and not path.endswith(".py"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    return f"source/{path}.md"


def _notebook(path: Path) -> str:
    """Return a notebook as a page: its text, its code, and what its cells printed and drew."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", [])]
    source = f'<a href="{path.name}" download>{path.name}</a> is the notebook of this page.\n'
    return "\n\n".join([*(part for part in parts if part), source])


def _output(output: dict[str, Any]) -> str:
    """Return what a cell printed or drew; what it wrote to standard error is left out."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    text = output.get("text", []) if output.get("name") == "stdout" else data.get("text/plain", [])
    return f"```\n{''.join(text).rstrip()}\n```" if text else ""


def _page(path: str) -> str:
    """Return a page that shows a file, or names the files of a folder."""
    head = f"{_UNSEARCHED}# {Path(path).name}\n\n`{path}`\n\n"
    if (ROOT / path).is_file():
        fence = "`````"
        return f"{head}{fence}{Path(path).suffix[1:]}\n{(ROOT / path).read_text()}\n{fence}\n"
    files = sorted(f for kind in _SHOWN for f in (ROOT / path).rglob(f"*.{kind}"))
    return head + "".join(_item(file, path) for file in files)


def _item(file: Path, folder: str) -> str:
    uri = _uri(str(file.relative_to(ROOT)))
    return f"- [{file.relative_to(ROOT / folder)}]({relpath(uri, f'source/{folder}')})\n"


def _index(files: Files, config: MkDocsConfig) -> str:
    """Return the pages by sections of the navigation, each with its title and first sentence."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for entry in config.nav or []:
        ((section, pages),) = entry.items()
        lines += ["", f"## {section}", ""]
        for uri in _uris(pages):
            file = files.get_file_from_path(uri)
            if file is not None:
                title, sentence = _said(file.content_string)
                lines.append(f"- [{title}]({file.url}): {sentence}")
    return "\n".join(lines) + "\n"


def _uris(pages: Any) -> Iterator[str]:
    if isinstance(pages, str):
        yield pages
        return
    for page in pages.values() if isinstance(pages, dict) else pages:
        yield from _uris(page)


def _said(markdown: str) -> tuple[str, str]:
    """Return the title of a page and the first sentence below it."""
    title, _, rest = markdown.partition("# ")[2].partition("\n")
    paragraphs = (" ".join(text.split()) for text in _FENCED.sub("", rest).split("\n\n"))
    text = next((text for text in paragraphs if re.match(r"[\w`*]", text)), "")
    text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text)
    return title, re.split(r"(?<=[.?])\s(?=[A-Z`*])", text, maxsplit=1)[0].rstrip(":")
