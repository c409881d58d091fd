"""The files of the stack agree with each other and with the environment, and the S3 user is as limited as he should be."""

import re
import secrets
import shutil
import subprocess
import tomllib
from importlib.metadata import version

import pytest
import yaml
from botocore.exceptions import ClientError
from conftest import ROOT
from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from cdmeventimporters.dev.lake.jars import PACKAGES
from cdmeventimporters.dev.lake.lake import Lake
from cdmeventimporters.dev.lake.metastore import postgres_command
from cdmeventimporters.dev.lake.s3 import S3
from cdmeventimporters.dev.lake.stack import SERVICES, WAREHOUSE, catalog_settings, make_user

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
OURS = [name for name, service in COMPOSE.items() if service["image"].startswith("cdm-event-importers:")]
ENDS = {"s3-user", "polaris-user"}  # do their work, and end


def test_images_are_pinned():
    images = [*(service["image"] for service in COMPOSE.values()), *re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)]
    assert [x for x in images if not re.fullmatch(r"[a-z0-9./-]+:(RELEASE\.2\d{3}-|\d+\.\d+)[\w.-]*", x)] == []


def test_every_service_that_stays_has_a_health_check_and_who_needs_it_waits_for_it():
    assert {name for name, service in COMPOSE.items() if "healthcheck" not in service} == ENDS
    waits = {
        (of, how["condition"]) for service in COMPOSE.values() for of, how in service.get("depends_on", {}).items()
    }
    assert {how for of, how in waits if of in ENDS} == {"service_completed_successfully"}
    assert {how for of, how in waits if of not in ENDS} == {"service_healthy"}


def test_ports_are_published_on_the_loopback_only():
    ports = [port for service in COMPOSE.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_service_has_a_credential_that_is_written_down_and_all_are_made_at_random():
    values = {name: v for service in COMPOSE.values() for name, v in service["environment"].items()}
    secret = {n: v for n, v in values.items() if re.search(r"PASSWORD|SECRET|TOKEN|KEY|ROOT_USER|CREDENTIAL", n)}
    assert secret
    assert [n for n, v in secret.items() if not re.fullmatch(r"(POLARIS,root,)?\$\{\w+:\?run make \.env\}", v)] == []


def test_the_credentials_are_random_and_for_the_owners_eyes_only(tmp_path):
    files = [tmp_path / "one/.env", tmp_path / "other/.env"]
    for file in files:
        file.parent.mkdir()
        subprocess.run(["make", "--silent", "-f", ROOT / "Makefile", ".env"], cwd=file.parent, check=True)
        assert oct(file.stat().st_mode)[-3:] == "600"
    one, other = (dict(line.split("=") for line in file.read_text().splitlines()) for file in files)
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(one) == set(other) == asked
    assert {n for n in one if one[n] == other[n]} == {"CDM_UID"}
    assert {len(v) for n, v in one.items() if n != "CDM_UID"} == {20}


def test_the_image_has_no_credential_and_the_context_no_more_than_it_copies():
    assert not re.search(r"(?i)password|secret|token", DOCKERFILE)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word.split("/")[0] for line in re.findall(r"COPY --chown=cdm (.+) \S+", DOCKERFILE) for word in line.split()
    }
    assert kept == copied


def test_what_the_services_run_exists():
    commands = [COMPOSE[name]["command"] for name in OURS]
    run = {command[3] for command in commands if command[:3] == ["python", "-m", "cdmeventimporters.dev.lake.stack"]}
    assert run == set(SERVICES)


def test_polaris_and_what_needs_it_are_a_profile_that_nothing_else_waits_for():
    profiles = {name: service["profiles"] for name, service in COMPOSE.items() if "profiles" in service}
    assert profiles == {name: ["iceberg"] for name in ("polaris", "polaris-user", "operator")}
    always = [service for name, service in COMPOSE.items() if name not in profiles]
    assert not any(set(service.get("depends_on", {})) & set(profiles) for service in always)


def test_the_operator_reads_the_settings_that_the_catalogs_service_writes():
    writer, reader = (COMPOSE[name] for name in ("polaris-user", "operator"))
    assert writer["environment"]["SPARK_CONF_DIR"] == reader["environment"]["SPARK_CONF_DIR"] == "/conf"
    assert "conf:/conf" in writer["volumes"]
    assert "conf:/conf" in reader["volumes"]
    assert re.search(r"install --directory --owner=cdm .*/conf\b", DOCKERFILE)
    assert reader["depends_on"]["polaris-user"] == {"condition": "service_completed_successfully"}


