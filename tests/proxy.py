"""A proxy between Spark and the S3 server: mitmproxy with faulty_s3.py, which spoils the requests that it is told to spoil."""

import json
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

from cdmeventimporters.dev.lake.s3 import free_ports, guarded

MITMDUMP = ROOT / ".venv-faults/bin/mitmdump"


def fault(does, where, times=None, skip=0, **how):
    """A fault, as faulty_s3.py takes it; without `times` it lasts."""
    return {"do": does, "method": where[0], "path": where[1], "times": times, "skip": skip} | how


def answer(status, code, where, **how):
    """The fault that S3 answers with an error."""
    return fault("answer", where, status=status, code=code, **how)


@dataclass
class Proxy:
    """The proxy before the S3 server."""

    url: str

    def ask(self, faults=None) -> dict:
        """What the faults met; and from now on other ones."""
        body = None if faults is None else json.dumps(faults).encode()
        request = urllib.request.Request(f"{self.url}/-faults", body, method="PUT" if body else "GET")
        with urllib.request.urlopen(request, timeout=10) as told:
            return json.load(told)

    @contextmanager
    def spoiling(self, *faults):
        """Within, these faults happen; each must have been met."""
        self.ask(faults)
        try:
            yield
            assert all(self.ask()["hits"]), self.ask()
        finally:
            self.ask([])


@contextmanager
def proxy_before(lake):
    """Within, a proxy stands before the S3 server of a lake."""
    [port] = free_ports(1)
    options = ["keep_host_header=true", "listen_host=127.0.0.1", f"listen_port={port}"]
    options = [x for option in (f"confdir={lake.folder / 'proxy'}", *options) for x in ("--set", option)]
    script = ["--scripts", str(Path(__file__).with_name("faulty_s3.py"))]
    command = [str(MITMDUMP), "--quiet", "--mode", f"reverse:{lake.s3.endpoint}", *script, *options]
    proxy, log = Proxy(f"http://127.0.0.1:{port}"), lake.folder / "proxy.log"
    guard = guarded(command, log, {})
    try:
        wait_for(proxy, log)
        yield proxy
    finally:
        guard.communicate(b"end\n")


def wait_for(proxy, log):
    """Return when the proxy answers."""
    end = time.monotonic() + 30
    while True:
        try:
            return proxy.ask([])
        except OSError:
            assert time.monotonic() < end, (
                f"{MITMDUMP} did not start; `make test-all` installs it. It said: {log.read_text()[-500:]}"
            )
            time.sleep(0.1)
