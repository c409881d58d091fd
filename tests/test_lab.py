"""JupyterLab as `make lab` starts it, without the lake."""

import json
import subprocess
import time
import urllib.request

from cdmeventimporters.dev.lake.s3 import free_ports
from cdmeventimporters.dev.lake.warm import LAB

NOTIFICATION = "lab/api/settings/@jupyterlab/apputils-extension:notification"


def test_jupyterlab_asks_nobody_for_news(tmp_path):
    [port] = free_ports(1)
    options = ["--allow-root", "--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=t"]
    log = tmp_path / "log"
    with subprocess.Popen([*LAB, *options], cwd=tmp_path, stdout=log.open("w"), stderr=subprocess.STDOUT) as running:
        try:
            end = time.monotonic() + 60
            while "/lab?token=" not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{NOTIFICATION}?token=t") as answer:
                defaults = json.load(answer)["schema"]["properties"]
        finally:
            running.terminate()
    assert (defaults["fetchNews"]["default"], defaults["checkForUpdates"]["default"]) == ("false", False)
