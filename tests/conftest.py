"""A lake for the tests: real Spark, Delta and S3, one session for a whole run, and a namespace for each test."""

import functools
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner
from xdist.scheduler import LoadScopeScheduling

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core.files import DRIVER_BYTES
from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.dev.cli import app
from cdmeventimporters.dev.lake.jars import jars
from cdmeventimporters.dev.lake.lake import Lake, Outcome
from cdmeventimporters.dev.lake.warm import ensure_warm
from cdmeventimporters.dev.operate import named_spark

ROOT = Path(__file__).parents[1]
TOOLS = sorted(file.stem for file in (ROOT / "cdmeventimporters").glob("*.yaml"))
SAMPLES = ROOT / "tests/data/checkm2"
NEW, OLD = ((SAMPLES / version / "quality_report.tsv").read_text() for version in ("1.0.2", "1.0.1"))
HEADER, *ROWS = NEW.split("\n")
IMAGE = "ghcr.io/kbasetest/cdm_checkm2"

SHOWING = ("importers", "tutorials")  # the folders of notebooks that are committed with what they show
NEW_IN_EACH_RUN = ROOT / "tests/outputs.cfg"  # names that notebooks show, and what is stored of them

# the server that the environment names, or else those of CDM_TEST_S3, each in its turn
SERVERS = [None] if os.environ.get("CDM_S3_ENDPOINT") else os.environ.get("CDM_TEST_S3", "seaweedfs").split(",")

FORMAT = os.environ.get("CDM_FORMAT", "delta")
delta_only = pytest.mark.skipif(FORMAT != "delta", reason="only Delta has locks, and settings and folders of its own")
iceberg_only = pytest.mark.skipif(
    FORMAT != "iceberg", reason="only Iceberg has snapshots that expire, and conflicts instead of locks"
)

_namespaces = itertools.count()


def report(*rows, header=HEADER, **cells) -> str:
    """A CheckM2 report of these rows; without any, of one genome with these cells."""
    names = header.split("\t")
    genome = dict(zip(HEADER.split("\t"), ROWS[0].split("\t"), strict=True)) | cells
    rows = rows or ["\t".join(genome.get(name, "") for name in names)]
    return "\n".join([header, *rows, ""])


def cdm_importers(*arguments, cwd=None, env=os.environ) -> subprocess.CompletedProcess:
    """What the command line says, in a process of its own."""
    command = [Path(sys.executable).parent / "cdm-importers", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={**env, "COLUMNS": "200"}, capture_output=True, text=True)


def in_project(project: Path, *arguments) -> subprocess.CompletedProcess:
    """What the command says in a project."""
    return cdm_importers(*arguments, cwd=project.parent, env=os.environ | {"PYTHONPATH": str(project)})


def written(project: Path) -> dict[str, bytes]:
    """All files of a project, apart from caches."""
    files = (p for p in project.rglob("*") if p.is_file() and p.suffix != ".pyc" and ".ruff_cache" not in p.parts)
    return {str(p.relative_to(project)): p.read_bytes() for p in files}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A copy of the project, of which tests take copies."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("nbs/importers", "cdmeventimporters", "tests/data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for part in ("settings.ini", "pyproject.toml"):
        shutil.copy(ROOT / part, folder)
    return folder


