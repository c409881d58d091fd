"""Notebooks are the source: modules equal them, they are clean, and they read as they should."""

import ast
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from conftest import ROOT, SHOWING
from outputs import alternative, credentials, refuse_credentials, stable
from recording import LONGEST, PICTURE, picture

NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
EXPORTING = [p for p in NOTEBOOKS if "tutorials" not in p.parts]

SHOWN = [p for p in NOTEBOOKS if p.parent.name in SHOWING]  # with outputs, which `make notebooks` stores

NEAR = 10  # cells after its definition in which a public name is used


def by_name(path):
    """The id of a notebook's test."""
    return path.relative_to(ROOT / "nbs").as_posix()


def cells(notebook, kind="code"):
    """The sources of a notebook's cells of a kind."""
    return ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == kind]


def is_exported(cell) -> bool:
    """Whether a code cell goes into the module."""
    return re.match(r"#\|\s*export", cell) is not None


def exported(notebook):
    """The code that goes into the module, cell by cell, without the directive and blank lines."""
    code = [re.sub(r"^#\|.*\n", "", c) for c in cells(notebook) if is_exported(c)]
    return [re.sub(r"\n\s*\n", "\n", c.strip()) for c in code]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project, for tools that write."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("nbs", "cdmeventimporters"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("settings.ini", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def files(folder, pattern):
    """The files below a folder by their relative path."""
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob(pattern) if "__pycache__" not in p.parts
    }


