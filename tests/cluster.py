"""docker-compose.yml without containers: `python tests/cluster.py COMMAND…` runs a command where the service `tests` would run it.

The services' own commands run with their own environment and are waited for by their own health checks; all on the loopback of this machine, on free ports in place of the hosts of the file. MinIO and
PostgreSQL, which have images of others, come from the PATH and from the environment in .venv. Everything is in a temporary folder, and ends with the command.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import yaml

from cdmeventimporters.dev.lake.metastore import make_cluster, postgres_command
from cdmeventimporters.dev.lake.s3 import free_ports, guarded

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVERS = ("s3", "postgres", "metastore", "master")  # what others connect to, by the names in the file


class Cluster:
    """The services of docker-compose.yml, as processes."""

    def __init__(self, folder: Path):
        self.folder, self.guards = folder, []
        self.hosts = dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True))
        [self.page] = free_ports(1)  # where the master says what runs
        make_cluster(folder)
        self.secrets = {"CDM_DATABASE_PASSWORD": (folder / "password").read_text()}

    def here(self, text: str) -> str:
        """A text of the file with secrets of our own, and our addresses in place of its hosts."""
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda x: self.secrets.setdefault(x[1], secrets.token_hex(10)), text)
        servers = rf"\b({'|'.join(SERVERS)})([:/])\d+\b"
        return re.sub(servers, lambda x: f"127.0.0.1{x[2]}{self.hosts[x[1]]}", text)

    def environment(self, service: str) -> dict[str, str]:
        """What a service has in its environment, and what keeps it on the loopback."""
        loopback = {"SPARK_LOCAL_IP": "127.0.0.1", "MINIO_ADDRESS": f"127.0.0.1:{self.hosts['s3']}"}
        pages = {"SPARK_MASTER_WEBUI_PORT": str(self.page), "SPARK_WORKER_WEBUI_PORT": "0"}
        ours = {k: self.here(v) for k, v in COMPOSE["services"][service]["environment"].items()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return loopback | pages | ours | {"TMPDIR": str(self.folder), "PATH": path}

    def command(self, service: str) -> list[str]:
        """What a service runs."""
        if service == "postgres":
            listen = ["-h", "127.0.0.1", "-p", str(self.hosts["postgres"]), "-k", "", "-F"]
            return postgres_command("postgres", "-D", self.folder / "postgres", *listen)
        words = [x.replace("/data", str(self.folder / "s3")) for x in COMPOSE["services"][service]["command"]]
        return ["minio", *words] if service == "s3" else words

    def start(self, service: str):
        """Start a service, as often as the file says, and return when its health check passes."""
        for n in range(COMPOSE["services"][service].get("deploy", {}).get("replicas", 1)):
            log = self.folder / f"{service}-{n + 1}.log"
            self.guards.insert(0, guarded(self.command(service), log, self.environment(service)))
        self.wait(service, log, self.workers_are_in if service == "worker" else lambda: self.is_healthy(service))

    def wait(self, service: str, log: Path, answers, seconds=90):
        """Return when a service answers."""
        end = time.monotonic() + seconds
        while not answers():
            if time.monotonic() > end:
                sys.exit(f"The service {service} did not answer in {seconds} s. It said: {log.read_text()[-2000:]}")
            time.sleep(0.5)

    def is_healthy(self, service: str) -> bool:
        """What the file's health check says; PostgreSQL's has a program that the environment lacks."""
        if service == "postgres":
            return "ready to accept connections" in (self.folder / "postgres-1.log").read_text()
        check = [self.here(x) for x in COMPOSE["services"][service]["healthcheck"]["test"][1:]]
        return subprocess.run(check, capture_output=True).returncode == 0

    def workers_are_in(self) -> bool:
        """Whether the master has all workers."""
        with suppress(OSError):
            master = json.load(urlopen(f"http://127.0.0.1:{self.page}/json/"))
            return master["aliveworkers"] == COMPOSE["services"]["worker"]["deploy"]["replicas"]
        return False

    def run(self, service: str, command: list[str] | None = None) -> int:
        """Run a service's command, or another in its place, to the end; its exit status."""
        return subprocess.run(
            command or self.command(service), env={**os.environ, **self.environment(service)}
        ).returncode


@contextmanager
def started() -> Iterator[Cluster]:
    """All services that a driver needs."""
    with tempfile.TemporaryDirectory(prefix="cdm-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start("s3")
            if cluster.run("s3-user"):
                sys.exit("The service s3-user failed.")
            for service in ("postgres", "metastore", "master", "worker"):
                cluster.start(service)
            yield cluster
        finally:
            for guard in cluster.guards:
                guard.communicate(b"end\n")


if __name__ == "__main__":
    begin = time.monotonic()
    with started() as running:
        print(f"The services of docker-compose.yml are up, after {time.monotonic() - begin:.0f} s.", flush=True)
        status = running.run("tests", sys.argv[1:])
    sys.exit(status)
