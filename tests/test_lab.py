"""JupyterLab as `make lab` starts it, without the lake."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest
from conftest import ROOT

from cdmeventimporters.dev.lake.s3 import free_ports
from cdmeventimporters.dev.lake.warm import LAB

NOTIFICATION = "lab/api/settings/@jupyterlab/apputils-extension:notification"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project's notebooks."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(ROOT / "settings.ini", folder)
    return folder


@pytest.fixture(scope="module")
def ask(project):
    """A running server's answer to a request: `ask(path)`, or `ask(path, model)` to save."""
    [port] = free_ports(1)
    options = ["nbs", "--allow-root", "--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=t"]

    def answer(path, model=None):
        body = json.dumps(model).encode() if model else None
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body, method="PUT" if body else "GET")
        request.add_header("Authorization", "token t")
        with urllib.request.urlopen(request) as found:
            return json.load(found)

    log = project / "log"
    with subprocess.Popen([*LAB, *options], cwd=project, stdout=log.open("w"), stderr=subprocess.STDOUT) as running:
        try:
            end = time.monotonic() + 60
            while "/lab?token=" not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield answer
        finally:
            running.terminate()


def test_jupyterlab_asks_nobody_for_news(ask):
    defaults = ask(NOTIFICATION)["schema"]["properties"]
    assert (defaults["fetchNews"]["default"], defaults["checkForUpdates"]["default"]) == ("false", False)


def test_a_notebook_that_was_run_is_saved_as_it_was_stored(ask, project):
    for file in sorted((project / "nbs").rglob("*.ipynb")):
        path, before = f"api/contents/{file.relative_to(project / 'nbs')}", file.read_bytes()
        model = ask(path)
        for n, cell in enumerate(model["content"]["cells"]):
            if cell["cell_type"] == "code":
                shown = {"output_type": "stream", "name": "stdout", "text": f"{n}"}
                cell |= {
                    "execution_count": n,
                    "outputs": [shown],
                    "metadata": {"execution": {"iopub.status.idle": "now"}},
                }
        ask(path, model)
        assert file.read_bytes() == before, file.name


def test_a_cell_that_was_changed_shows_nothing(ask, project):
    file = project / "nbs/importers/checkm2.ipynb"
    model = ask("api/contents/importers/checkm2.ipynb")
    last = [cell for cell in model["content"]["cells"] if cell.get("outputs")][-1]
    last["source"] += "\n# changed"
    ask("api/contents/importers/checkm2.ipynb", model)
    before, after = (json.loads(x.read_text())["cells"] for x in (ROOT / "nbs/importers/checkm2.ipynb", file))
    changed = [cell["id"] for cell, old in zip(after, before, strict=True) if cell != old]
    assert changed == [last["id"]]
    assert next(cell for cell in after if cell["id"] == last["id"])["outputs"] == []
