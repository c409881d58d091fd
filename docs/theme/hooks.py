"""MkDocs hooks: gather the pages of the site from where they lie in the repository, and give notebooks the site's looks."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

import declared  # of this folder
import pages
from markdown.extensions.toc import nest_toc_tokens
from mkdocs.structure.toc import get_toc

from cdmeventimporters.dev.dictionary import Entry, entries

ROOT = Path(__file__).parents[2]
_FOLDER = tempfile.TemporaryDirectory(prefix="site-")  # lasts as long as MkDocs runs
SOURCES = Path(_FOLDER.name)  # the pages as they lie in the repository, so that links between them hold
COPIED = ("*.md", "docs/*.md", "docs/*.svg", "docs/theme/*.css", "docs/theme/*.js", "bench/*.md", "bench/*.png")
SPEC = "nbs/core/02_spec.ipynb"  # declares the columns that every table has

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[#)])")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_config(config):
    """Gather all pages in a folder, and let the navigation have them."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    tables = entries()
    books = {path: _shown(ROOT / path) for path in _notebooks()}
    texts = {p.relative_to(ROOT).as_posix(): p for glob in COPIED for p in ROOT.glob(glob)}
    on_site = {*books, *texts}
    declarations = _with_declarations(books, tables)
    titles = {Path(path).stem: _title(cells) for path, cells in books.items() if path.startswith("nbs/importers/")}
    for path, content in pages.dictionary(tables, titles, declarations).items():
        _write(f"dictionary/{path}", content)
    for path, file in texts.items():
        if file.suffix == ".md":
            _write(path, _with_pages(_with_links(file.read_text(), path, on_site, config), path, tables))
        else:
            (SOURCES / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, SOURCES / path)
    for path, cells in books.items():
        _write(path, _as_notebook(path, cells, on_site, tables, config))
    config.docs_dir = str(SOURCES)
    config.nav = list(_expanded(config.nav))
    return config


def _write(path: str, content: str) -> None:
    """Write a page."""
    (SOURCES / path).parent.mkdir(parents=True, exist_ok=True)
    (SOURCES / path).write_text(content)


def _expanded(nav: list) -> Iterator:
    """Yield the entries of the navigation, with the files that those with a `*` mean."""
    for entry in nav:
        if isinstance(entry, dict):
            [(title, inside)] = entry.items()
            inside = [inside] if isinstance(inside, str) and "*" in inside else inside
            yield {title: inside if isinstance(inside, str) else list(_expanded(inside))}
        elif "*" in entry:
            yield from sorted(p.relative_to(SOURCES).as_posix() for p in SOURCES.glob(entry))
        else:
            yield entry


