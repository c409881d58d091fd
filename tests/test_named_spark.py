"""An operator's commands on the Spark that a `spark-defaults.conf` describes, over a metastore that others share: what one process imports, the next one finds."""

import json
import os
from datetime import UTC, datetime

import pytest
from conftest import IMAGE, NEW, cdm_importers, report

from cdmeventimporters.dev.lake.jars import jars
from cdmeventimporters.dev.lake.lake import csep_settings, desk_settings
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


def said(conf_dir, *command):
    """The exit status of a command, and what it prints."""
    others = (*NAMES, "CDM_LAKE", "SPARK_DIST_CLASSPATH")
    env = {name: value for name, value in os.environ.items() if name not in others}
    done = cdm_importers(*command, env=env | {"SPARK_CONF_DIR": str(conf_dir)})
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
    assert status == 0, out + err
    assert out.index("Failed, and not imported since") < out.index(bad["id"]) < out.index(good["id"])
