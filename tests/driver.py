"""A driver in a process of its own, as each container of CSEP is one: this file run is the driver, `Driver` is the test's end of it.

What goes in and comes out is a line of JSON each. First comes `Lake.shared`, and after how long the holder of a lock or a ticket is dead. After it, `{"job": …, "meta": …}` is an event, answered with what became of it, `{"jobs": …, "meta": …}` a batch of CheckM2 jobs, answered likewise,
and `{"table": …}` a question, answered with its rows as text. An event or batch with `"die_at": STEP` kills driver and JVM without a word when it gets to that step; with `"stop_at": STEP` both stand still there until they are told to go on.
"""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from pyspark.sql import SparkSession

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core import batch, iceberg, importing, locks
from cdmeventimporters.core.batch import import_batch
from cdmeventimporters.core.delta import Delta, DeltaTransactions
from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.iceberg import Iceberg
from cdmeventimporters.core.tables import TableSchemas
from cdmeventimporters.dev.lake.lake import Lake, SharedLake

# where a driver can be told to die or to stop: {step: (owner of a function, its name, whether it has run by then, what its first argument must match)}
FORMAT = os.environ.get("CDM_FORMAT", "delta")
STEPS = {
    "before the table is made": (TableSchemas, "ensure", False, ""),
    "after the table is made": (TableSchemas, "ensure", True, ""),
    "while holding the lock": (SparkSession, "sql", True, r"(?i)^\s*CREATE VIEW \S*_lock_\d*[13579]`?\s"),
    "after the commit": ({"delta": Delta, "iceberg": Iceberg}[FORMAT], "merge", True, ""),
    "before the log": (importing, "record", False, ""),
}
OF_BATCHES = {
    "after a batch's commit": STEPS["after the commit"],
    "before a batch's log": (batch, "record", False, ""),
    "before a batch is recorded": (DeltaTransactions, "record_batch", False, ""),
}
if FORMAT == "iceberg":
    del STEPS["while holding the lock"], OF_BATCHES["before a batch is recorded"]


class Driver:
    """A driver that runs, until it is closed or killed."""

    def __init__(
        self,
        lake: Lake,
        dead: float = locks.DEAD,  # seconds after which a holder of a lock, or of a ticket, is taken for dead
        endpoint: str | None = None,  # of S3, if it is not the lake's
    ):
        log = (lake.folder / "drivers.log").open("a")
        quick = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}  # it does not live long enough for more
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, **quick}, start_new_session=True,
        )  # fmt: skip
        shared = lake.shared
        self.send(**shared | {"s3": shared["s3"] | ({"endpoint": endpoint} if endpoint else {})}, dead=dead)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()

    def send(self, **message):
        """Send a line."""
        self.process.stdin.write(json.dumps(message, default=datetime.isoformat) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict | None:
        """The next answer, None if it died."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, **message) -> dict | None:
        """The answer to a line."""
        self.send(**message)
        return self.answer()

    def wait_until_it_stands_still(self):
        """Return when it has come to the step where it stops."""
        self.wait_for(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    def wait_for(self, condition, seconds=60):
        """Return when a condition holds, while the driver lives."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, "the driver is gone"
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.05)

    def stand_still(self):
        """What a paused container does: driver and JVM do nothing."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        """Let it go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def java(self) -> psutil.Process:
        """Its JVM."""
        return next(p for p in psutil.Process(self.process.pid).children(recursive=True) if p.name() == "java")

    def kill(self):
        """What the kernel does when memory runs out: driver and JVM are gone at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def at(step, sign):
    """Let this process get a signal at a step, and with it its JVM: the process group is ours alone."""
    owner, name, after, pattern = (STEPS | OF_BATCHES)[step]
    setattr(owner, name, _signalling(vars(owner)[name], after, pattern, [sign]))


def _signalling(function, after, pattern, signs):
    """A function that sends a signal, if there is one left, before or after it has done its work."""

    def send():
        if signs:
            os.killpg(0, signs.pop())

    @functools.wraps(function)
    def signalling(*arguments, **named):
        meant = not pattern or re.search(pattern, arguments[1])
        if meant and not after:
            send()
        result = function(*arguments, **named)
        if meant and after:
            send()
        return result

    return signalling


def _deliver(lake, job, meta, die_at=None, stop_at=None):
    """What became of an event."""
    if step := die_at or stop_at:
        at(step, signal.SIGKILL if die_at else signal.SIGSTOP)
    outcome = lake.deliver(job, meta=meta)
    error = str(outcome.error) if outcome.error else None
    return {"id": job["id"], "error": error, "seconds": round(outcome.seconds, 1)}


def _import_batch(lake, jobs, meta, die_at=None):
    """What became of the jobs of a batch."""
    if die_at:
        at(die_at, signal.SIGKILL)
    results = import_batch(lake.get_spark, jobs, meta, quality_report)
    errors = [str(result) if isinstance(result, ImportFailed) else None for result in results]
    return [{"id": job["id"], "error": error} for job, error in zip(jobs, errors, strict=True)]


def _rows(lake, table):
    """The rows of a table, as text; none if there is no such table."""
    spark, name = lake.get_spark(), lake.prefix + table
    if not spark.catalog.tableExists(name):
        return []
    spark.sql(f"REFRESH TABLE {name}")  # a session does not see what other drivers wrote to Iceberg's in the last 30 s
    rows = spark.table(name).collect()
    return [{column: None if value is None else str(value) for column, value in row.asDict().items()} for row in rows]


def main():
    """Answer until there is no more to read."""
    shared = json.loads(sys.stdin.readline())
    locks.DEAD = iceberg.DEAD = shared.pop("dead")
    locks.ALIVE = locks.DEAD / 5
    with SharedLake(shared, {"spark.driver.memory": "1g"}) as lake:
        for line in sys.stdin:
            match json.loads(line):
                case {"table": table}:
                    answer = _rows(lake, table)
                case {"jobs": jobs, "meta": meta, **more}:
                    answer = _import_batch(lake, jobs, meta, **more)
                case {"job": job, "meta": meta, **more}:
                    answer = _deliver(lake, job, meta, **more)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
