"""Execute notebooks on a warm lake, and store what they show, so that it is equal in every run: `make notebooks`."""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
from conftest import NEW_IN_EACH_RUN, ROOT, SHOWING
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from nbval.plugin import coalesce_streams, get_sanitize_patterns

from cdmeventimporters.dev.lake.warm import attach, ensure_warm

PLOTS = "--InlineBackend.print_figure_kwargs={'bbox_inches': 'tight', 'metadata': {'Software': None}}"


def stable(text: str) -> str:
    """A text without the names that are new in each run."""
    for pattern, name in get_sanitize_patterns(NEW_IN_EACH_RUN.read_text()):
        text = re.sub(pattern, name, text)
    return text


def alternative(source: str) -> str | None:
    """The alternative text of a cell's plot, which is Quarto's `fig-alt`."""
    found = re.search(r"^#\| fig-alt: (.+)$", source, re.MULTILINE)
    return found and found[1]


def stored(cell) -> list:
    """What is stored of a cell's outputs: neither stderr nor what varies."""
    kept = [x for x in coalesce_streams(cell.outputs) if x.get("name") != "stderr"]
    for output in kept:
        if output.output_type == "stream":
            output.text = stable(output.text)
            continue
        output.data = {kind: stable(x) if kind.startswith("text/") else x for kind, x in output.data.items()}
        if "image/png" in output.data and (text := alternative(cell.source)):
            output.metadata["image/png"] = {"alt": text}
    return kept


def credentials(connection: dict) -> set[str]:
    """What a lake's connection file holds that no output may show."""
    s3, token = connection["s3"], connection["remote"].rpartition("=")[2]
    return {s3["access_key"], s3["secret_key"], s3["endpoint"], token}


def refuse_credentials(notebook, hidden: set[str]) -> None:
    """Raise `SystemExit` if an output of a notebook shows one of these texts."""
    for cell in notebook.cells:
        if any(text in json.dumps(cell.get("outputs", ())) for text in hidden):
            source = cell.source[:200]
            raise SystemExit(f"An output holds a credential of the lake, so none was stored. The cell is:\n{source}")


def execute(file: Path, hidden: set[str]) -> None:
    """Execute a notebook in its folder and store its outputs, which must not show these texts; raise `CellExecutionError` if a cell fails."""
    notebook = nbformat.read(file, 4)
    here = {"metadata": {"path": str(file.parent)}}
    NotebookClient(notebook, timeout=600, resources=here, extra_arguments=[PLOTS]).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.metadata = stored(cell), {}
    refuse_credentials(notebook, hidden)
    nbformat.write(notebook, file)
    nbdev_clean.__wrapped__(str(file))


def main(*names: str) -> None:
    """Execute these notebooks, or all that are committed with outputs."""
    lake = ensure_warm()[0]
    attach()  # waits until it is up
    os.environ |= {"CDM_LAKE": str(lake), "IN_TEST": "1"}
    hidden = credentials(json.loads((lake / "connection.json").read_text()))
    notebooks = [file for folder in SHOWING for file in sorted((ROOT / "nbs" / folder).glob("*.ipynb"))]
    for file in [Path(name).resolve() for name in names] or notebooks:
        print(file.stem, flush=True)
        execute(file, hidden)


if __name__ == "__main__":
    main(*sys.argv[1:])