def nbdev(command, folder):
    """Run one of nbdev's commands in a folder; under `IN_TEST`, which the notebooks run with, it would do nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "IN_TEST"}
    subprocess.run(
        [Path(sys.executable).parent / command], cwd=folder, env=environment, check=True, capture_output=True
    )


def test_exported_modules_equal_the_notebooks(copy):
    for module in (copy / "cdmeventimporters").rglob("*.py"):
        module.unlink()
    nbdev("nbdev_export", copy)
    assert files(copy / "cdmeventimporters", "*.py") == files(ROOT / "cdmeventimporters", "*.py")


def test_notebooks_are_clean(copy):
    nbdev("nbdev_clean", copy)
    assert files(copy / "nbs", "*.ipynb") == {by_name(p): p.read_text() for p in NOTEBOOKS}


def test_no_two_notebooks_export_one_module():
    modules = [m for p in NOTEBOOKS for c in cells(p) for m in re.findall(r"^#\|\s*default_exp (\S+)", c)]
    assert len(set(modules)) == len(modules) == len(EXPORTING)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_a_notebook_begins_with_its_title_and_one_sentence(notebook):
    assert re.match(r"# .+\n+> .+(\n\n|$)", cells(notebook, "markdown")[0])


@pytest.mark.parametrize("notebook", EXPORTING, ids=by_name)
def test_no_cell_is_long(notebook):
    assert max(len(c.split("\n")) for c in exported(notebook)) <= 50


def test_over_all_notebooks_cells_are_small_and_few_are_hidden():
    as_long_as_need_be = re.compile(r"(import|from) \S+|\w+ = Table\(")  # a table has as many lines as columns
    lengths = sorted(len(c.split("\n")) for p in EXPORTING for c in exported(p) if not as_long_as_need_be.match(c))
    assert statistics.median(lengths) <= 8
    assert lengths[int(len(lengths) * 0.9)] <= 20
    code = [c for p in NOTEBOOKS for c in cells(p)]
    assert sum(c.startswith("#| hide") for c in code) <= 0.1 * len(code)


def public(cell):
    """The functions and classes that a cell defines for others, those that fastcore's `patch` makes methods of among them."""
    nodes = ast.parse(cell).body if is_exported(cell) else []
    return [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


def names_used(cell) -> set[str]:
    """The names that an example calls or refers to, in its syntax tree: not those in a string."""
    code = re.sub(r"^[%!].*$", "", cell, flags=re.MULTILINE)  # what only a notebook understands
    nodes = [] if is_exported(cell) else list(ast.walk(ast.parse(code)))
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


def test_a_name_in_a_string_is_not_an_example():
    assert names_used("print('Job aborted', Outcome, spark.table)") == {"print", "Outcome", "spark", "table"}


@pytest.mark.parametrize("notebook", EXPORTING, ids=by_name)
def test_all_that_is_public_is_used_soon_after_its_definition(notebook):
    book = json.loads(notebook.read_text())["cells"]
    code = ["".join(c["source"]) if c["cell_type"] == "code" else "" for c in book]
    missing = []
    for n, cell in enumerate(code):
        soon = set().union(*map(names_used, code[n + 1 : n + 1 + NEAR]))
        missing += [node.name for node in public(cell) if node.name not in soon]
    assert missing == []


@pytest.mark.parametrize("notebook", EXPORTING, ids=by_name)
def test_all_that_is_public_has_a_docstring(notebook):
    assert [n.name for c in cells(notebook) for n in public(c) if not ast.get_docstring(n)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_a_notebook_tells_nothing_of_the_machine_it_ran_on(notebook):
    text = notebook.read_text()
    assert re.findall(r"/home/|/root/|/work/|/Users/|/tmp/|127\.0\.0\.1:\d+", text) == []
    assert "nbdev_export()" not in text
    assert all(c.get("id") for c in json.loads(text)["cells"])


def shown(notebook):
    """The source and the outputs of each code cell."""
    book = json.loads(notebook.read_text())["cells"]
    return [("".join(c["source"]), c["outputs"]) for c in book if c["cell_type"] == "code"]


def texts(outputs) -> list[str]:
    """The texts of outputs, whatever their kind."""
    some = [o.get("text", ()) for o in outputs]
    some += [x for o in outputs for kind, x in o.get("data", {}).items() if kind.startswith("text/")]
    return ["".join(x) for x in some]


@pytest.mark.parametrize("notebook", SHOWN, ids=by_name)
def test_what_shows_something_has_its_output(notebook):
    """`make notebooks` stores it; that it is what the cell shows today, nbval checks in `make test-importers` and `make test-all`."""
    called = re.compile(r"^[^#\n]*\b(print|show|subplots)\(", re.MULTILINE)
    cells = [(source, outputs) for source, outputs in shown(notebook) if not is_exported(source)]
    assert [source for source, outputs in cells if called.search(source) and not outputs] == []


@pytest.mark.parametrize("notebook", SHOWN, ids=by_name)
def test_outputs_hold_nothing_that_varies(notebook):
    varies = re.compile(
        r"/(?:home|root|work|Users|tmp|var)/|\w:\d{4,5}\b|0x[0-9a-f]{6,}|\d\d:\d\d:\d\d|\b\d+\.\d+ m?s\b|(?:token|secret|password)\w*=",
        re.IGNORECASE,
    )
    outputs = [o for _, some in shown(notebook) for o in some]
    assert {o["output_type"] for o in outputs} <= {"stream", "display_data", "execute_result"}
    assert {o["name"] for o in outputs if o["output_type"] == "stream"} <= {"stdout"}
    for text in texts(outputs):
        assert varies.findall(text) == []
        assert stable(text) == text


def test_names_that_are_new_in_each_run_are_not_stored():
    job = "CTS job 0b65e1f0-8a34-4c0f-9d5e-2f7d6a1c3b4e was not imported into u_nb0816ad33__autoimport.checkm2: nb-0816ad33/cts"
    assert stable(job) == "CTS job JOB_ID was not imported into u_USER__autoimport.checkm2: BUCKET/cts"


def test_outputs_that_hold_a_credential_are_not_stored():
    s3 = {"name": "MinIO", "endpoint": "http://localhost:1", "access_key": "desk", "secret_key": "passw0rd"}
    hidden = credentials({"remote": "sc://localhost:2/;token=abc", "s3": s3})
    for text in ("the key is desk.", "passw0rd", "http://localhost:1", "token=abc"):
        cell = nbformat.v4.new_code_cell("show(lake)", outputs=[nbformat.v4.new_output("stream", text=text)])
        with pytest.raises(SystemExit) as refused:
            refuse_credentials(nbformat.v4.new_notebook(cells=[cell]), hidden)
        assert str(refused.value) == (
            "An output holds a credential of the lake, so none was stored. The cell is:\nshow(lake)"
        )
    cell.outputs[0].text = "rows"
    refuse_credentials(nbformat.v4.new_notebook(cells=[cell]), hidden)


@pytest.mark.parametrize("notebook", SHOWN, ids=by_name)
def test_a_notebook_with_outputs_is_small(notebook):
    assert notebook.stat().st_size <= 150_000


@pytest.mark.parametrize("notebook", SHOWN, ids=by_name)
def test_a_plot_has_an_alternative_text(notebook):
    for source, outputs in shown(notebook):
        for image in (o for o in outputs if "image/png" in o.get("data", {})):
            assert image["metadata"]["image/png"]["alt"] == alternative(source)


@pytest.mark.parametrize("notebook", [p for p in SHOWN if p in EXPORTING], ids=by_name)
def test_an_importers_notebook_ends_with_a_plot(notebook):
    source, outputs = shown(notebook)[-1]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert all(f"{name}=" in source or f"set_{name}(" in source for name in ("xlabel", "title"))


# the recording of the demo


def test_a_recording_shows_each_line_when_it_came_and_cuts_long_pauses():
    svg = picture([(1.0, "$ make demo"), (61.0, "<up> & running"), (61.5, "done")], "make demo")
    texts = [x.replace("\xa0", " ").strip() for x in ElementTree.fromstring(svg).itertext()]
    assert [x for x in texts if x in ("$ make demo", "<up> & running", "done")] == [
        "$ make demo",
        "<up> & running",
        "done",
    ]
    delays = re.findall(r"line-(\d+)\)'\] \{ animation-delay: ([\d.]+)s", svg)
    assert delays == [("0", "1.00"), ("1", f"{1 + LONGEST:.2f}"), ("2", f"{1.5 + LONGEST:.2f}")]


def test_the_recording_is_of_todays_demo_and_holds_no_path_host_or_time_of_day():
    """`make recording` renews it."""
    svg = PICTURE.read_text()
    text = "\n".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    titles = re.findall(r'yield "([^"]+)"', (ROOT / "cdmeventimporters/dev/lake/demo.py").read_text())
    assert len(titles) == 5
    assert [title for title in titles if title not in text] == []
    assert "column Completeness: '9l.7' is not a number" in text
    assert (
        re.findall(
            r"/(?:home|root|work|Users|tmp|var)/|https?://(?!www\.w3\.org|www\.textualize\.io)|\d\d:\d\d:\d\d", svg
        )
        == []
    )
