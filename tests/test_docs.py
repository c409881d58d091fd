"""README and the guides: short where it should be, and nothing in them points nowhere."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

from cdmeventimporters.dev.catalog import load_importers, tables_of

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench/README.md"]


def by_path(page: Path) -> str:
    """The id of a page's test."""
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The links and images of a page that lead to files of the project."""
    return [x for x in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if not re.match(r"\w+:", x)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link's file is there, and the heading in it that it names."""
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_readme_is_one_that_people_read():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_link_leads_somewhere(page):
    assert [link for link in links(page) if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_make_target_is_there(page):
    made = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z.][\w.-]*)", page.read_text(), re.MULTILINE)) - made == set()


@pytest.mark.parametrize("importer", load_importers().values(), ids=lambda importer: importer.name)
def test_the_analysts_guide_lists_every_importer(importer):
    [line] = [x for x in (ROOT / "docs/analysts.md").read_text().splitlines() if f"`{importer.image}`" in x]
    assert f"(../nbs/importers/{importer.py_module.split('.')[1]}.ipynb)" in line
    assert [x for x in tables_of(importer) if not re.search(rf"[`.]{x.split('.')[1]}`", line)] == []


def test_every_picture_has_a_text():
    assert [p.name for p in PAGES if re.search(r"!\[\s*\]", prose(p))] == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_no_page_tells_of_the_machine_it_was_written_on(page):
    assert re.findall(r"/home/\w|/root/|/work/|/Users/|/tmp/", page.read_text()) == []
