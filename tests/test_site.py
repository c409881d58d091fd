"""The site as readers get it: built once, its HTML checked, and looked at in a browser."""

import contextlib
import functools
import http.server
import json
import re
import resource
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import headless_chromium, requested
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from cdmeventimporters.dev.dictionary import entries, table_schema, whole_dictionary

ROOT = Path(__file__).parents[1]  # no import from conftest: these tests run without the lake, too
TABLES = {entry.short_name: entry for entry in entries()}
NARROW, WIDE = (390, 844), (1400, 900)


class Page(HTMLParser):
    """What a page has: anchors, links with the anchors that they are in, images, and what it loads."""

    def __init__(self, html: str):
        super().__init__()
        self.ids, self.links, self.images, self.loads, self.text = set(), [], [], [], []
        self._anchor = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if "id" in a:
            self._anchor = a["id"]
            self.ids.add(a["id"])
        if tag in ("a", "area") and a.get("href"):
            self.links.append((a["href"], self._anchor))
        if tag == "img":
            self.images.append(a)
        if tag == "link" and a.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loads.append(a["href"])
        if tag in ("script", "img", "iframe", "source", "video") and a.get("src"):
            self.loads.append(a["src"])

    def handle_data(self, data):
        self.text.append(data)


def cpu_seconds() -> float:
    """How long processes that have ended were busy, whatever else the machine did."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built without Java on the path; a warning fails."""
    folder, before = tmp_path_factory.mktemp("site"), cpu_seconds()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {"PATH": str(Path(sys.executable).parent), "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert cpu_seconds() - before < 120
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """The site's pages by their paths."""
    found = {p.relative_to(site).as_posix(): Page(p.read_text()) for p in sorted(site.rglob("*.html"))}
    return {path: page for path, page in found.items() if path != "404.html"}  # whose links begin at the root


def resolved(page: str, link: str) -> tuple[str, str]:
    """The path and the anchor that a page's link leads to."""
    parts = urlsplit(link)
    folder = Path(page).parent / unquote(parts.path)
    path = (Path("/") / folder).resolve().relative_to("/").as_posix() if parts.path else page
    return path, unquote(parts.fragment)


def is_outside(link: str) -> bool:
    """Whether a link leads to another host."""
    return bool(urlsplit(link).netloc) or urlsplit(link).scheme in ("http", "https", "mailto")


def test_every_link_and_anchor_leads_somewhere(site, pages):
    lost = []
    for name, page in pages.items():
        for link, _ in page.links:
            path, anchor = resolved(name, link)
            there = is_outside(link) or (site / path).is_file()
            if not there or (anchor and path in pages and not is_outside(link) and anchor not in pages[path].ids):
                lost.append((name, link))
    assert lost == []


def test_links_to_the_repository_lead_to_files_of_it(pages):
    of_repository = "https://github.com/kbase/cdm-event-importers/blob/main/"
    links = {link.split("#")[0] for page in pages.values() for link, _ in page.links if link.startswith(of_repository)}
    assert len(links) > 50
    assert [x for x in links if not (ROOT / unquote(x.removeprefix(of_repository))).exists()] == []


def test_every_image_has_an_alternative_text(pages):
    images = [(name, image) for name, page in pages.items() for image in page.images]
    assert len(images) > 3
    unnamed = ("", "No description has been provided for this image")
    assert [name for name, image in images if image.get("alt", "") in unnamed] == []


def test_no_page_loads_anything_from_another_host(pages):
    assert [(name, x) for name, page in pages.items() for x in page.loads if is_outside(x)] == []


def test_all_guides_and_notebooks_have_a_page(pages):
    sources = [*ROOT.glob("docs/*.md"), *ROOT.glob("nbs/**/*.ipynb")]
    paths = {p.relative_to(ROOT).with_suffix(".html").as_posix() for p in sources if "checkpoint" not in p.name}
    assert paths | {"index.html", "CHANGELOG.html", "CONTRIBUTING.html", "bench/index.html"} <= set(pages)


def test_notebooks_show_nothing_that_is_for_tools(pages):
    shown = {name: "".join(page.text) for name, page in pages.items() if name.startswith("nbs/")}
    assert [name for name, text in shown.items() if re.search(r"^#\||NBVAL|[\ue000\ue001]", text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", TABLES)
def test_a_column_leads_to_its_declaration_and_back(name, pages, site):
    page, table = f"dictionary/tables/{name}.html", TABLES[name].table
    for column in table.all_columns:
        [declared] = [link for link, anchor in pages[page].links if anchor == column.name and "/nbs/" in link]
        notebook, anchor = resolved(page, declared)
        html = (site / notebook).read_text()
        if column in table.tool_columns:
            first, _, named = anchor.partition("-")  # the first table and column that this declaration is of
            back = f'<span id="{anchor}"><a href="../../dictionary/tables/{first}.html#{named}">'
            assert back in html or f'<span id="{anchor}"></span>' in html  # where a loop makes the name
            assert named in pages[f"dictionary/tables/{first}.html"].ids
        else:
            assert f'<span id="{anchor}"><a href="../../docs/analysts.html#what-every-table-has">{column.name}' in html


def test_most_columns_lead_to_a_declaration_of_their_own(pages):
    links = {(name, link) for name in TABLES for link, _ in pages[f"dictionary/tables/{name}.html"].links}
    own = [link for _, link in links if "/nbs/importers/" in link and "#" in link]
    assert len(own) > 0.7 * sum(len(entry.table.tool_columns) for entry in TABLES.values())


def test_the_dictionary_is_there_for_programs(site):
    assert (site / "dictionary/dictionary.txt").read_text() == whole_dictionary(list(TABLES.values()))
    for name, entry in TABLES.items():
        assert json.loads((site / f"dictionary/schemas/{name}.json").read_text()) == table_schema(entry)


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_page_has_example_rows(name, site):
    html = (site / f"dictionary/tables/{name}.html").read_text()
    examples = html.split('id="example-rows"')[1]
    assert "row 1" in examples
    assert [c.name for c in TABLES[name].table.tool_columns if not re.search(f"<td[^>]*>{c.name}</td>", examples)] == []


def test_the_reference_has_what_comments_say(pages):
    text = "".join(pages["docs/reference.html"].text)
    for said in (
        "how other versions of the tool spell it",
        "called once, after the cheap checks",
        "one for each table",
    ):
        assert said in text


# in a browser


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with headless_chromium() as chrome:
        yield chrome


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served."""
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def looking(browser, size=WIDE, scheme="light"):
    """Look with a screen of this size, and a preference for light or dark colors."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_page_renders_without_errors_and_fits_a_narrow_screen(browser, address, pages):
    errors, wide = {}, []
    _ = requested(browser), browser.get_log("browser")  # what pages before did
    with looking(browser, NARROW):
        for name in pages:
            browser.get(f"{address}/{name}")
            if browser.execute_script("return document.documentElement.scrollWidth") > NARROW[0]:
                wide.append(name)
            if messages := [line["message"] for line in browser.get_log("browser")]:
                errors[name] = messages
    assert errors == {}
    assert wide == []
    assert {url for url in requested(browser) if not url.startswith(f"{address}/")} == set()


def search(browser, words: str) -> None:
    """Type words into the site's search."""
    field = browser.find_element(By.CSS_SELECTOR, "input.md-search__input")
    browser.execute_script("document.querySelector('#__search').click()")
    WebDriverWait(browser, 10).until(lambda _: field.is_displayed())
    field.send_keys(words)


def first_found(browser) -> list[str]:
    """The titles of the best three pages that the search has found so far."""
    titles = "return [...document.querySelectorAll('.md-search-result__item h1')].map((x) => x.textContent).slice(0, 3)"
    return browser.execute_script(titles)


@pytest.mark.parametrize("from_files", [False, True], ids=["served", "from files"])
def test_search_finds_tables(from_files, browser, address, site):
    with looking(browser):
        for words, table in (
            ("contamination", "autoimport.checkm2"),
            ("antibiotic resistance", "autoimport.amrfinderplus"),
        ):
            browser.get(f"{site.as_uri()}/index.html" if from_files else f"{address}/index.html")
            search(browser, words)
            WebDriverWait(browser, 20).until(lambda b, table=table: table in first_found(b), f"{table} by {words!r}")


def shown_columns(browser) -> list[list[str]]:
    """The cells of the rows that the search over all columns shows."""
    rows = """return [...document.querySelectorAll('#all-columns tbody tr')].filter((row) => row.offsetHeight)
              .map((row) => [...row.cells].map((cell) => cell.textContent))"""
    return browser.execute_script(rows)


def test_columns_are_found_by_word_and_unit(browser, address):
    with looking(browser):
        browser.get(f"{address}/dictionary/columns.html")
        assert len(shown_columns(browser)) == sum(len(entry.table.tool_columns) for entry in TABLES.values())
        words = browser.find_element(By.NAME, "words")
        words.send_keys("antibiotic resistance class")
        assert [row[:2] for row in shown_columns(browser)] == [
            ["Class", "amrfinderplus"],
            ["Subclass", "amrfinderplus"],
        ]
        words.clear()
        words.send_keys("contamination")
        Select(browser.find_element(By.NAME, "unit")).select_by_visible_text("%")
        found = shown_columns(browser)
        assert ["Contamination", "checkm2"] in [row[:2] for row in found]
        assert {row[3] for row in found} == {"%"}
        assert browser.find_element(By.TAG_NAME, "output").text.startswith(f"{len(found)} of ")


def test_wide_tables_scroll_on_a_narrow_screen(browser, address):
    with looking(browser, NARROW):
        browser.get(f"{address}/dictionary/tables/quast.html")
        scrolls = """let box = document.querySelector('.md-typeset__scrollwrap'); box.scrollLeft = 200;
                     return [box.scrollWidth > box.clientWidth, box.scrollLeft]"""
        assert browser.execute_script(scrolls) == [True, 200]


# the contrast of each text that is shown with what is behind it, as WCAG 2 defines it
CONTRASTS = """
const rgba = (color) => { const c = color.match(/[\\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
const light = (color) => { const [r, g, b] = color.slice(0, 3).map((x) => x / 255).map(
    (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (element) => { const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 || !element.parentElement ? (own[3] ? own : [255, 255, 255, 1]) : over(own, behind(element.parentElement)); };
const found = [];
for (const element of document.querySelectorAll(".md-main *")) {
    const text = [...element.childNodes].filter((x) => x.nodeType === 3).map((x) => x.data.trim()).join("");
    if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const back = behind(element), ink = over(rgba(getComputedStyle(element).color), back);
    const [high, low] = [light(ink), light(back)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), text.slice(0, 40), element.className]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(scheme, browser, address):
    pages = (
        "index",
        "docs/analysts",
        "dictionary/tables/checkm2",
        "dictionary/columns",
        "nbs/importers/checkm2",
        "docs/reference",
    )
    with looking(browser, scheme=scheme):
        for page in pages:
            browser.get(f"{address}/{page}.html")
            shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 200) == (scheme == "dark")
            contrasts = browser.execute_script(CONTRASTS)
            assert len(contrasts) > 50
            assert [x for x in contrasts if x[0] < 4.5] == []