def _outside_code(pattern: re.Pattern, replacement: Callable[[re.Match], str], text: str) -> str:
    """Return Markdown with what matches replaced, except in blocks of code."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("```") else pattern.sub(replacement, part) for part in parts)


def _with_links(text: str, page: str, on_site: set[str], config, html: bool = False) -> str:
    """Return Markdown with links to the repository where a file is not on the site; to HTML if MkDocs does not see them."""

    def link(match: re.Match) -> str:
        path = os.path.normpath(os.path.join(os.path.dirname(page), match[1]))
        if (ROOT / path).exists() and path not in on_site:
            return f"{config.repo_url}/{config.edit_uri}{path}"
        return re.sub(r"\.(ipynb|md)$", ".html", match[1]) if html else match[1]

    if html:  # GitHub keeps the case of a notebook's headings in their anchors
        text = re.sub(r"(?<=\]\()([^)\s:]*#[^)\s]+)(?=\))", lambda match: match[0].lower(), text)
    return _outside_code(_LINK, link, text)


def _with_pages(text: str, page: str, tables: list[Entry]) -> str:
    """Return Markdown whose names of tables lead to the dictionary, of which its first page has the list."""
    up = "../" * page.count("/")
    links = {f"`{e.name}`": f"[`{e.name}`]({up}dictionary/tables/{e.short_name}.md)" for e in tables}
    linked = _outside_code(re.compile(r"`autoimport\.\w+`"), lambda match: links.get(match[0], match[0]), text)
    return linked + (pages.list_of(tables) if page == "docs/dictionary.md" else "")


# notebooks


def _notebooks() -> list[str]:
    """Return the paths of all notebooks."""
    found = (p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    return sorted(p.relative_to(ROOT).as_posix() for p in found)


def _shown(file: Path) -> list[dict]:
    """Return the cells of a notebook that are for readers, without what code says to nbdev and nbval."""
    cells = [cell | {"source": "".join(cell["source"])} for cell in json.loads(file.read_text())["cells"]]
    for cell in cells:
        if cell["cell_type"] == "code":
            hidden = re.match(r"#\|\s*hide", cell["source"])
            cell["outputs"] = [_described(output) for output in cell["outputs"]]
            code = re.sub(r"^(#\||# NBVAL_).*\n?", "", cell["source"], flags=re.MULTILINE)
            cell["source"] = "" if hidden else code.strip("\n")
    shown = [cell for cell in cells if cell["source"]]
    return sorted(shown, key=lambda cell: not cell["source"].startswith("# ") or cell["cell_type"] == "code")


def _described(output: dict) -> dict:
    """Return an output whose image has its alternative text, which nbconvert leaves out."""
    image = output.get("data", {}).get("image/png")
    if not image:
        return output
    alternative = escape(output["metadata"]["image/png"]["alt"], quote=True)
    data = "".join(image).replace("\n", "")
    return output | {"data": {"text/html": f'<img alt="{alternative}" src="data:image/png;base64,{data}">'}}


def _title(cells: list[dict]) -> str:
    """Return the title of a notebook."""
    return cells[0]["source"].split("\n")[0].removeprefix("# ")


def _with_declarations(books: dict[str, list[dict]], tables: list[Entry]) -> dict[str, dict[str, str]]:
    """Mark where notebooks declare columns, and return the links to these places, `{table: {column: link}}`."""
    code = {path: [c for c in cells if c["cell_type"] == "code"] for path, cells in books.items()}
    marked, lineage = declared.mark_lineage([c["source"] for c in code[SPEC]])
    _put(code[SPEC], marked)
    links = {e.short_name: {name: f"../../{SPEC}#{anchor}" for name, anchor in lineage.items()} for e in tables}
    for stem in {e.stem for e in tables}:
        path = f"nbs/importers/{stem}.ipynb"
        marked, anchors = declared.mark([c["source"] for c in code[path]], [e for e in tables if e.stem == stem])
        _put(code[path], marked)
        for (table, column), anchor in anchors.items():
            links[table][column] = f"../../{path}#{anchor}"
    return links


def _put(cells: list[dict], sources: list[str]) -> None:
    """Give cells other sources."""
    for cell, source in zip(cells, sources, strict=True):
        cell["source"] = source


def _as_notebook(path: str, cells: list[dict], on_site: set[str], tables: list[Entry], config) -> str:
    """Return the notebook that is shown."""
    stem = Path(path).stem if path.startswith("nbs/importers/") else ""
    links = [f"[{e.name}](../../dictionary/tables/{e.short_name}.html)" for e in tables if e.stem == stem]
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = _with_links(cell["source"], path, on_site, config, html=True)
    if links:
        cells[0]["source"] += f"\n\nIn the data dictionary: {', '.join(links)}"
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def on_files(files, config):
    """Let no generated page offer its source, which is not in the repository."""
    for file in files:
        if file.src_uri.startswith("dictionary/"):
            file.edit_uri = None
    return files


# of mkdocs-jupyter's HTML: what the site has itself, and what it takes in place of it
_FOREIGN = [
    (r"<style.*?</style>", ""),
    (r'<div class="zeroclipboard-container">.*?</clipboard-copy>\s*</div>', ""),
    (r'<div class="clipboard-copy-txt".*?</div>', ""),
    (r'(<div class="jp-Cell-inputWrapper") tabindex="0"', r"\1"),
    (r'<div class="(?:highlight|codehilite)[^"]*">', '<div class="highlight" data-search-exclude>'),
    (r'(<div class="highlight" data-search-exclude><pre>)(?!<code>)(.*?)(</pre>)', r"\1<code>\2</code>\3"),
]
_HEADING = re.compile(r'<h([1-6]) id="([^"]+)">(.*?)<a class="anchor-link"')


def on_page_content(html, page, config, files):
    """Give a notebook the looks of the site: without the styles and scripts of JupyterLab."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    page.meta["search"] = {"boost": 0.5}  # the guides and the dictionary come first
    html = html[html.index('<div class="jupyter-wrapper">') :]
    for pattern, ours in _FOREIGN:
        html = re.sub(pattern, ours, html, flags=re.DOTALL)
    page.toc = get_toc(nest_toc_tokens([_heading(match) for match in _HEADING.finditer(html)]))
    return declared.as_links(html, "../" * page.file.src_uri.count("/"))


def _heading(match: re.Match) -> dict:
    """Return a heading for the table of contents, of which mkdocs-jupyter's own lacks what is code."""
    level, anchor, title = match.groups()
    text = re.sub("<.*?>", "", title)
    return {"level": int(level), "id": anchor, "name": text, "html": text, "data-toc-label": ""}
