"""What CSEP relies on: the specs and modules load as it loads them, in the little that is there at run time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from cdmeventimporters.dev.catalog import problems

SPECS = sorted((ROOT / "cdmeventimporters").glob("*.y*ml"))

BARE = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
from pyspark import SparkContext
from pyspark.sql import SparkSession
print(json.dumps({
    "callable": callable(module.run_import),
    "gateway": SparkContext._gateway is not None,
    "session": SparkSession.getActiveSession() is not None,
    "foreign": sorted({n.split(".")[0] for n in sys.modules} & {"delta", "pandas", "boto3", "rich", "fastcore", "nbdev"}),
    "desk": sorted(n for n in sys.modules if n.startswith("cdmeventimporters.dev")),
}))
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> str:
    """A path with what CSEP has: a copy of the importers' folder, pyspark and yaml; no package of the project."""
    folder = tmp_path_factory.mktemp("runtime")
    shutil.copytree(
        ROOT / "cdmeventimporters", folder / "cdmeventimporters", ignore=shutil.ignore_patterns("__pycache__")
    )
    for module in ("pyspark", "py4j", "yaml"):
        (folder / module).symlink_to(Path(__import__(module).__file__).parent)
    return str(folder)


def test_the_catalog_has_no_problems():
    assert problems(ROOT / "cdmeventimporters") == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_an_importer_loads_with_the_standard_library_pyspark_and_yaml_and_makes_no_session(runtime, spec):
    module = yaml.safe_load(spec.read_text())["py_module"]
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {runtime!r})\n{BARE}", module]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runtime)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"callable": True, "gateway": False, "session": False, "foreign": [], "desk": []}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_an_importer_is_a_notebook_a_module_and_samples_of_one_stem(spec):
    """That of its YAML file, or another whose module it names, for another image."""
    package, stem = yaml.safe_load(spec.read_text())["py_module"].split(".")
    assert package == "cdmeventimporters"
    assert (ROOT / f"cdmeventimporters/{stem}.yaml").exists()
    assert (ROOT / f"nbs/importers/{stem}.ipynb").exists()
    assert (ROOT / f"cdmeventimporters/{stem}.py").exists()
    assert [p for p in (ROOT / f"tests/data/{stem}").glob("*/**/*") if p.is_file()]
