"""Execute notebooks on a warm lake, and store what they show, so that it is equal in every run: `make notebooks`."""

import os
import re
import sys
from pathlib import Path

import nbformat
from conftest import NEW_IN_EACH_RUN, ROOT, SHOWING
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from nbval.plugin import coalesce_streams, get_sanitize_patterns

from cdmeventimporters.dev.lake.warm import ensure_warm

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


def execute(file: Path) -> None:
    """Execute a notebook in its folder and store its outputs; raise `CellExecutionError` if a cell fails."""
    notebook = nbformat.read(file, 4)
    here = {"metadata": {"path": str(file.parent)}}
    NotebookClient(notebook, timeout=600, resources=here, extra_arguments=[PLOTS]).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.metadata = stored(cell), {}
    nbformat.write(notebook, file)
    nbdev_clean.__wrapped__(str(file))


def main(*names: str) -> None:
    """Execute these notebooks, or all that are committed with outputs."""
    os.environ |= {"CDM_LAKE": str(ensure_warm()[0]), "IN_TEST": "1"}
    notebooks = [file for folder in SHOWING for file in sorted((ROOT / "nbs" / folder).glob("*.ipynb"))]
    for file in [Path(name).resolve() for name in names] or notebooks:
        print(file.stem, flush=True)
        execute(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
