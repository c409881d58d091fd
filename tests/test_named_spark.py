"""An operator's commands on the Spark that a `spark-defaults.conf` describes: over a metastore that others share, so that what one process imports, the next one finds; and on an Iceberg catalog."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import IMAGE, NEW, ROOT, cdm_importers, report

from cdmeventimporters.dev.lake.jars import iceberg_jars, jars
from cdmeventimporters.dev.lake.lake import Lake, csep_settings, desk_settings
from cdmeventimporters.dev.lake.rest_catalog import iceberg_settings
from cdmeventimporters.dev.operate.named_spark import NAMES

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def conf_dir(shared_lake, tmp_path_factory):
    """A folder with the settings of CSEP's sessions."""
    warehouse = f"s3a://{shared_lake.bucket}/users-sql-warehouse/operator"
    settings = csep_settings(shared_lake.s3, warehouse) | desk_settings(shared_lake.folder, shared_lake.metastore)
    settings |= {"spark.driver.extraClassPath": f"{jars()}/*"}
    folder = tmp_path_factory.mktemp("conf")
    (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return folder


def environment(conf_dir) -> dict[str, str]:
    """What an operator's process knows."""
    others = (*NAMES, "CDM_LAKE", "SPARK_DIST_CLASSPATH")
    return {name: x for name, x in os.environ.items() if name not in others} | {"SPARK_CONF_DIR": str(conf_dir)}


def said(conf_dir, *command):
    """The exit status of a command, and what it prints."""
    done = cdm_importers(*command, env=environment(conf_dir))
    return done.returncode, done.stdout, done.stderr


def test_replay_and_log_work_on_the_spark_of_a_spark_defaults_conf(shared_lake, conf_dir, tmp_path):
    at = datetime(2025, 4, 1, tzinfo=UTC)
    texts = NEW, report(Completeness="150")
    good, bad = (shared_lake.job(IMAGE, {"quality_report.tsv": x}, user="operator", completion_time=at) for x in texts)
    file = tmp_path / "jobs.json"
    file.write_text("\n".join(json.dumps(job, default=str) for job in (good, bad)))
    status, out, err = said(conf_dir, "replay", file)
    assert (status, good["id"] in out, bad["id"] in out) == (1, True, True), out + err
    assert "'150' is not between 0 and 100" in out
    status, out, err = said(conf_dir, "log", "--namespace", "u_operator__autoimport")
    assert status == 1, out + err  # one failed, and was not imported since
    assert out.index("Failed, and not imported since") < out.index(bad["id"]) < out.index(good["id"])


class Webhook(http.server.BaseHTTPRequestHandler):
    """Takes what is posted to it."""

    taken: ClassVar[list[dict]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_lines_for_cron_tell_a_webhook_of_failures_and_write_metrics(shared_lake, conf_dir, tmp_path):
    bad = shared_lake.job(IMAGE, {"quality_report.tsv": report(Completeness="150")}, user="cron")
    (tmp_path / "bad.json").write_text(json.dumps(bad, default=str))
    assert said(conf_dir, "replay", tmp_path / "bad.json")[0] == 1
    guide = (ROOT / "docs/operators.md").read_text()
    first, second = re.findall(r"^\*/\d+ +(?:\* ){4} *(.*)$", guide, re.MULTILINE)
    with http.server.HTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = environment(conf_dir) | {"WEBHOOK": f"http://127.0.0.1:{server.server_port}/"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        for line in (first, second.replace("/var/lib/node_exporter", str(tmp_path))):
            subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True)
        server.shutdown()
    [document] = Webhook.taken
    assert [f["job"] for f in document["failures"] if f["user"] == "cron"] == [bad["id"]]
    metrics = (tmp_path / "cdm_importers.prom").read_text().splitlines()
    [failed] = [line for line in metrics if line.startswith('cdm_importers_failed_jobs{importer="checkm2"}')]
    assert float(failed.split()[1]) >= 1


# the platform with Iceberg

SCRIPT = """
import json, sys
from typer.testing import CliRunner
from cdmeventimporters.dev.cli import app
for command in json.loads(sys.argv[1]):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, command)
    print(json.dumps([done.exit_code, done.output]), flush=True)
"""


@pytest.fixture(scope="module")
def iceberg(tmp_path_factory):
    """An Iceberg lake without a Spark in this process, and the environment of a command on it."""
    with Lake(format="iceberg") as lake:
        settings = iceberg_settings(lake.rest_catalog, lake.s3, lake.user) | desk_settings(lake.folder)
        settings |= {"spark.driver.extraClassPath": f"{jars()}/*{os.pathsep}{iceberg_jars()}/*"}
        folder = tmp_path_factory.mktemp("iceberg")
        (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        yield lake, {**os.environ, "SPARK_CONF_DIR": str(folder), "CDM_LAKE": "", "SPARK_DIST_CLASSPATH": ""}


def document(info, user) -> dict:
    """A job as the CTS documents it."""
    image = {"name": info["image"], "digest": info["image_digest"]}
    times = [{"state": "complete", "time": str(info["completion_time"])}]
    known = {"id": info["id"], "outputs": info["outputs"], "state": "complete"}
    return known | {"user": user, "image": image, "transition_times": times}


def test_an_operator_works_on_iceberg_tables_without_locks(iceberg, tmp_path):
    lake, env = iceberg
    good, other, bad = (lake.job(IMAGE, {"quality_report.tsv": x}) for x in (NEW, NEW, report(Completeness="150")))
    for name, documents in {
        "jobs": [document(good, lake.user), bad],
        "good": [document(good, lake.user)],
        "other": [document(other, "kim")],
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(documents, default=str))
    commands = [
        ["replay", tmp_path / "jobs.json"],
        ["replay", tmp_path / "other.json"],
        ["log", "--failed"],
        ["sql", f"DELETE FROM autoimport.checkm2 WHERE cts_job_id = '{good['id']}'"],
        ["sql", "CALL my.system.expire_snapshots(table => 'autoimport.checkm2', retain_last => 1)"],
        ["replay", tmp_path / "good.json"],
        ["replay", "--again", tmp_path / "good.json"],
        ["sql", "--lock", "autoimport.checkm2", "SELECT count(*) AS n FROM autoimport.checkm2"],
        ["sql", "DELETE FROM autoimport.checkm2 WHERE Nmae = 1"],
    ]
    ran = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(commands, default=str)], env=env, capture_output=True, text=True)  # fmt: skip
    done = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [status for status, _ in done] == [1, 1, 1, 0, 0, 0, 0, 0, 1], ran.stdout + ran.stderr
    said = [text for _, text in done]
    assert "4 read, 4 new" in said[0]
    refused = " ".join(said[1].split())
    assert "The job is of the user kim, and this Spark's catalog is user_desk." in refused
    assert "Set spark.sql.catalog.my.warehouse to user_kim, then replay the job." in refused
    assert bad["id"] in said[2]
    assert good["id"] not in said[2]
    assert all(
        "No lock was taken: the catalog of Iceberg tables detects conflicts." in x for x in said[3:5] + said[7:8]
    )
    assert "applied" in said[5]
    assert "4 read, 4 new" in said[6]
    assert re.search(r"n\s+─+\s+4\s", said[7])
    assert said[8].startswith("The statement failed. AnalysisException: [UNRESOLVED_COLUMN")
