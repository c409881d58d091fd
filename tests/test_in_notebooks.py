"""What a reader of a notebook sees: results as tables, errors as messages, neither Java's stack nor ours."""

import nbformat
import pyspark
import pytest
from nbclient import NotebookClient

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not pyspark.__version__.startswith("4.1"), reason="notebooks run on the Spark that people work in"
    ),
]

SETUP = """
from cdmeventimporters.checkm2 import run_import
from cdmeventimporters.dev.lake.lake import Lake
from cdmeventimporters.dev.lake.warm import attach

lake = attach()
spark = lake.get_spark()
image = "ghcr.io/kbasetest/cdm_checkm2"
"""
CELLS = {
    "table": "spark.sql(\"SELECT 'asm1' AS name, 7 AS size\")",
    "outcome": 'lake.submit(image, {"log.txt": "out of memory"}, job_id="job-1")',
    "import": 'run_import(lake.get_spark, lake.job(image, {"log.txt": ""}, job_id="job-1"), {"table": "autoimport.checkm2"})',
    "refused": 'name = "nowhere.checkm2"\nspark.table(name).count()',
    "failed": 'spark.sql("SELECT 1 / 0").collect()',
    "not ready": "Lake()",
}


@pytest.fixture(scope="module")
def shown():
    """What each cell shows: its one output."""
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, *CELLS.values())]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=300, allow_errors=True).execute()
    first, *rest = notebook.cells
    assert first.outputs == []
    return {name: cell.outputs for name, cell in zip(CELLS, rest, strict=True)}


def test_a_dataframe_is_a_table(shown):
    [output] = shown["table"]
    assert "<td>asm1</td><td>7</td>" in output.data["text/html"]


def test_a_failed_job_is_its_message(shown):
    [output] = shown["outcome"]
    text = output.data["text/markdown"]
    assert text.startswith("```\njob job-1 · 1 file · ")
    assert (
        "No output file is named 'quality_report.tsv' or '*_checkm2_report.tsv'. The job has 1 output file:\n  log.txt\n"
        in text
    )
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("import", ["ImportFailed: CTS job job-1 (ghcr.io/kbasetest/cdm_checkm2) was not imported. No table was changed."]),
        ("refused", ["AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere`.`checkm2` cannot be found.",
                     "  line 2 of the cell: spark.table(name).count()"]),
        ("failed", ["ArithmeticException: [DIVIDE_BY_ZERO] Division by zero.",
                    '  line 1 of the cell: spark.sql("SELECT 1 / 0").collect()']),
        ("not ready", ["UsageError: This process is attached to a warm lake: a Lake of its own needs another process."]),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip
def test_an_error_is_its_message(shown, cell, lines):
    [output] = shown[cell]
    assert output.output_type == "error"
    assert len(output.traceback) == len(lines)
    assert all(said.startswith(line) for said, line in zip(output.traceback, lines, strict=True))
    assert not any(word in "\n".join(output.traceback) for word in ("\tat ", "pyspark/", "JVM stacktrace", "Traceback"))