@pytest.fixture
def project(pristine, tmp_path, monkeypatch) -> Path:
    """A project to write into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # which remembers what `new` wrote
    return shutil.copytree(pristine, tmp_path / "project")


def pytest_configure(config):
    """What all workers share: the jars, and one warm lake for all notebooks, so that each is a kernel and not a JVM."""
    config.option.nbval_sanitize_with = str(NEW_IN_EACH_RUN)
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    jars()
    if config.option.nbval_lax and "CDM_LAKE" not in os.environ:
        os.environ["CDM_LAKE"] = str(ensure_warm()[0])


def pytest_collection_modifyitems(items):
    """Hold notebooks to the outputs that they are committed with, plots aside: nbval compares no images."""
    for item in items:
        if item.path.suffix == ".ipynb" and any(cell.get("outputs") for cell in item.parent.nb.cells):
            item.cell.execution_count = 0  # nbdev removes the counts, and nbval compares nothing without them
            item.options["check"] = not any("image/png" in output.get("data", {}) for output in item.cell.outputs)
            item.parent.skip_compare = {*item.parent.skip_compare, "stderr"}


class ByFileOrImporter(LoadScopeScheduling):
    """A file's tests are for one worker, as they share fixtures; those of all importers, for each importer."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        return f"{file} {test.partition('[')[2]}" if file.endswith("test_importers.py") else file


@pytest.hookimpl(optionalhook=True)  # xdist may be off
def pytest_xdist_make_scheduler(config, log):
    """How tests are spread over workers."""
    return ByFileOrImporter(config, log)


@pytest.fixture(scope="session", params=SERVERS)
def lake(request):
    """A lake with a classic session, as CSEP has it; once for each S3 server."""
    with Lake(s3=request.param) as lake:
        yield lake


@pytest.fixture(scope="session")
def shared_lake():
    """A lake with a metastore, for drivers in processes of their own; nobody in this one starts a Spark on it."""
    with Lake(s3=SERVERS[0], metastore=True) as lake:
        yield lake


def importer(*tables, driver_bytes=DRIVER_BYTES):
    """A `run_import` for these tables; with `driver_bytes=0`, Spark holds the lines of all files."""
    return partial(_import, tables=tables, driver_bytes=driver_bytes)


def _import(get_spark, job_info, metadata, *, tables, driver_bytes):
    return import_tables(get_spark, job_info, metadata, *tables, driver_bytes=driver_bytes)


@functools.cache
def _onlooker(spark):
    """A session in which Delta works out what a table holds by one task: by 50, as it would, a look takes 7 s."""
    session = spark.newSession()
    session.conf.set("spark.databricks.delta.snapshotPartitions", "1")
    session.conf.set("spark.sql.shuffle.partitions", "2")
    return session


@dataclass
class Desk:
    """One test's place in the lake: a namespace that no other test has."""

    driver_bytes: ClassVar = DRIVER_BYTES  # the fixture `size` sets it

    lake: Lake
    namespace: str

    def submit(self, files, meta=None, image=IMAGE, **job) -> Outcome:
        """Deliver a CheckM2 job; a string stands for its report."""
        files = {"quality_report.tsv": files} if isinstance(files, str | bytes) else files
        if image == IMAGE:
            job = {"run_import": importer(quality_report, driver_bytes=self.driver_bytes)} | job
        return self.lake.submit(image, files, meta={"table": f"{self.namespace}.checkm2"} | (meta or {}), **job)

    def good(self, files, **how) -> Outcome:
        """Deliver a job that must be imported."""
        outcome = self.submit(files, **how)
        assert outcome.error is None, str(outcome.error)
        return outcome

    def bad(self, files, **how) -> str:
        """Deliver a job that must fail without a change to any table but the log; the message, without job and paths."""
        before = self.commits()
        outcome = self.submit(files, **how)
        assert outcome.error is not None, "it was imported"
        assert self.commits() == before
        folder = f"{self.lake.bucket}/"
        message = (
            str(outcome.error).replace(outcome.job_info.get("id", ""), "JOB").replace(self.full("checkm2"), "TABLE")
        )
        return message.replace(folder, "")

    def full(self, table: str) -> str:
        """The name of a table with the user's prefix."""
        return f"{self.lake.prefix}{self.namespace}.{table}"

    @property
    def spark(self):
        """A session to look at tables with; imports have the lake's own, with CSEP's settings."""
        return _onlooker(self.lake.get_spark()) if FORMAT == "delta" else self.lake.get_spark()

    def exists(self, table="checkm2") -> bool:
        """Whether there is such a table."""
        return self.spark.catalog.tableExists(self.full(table))

    def commits(self, table="checkm2") -> int:
        """How often the table was written to; 0 if there is none."""
        if not self.exists(table):
            return 0
        if self.lake.format == "delta":
            return self.spark.sql(f"DESCRIBE HISTORY {self.full(table)}").count()
        self.spark.sql(f"REFRESH TABLE {self.full(table)}")
        return self.spark.sql(f"SELECT * FROM {self.full(table)}.snapshots").count() + 1  # and its creation

    def rows(self, *columns, table="checkm2", key="Name"):
        """The rows of a table by their key: as Rows, or as tuples of these columns."""
        rows = self.spark.table(self.full(table)).collect()
        return {r[key]: tuple(r[c] for c in columns) if columns else r for r in rows}

    def log(self, *columns) -> list[tuple]:
        """The import log, oldest first."""
        return [
            tuple(r)
            for r in self.spark.table(self.full("import_log")).orderBy("started", "finished").select(*columns).collect()
        ]


@pytest.fixture
def desk(lake):
    """A namespace of its own in the lake."""
    return Desk(lake, f"t{next(_namespaces)}")


@pytest.fixture(scope="module")
def shared(lake):
    """A namespace for all tests of a module, with one genome in its table."""
    desk = Desk(lake, f"t{next(_namespaces)}")
    desk.good(report(Name="first"))
    return desk


@pytest.fixture(params=["in the driver", "in Spark"])
def size(request):
    """Both ways of reading: files whose lines the driver holds, and files that are too large for that."""
    Desk.driver_bytes = DRIVER_BYTES if request.param == "in the driver" else 0
    yield
    Desk.driver_bytes = DRIVER_BYTES


@pytest.fixture
def run_command(monkeypatch, lake):
    """A run of `cdm-importers` with these arguments, on the lake's session."""
    monkeypatch.setattr(named_spark, "named_spark", lake.get_spark)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        ran = CliRunner().invoke(app, [str(x) for x in arguments])
        assert "Traceback" not in ran.output, ran.output
        return ran

    return run