def test_spark_has_the_settings_of_csep_for_the_catalog_on_polaris(monkeypatch):
    monkeypatch.setenv("CDM_SPARK_MASTER", "spark://master:7077")
    monkeypatch.setenv("CDM_SPARK_SECRET", "of spark")
    s3 = S3("environment", "http://s3:9000", "key", "secret")
    settings = catalog_settings(COMPOSE["polaris-user"]["environment"]["CDM_POLARIS_URI"], "csep:secret", s3, "desk")
    assert settings["spark.sql.defaultCatalog"] == "my"
    assert {name: settings[f"spark.sql.catalog.my.{name}"] for name in ("type", "uri", "warehouse", "credential", "scope")} == {
        "type": "rest",
        "uri": "http://polaris:8181/api/catalog",
        "warehouse": "user_desk",
        "credential": "csep:secret",
        "scope": "PRINCIPAL_ROLE:ALL",
    }  # fmt: skip
    assert settings["spark.master"] == "spark://master:7077"
    assert "iceberg" in settings["spark.executor.extraClassPath"]
    assert all("\n" not in value for value in settings.values())


def test_the_image_is_of_this_version_and_is_built_once():
    [project] = re.findall(r'(?m)^version = "(.+)"', (ROOT / "pyproject.toml").read_text())
    assert {COMPOSE[name]["image"] for name in OURS} == {f"cdm-event-importers:{project}"}
    assert [name for name, service in COMPOSE.items() if "build" in service] == ["s3-user"]
    assert {COMPOSE[name]["pull_policy"] for name in OURS} == {"never"}


def test_minio_is_the_one_that_make_minio_builds():
    [built] = re.findall(r"MINIO_VERSION := v0\.0\.0-(\d{14})-", MAKEFILE)
    [released] = re.findall(r"minio/minio:RELEASE\.(\S+)Z", COMPOSE["s3"]["image"])
    assert re.sub(r"\D", "", released) == built


def test_postgresql_is_the_one_of_the_environment():
    said = subprocess.run(postgres_command("postgres", "--version"), capture_output=True, text=True, check=True).stdout
    assert COMPOSE["postgres"]["image"] == f"postgres:{re.search(r'[0-9.]+', said)[0]}"


def test_the_image_has_the_uv_of_the_makefile_and_a_python_that_the_project_takes():
    [uv], [ours] = re.findall(r"uv==(\S+)", DOCKERFILE), re.findall(r"UV_VERSION := (\S+)", MAKEFILE)
    assert uv == ours
    assert re.search(r"^FROM python:3\.1[123]\.\d+-slim-bookworm$", DOCKERFILE, re.M)


def test_the_jars_are_those_of_the_locked_spark_and_delta():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    pins = [dict(x.split("==") for x in packages if "==" in x) for name, packages in groups.items() if "spark" in name]
    known = {spark: packages[0].rsplit(":", 1)[1] for spark, packages in PACKAGES.items()}
    assert {pin["pyspark[connect]"]: pin["delta-spark"] for pin in pins} == known


def test_hooks_have_the_locked_versions():
    hooks = {
        x["repo"].rsplit("/", 1)[1]: x["rev"]
        for x in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    }
    assert hooks == {"ruff-pre-commit": f"v{version('ruff')}", "nbdev": version("nbdev")}


@pytest.fixture(scope="module")
def limited():
    """A MinIO server, and its limited user."""
    if not shutil.which("minio"):
        pytest.skip("no minio on the PATH: make test-minio has one")
    with Lake(s3="minio") as lake:
        user = S3("minio", lake.s3.endpoint, secrets.token_hex(10), secrets.token_hex(10))
        for _ in range(2):  # the second time changes nothing
            make_user(lake.s3, user.access_key, user.secret_key)
        lake.s3.client().create_bucket(Bucket="other")
        yield user


@pytest.mark.s3
@pytest.mark.parametrize("bucket", ["lake-1", "nb-1", WAREHOUSE])
def test_the_user_does_as_he_likes_in_the_buckets_of_lakes(limited, bucket):
    s3 = limited.client()
    if bucket != WAREHOUSE:
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"c")
    assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"c"
    s3.delete_object(Bucket=bucket, Key="a/b")


@pytest.mark.s3
@pytest.mark.parametrize(
    "request_",
    [
        lambda s3: s3.create_bucket(Bucket="mine"),
        lambda s3: s3.list_objects_v2(Bucket="other"),
        lambda s3: s3.put_object(Bucket="other", Key="a", Body=b"b"),
        lambda s3: s3.delete_bucket(Bucket="other"),
    ],
    ids=["make a bucket", "list another", "write to another", "remove another"],
)
def test_the_user_may_do_nothing_elsewhere(limited, request_):
    with pytest.raises(ClientError, match="AccessDenied"):
        request_(limited.client())


@pytest.mark.s3
def test_the_user_is_no_administrator(limited):
    keys = StaticProvider(limited.access_key, limited.secret_key)
    admin = MinioAdmin(endpoint=limited.endpoint.removeprefix("http://"), credentials=keys, secure=False)
    with pytest.raises(MinioAdminException, match="AccessDenied"):
        admin.user_list()
