"""A driver that stands still, a catalog that goes away, a disk that is full: what an operator sees, and how it ends."""

import resource
import threading
from http.server import ThreadingHTTPServer

import psutil
import pytest
from conftest import FORMAT, IMAGE, NEW, delta_only, iceberg_only, report
from driver import STEPS, Driver
from proxy import fault, proxy_before

pytestmark = pytest.mark.once

DEAD = 4  # seconds after which the next driver takes the lock of one that stands still
META = {"table": "outages.checkm2"}


@pytest.fixture(scope="module")
def drivers(shared_lake):
    """Two drivers that have imported something; between the first one and S3 there is a proxy, which is the third."""
    with (
        proxy_before(shared_lake) as proxy,
        Driver(shared_lake, DEAD, proxy.url) as one,
        Driver(shared_lake, DEAD) as other,
    ):
        for driver in (one, other):
            assert driver.ask(job=job(shared_lake, "first"), meta=META)["error"] is None
        yield one, other, proxy


def job(lake, *genomes, **how):
    """A job with these genomes."""
    rows = [report(Name=name).split("\n")[1] for name in genomes]
    return lake.job(IMAGE, {"quality_report.tsv": report(*rows)}, **how)


def names(driver) -> list[str]:
    """The genomes in the table, in order."""
    return sorted(row["Name"] for row in driver.ask(table=META["table"]))


@delta_only
def test_a_holder_that_stood_still_writes_nothing(shared_lake, drivers):
    still, other, _ = drivers
    before, [mine, theirs] = names(other), [job(shared_lake, "still"), job(shared_lake, "other")]
    still.send(job=mine, meta=META, stop_at="before the table is made")
    still.wait_until_it_stands_still()
    assert other.ask(job=theirs, meta=META)["error"] is None
    still.go_on()
    said = still.answer()["error"]
    table = f"{shared_lake.prefix}{META['table']}"
    assert said.startswith(f"CTS job {mine['id']} ({IMAGE}) was not imported into {table}. ")
    assert (
        f"Another writer took over {table}, because this one showed no sign of life for 0 minutes:\n  it has finished"
        in said
    )
    assert said.endswith("This job wrote nothing afterwards. Replay it.")
    assert names(other) == sorted([*before, "other"])
    assert still.ask(job=mine, meta=META)["error"] is None
    assert names(other) == sorted([*before, "other", "still"])


@iceberg_only
@pytest.mark.parametrize("moment", ["before the table is made", pytest.param("in its commit", marks=pytest.mark.slow)])
def test_a_driver_that_stood_still_loses_nothing(shared_lake, drivers, moment):
    """Another driver imports meanwhile; neither knows of the other."""
    still, other, proxy = drivers
    before, [mine, theirs] = names(other), [job(shared_lake, f"{who} {moment}") for who in ("still", "other")]
    if moment in STEPS:
        still.send(job=mine, meta=META, stop_at=moment)
        still.wait_until_it_stands_still()
    else:
        proxy.ask([fault("hold", ("PUT", r"checkm2/metadata/snap-"), times=1)])
        still.send(job=mine, meta=META)
        still.wait_for(lambda: proxy.ask()["hits"] == [1])
        still.stand_still()
    assert other.ask(job=theirs, meta=META)["error"] is None
    proxy.ask([])
    still.go_on()
    assert still.answer()["error"] is None
    for driver in (still, other):
        assert driver.ask(job=mine, meta=META)["error"] is None
    assert names(other) == sorted([*before, f"still {moment}", f"other {moment}"])


@delta_only
@pytest.mark.slow
def test_a_holder_that_stood_still_in_its_commit_says_so_and_a_replay_puts_it_right(shared_lake, drivers):
    """What S3 cannot prevent: the commit that arrives late replaces the one that was made meanwhile."""
    still, other, proxy = drivers
    before, [mine, theirs] = names(other), [job(shared_lake, "late"), job(shared_lake, "replaced")]
    proxy.ask([fault("hold", ("PUT", r"checkm2/_delta_log/\d{20}\.json$"), times=1)])
    still.send(job=mine, meta=META)
    still.wait_for(lambda: proxy.ask()["hits"] == [1])
    still.stand_still()
    assert other.ask(job=theirs, meta=META)["error"] is None
    proxy.ask([])
    still.go_on()
    said = still.answer()["error"]
    assert "while this one was writing" in said
    assert "one may have overwritten the other's rows:\n  it has finished" in said
    assert said.endswith("Replay this job, and those imported since, with again: true.")
    assert "late" in names(still)
    for event in (mine, theirs):
        assert still.ask(job=event, meta=META | {"again": True})["error"] is None
    assert names(still) == sorted([*before, "late", "replaced"])


@pytest.fixture
def catalog(shared_lake):
    """A function that takes the catalog away, and one that puts it back; it is there again afterwards."""
    away, back = (metastore_of if FORMAT == "delta" else rest_catalog_of)(shared_lake)
    gone = []

    def take_away():
        gone.append(away())

    def put_back():
        if gone:
            back(gone.pop())

    yield take_away, put_back
    put_back()


def metastore_of(lake):
    """The two functions for Hive's metastore."""
    store, home = lake.metastore, lake.folder / "metastore"
    return lambda: store.guards.pop(0).communicate(b"end\n"), lambda _: store.start_hive(home, home / "conf")


def rest_catalog_of(lake):
    """The two functions for a REST catalog, which knows its tokens afterwards."""
    catalog = lake.rest_catalog

    def away():
        gone, catalog.filter = catalog.filter, None
        gone.shutdown()
        gone.server_close()
        return gone

    def back(gone):
        catalog.filter = ThreadingHTTPServer(gone.server_address, gone.RequestHandlerClass)
        catalog.filter.daemon_threads, catalog.filter.block_on_close = True, False
        threading.Thread(target=catalog.filter.serve_forever, daemon=True).start()

    return away, back


BRIEFLY = {"delta": "while holding the lock", "iceberg": "after the commit"}[FORMAT]
MORE = {"before the table is made", "after the commit", "before the log"} - {BRIEFLY}
AT = [BRIEFLY, *(pytest.param(step, marks=pytest.mark.slow) for step in sorted(MORE))]


@pytest.mark.parametrize("step", AT)
def test_a_catalog_may_be_restarted_in_mid_import(shared_lake, drivers, catalog, step):
    _, driver, _ = drivers
    away, back = catalog
    before, event = names(driver), job(shared_lake, f"restarted {step}")
    driver.send(job=event, meta=META, stop_at=step)
    driver.wait_until_it_stands_still()
    away()
    back()
    driver.go_on()
    assert driver.answer()["error"] is None
    assert names(driver) == sorted([*before, f"restarted {step}"])
    log = [row["status"] for row in driver.ask(table="outages.import_log") if row["cts_job_id"] == event["id"]]
    assert log == ["imported"]


CATALOG_IS_GONE = {"delta": "Spark failed:", "iceberg": "The catalog does not answer."}


@pytest.mark.slow
def test_a_catalog_that_is_gone_is_one_message(shared_lake, drivers, catalog):
    _, driver, _ = drivers
    away, back = catalog
    before, event = names(driver), job(shared_lake, "gone")
    away()
    said = driver.ask(job=event, meta=META)["error"]
    assert said.startswith(f"CTS job {event['id']} ({IMAGE}) was not imported")
    assert f"No table was changed. {CATALOG_IS_GONE[FORMAT]}" in said
    assert "Connection refused" in said or "MetaException" in said or "TTransportException" in said
    assert "\tat " not in said
    back()
    assert driver.ask(job=event, meta=META)["error"] is None
    assert names(driver) == sorted([*before, "gone"])


@pytest.mark.slow
def test_a_full_disk_is_one_message(shared_lake, drivers):
    """No file of the driver may grow beyond 2 kB, as on a disk that is full."""
    _, driver, _ = drivers
    before, event = names(driver), shared_lake.job(IMAGE, {"quality_report.tsv": NEW})
    psutil.Process(driver.java.pid).rlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    said = driver.ask(job=event, meta=META)["error"]
    psutil.Process(driver.java.pid).rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert said.startswith(f"CTS job {event['id']} ({IMAGE}) was not imported")
    assert "File too large" in said
    assert "\tat " not in said
    assert names(driver) == before
    assert driver.ask(job=event, meta=META)["error"] is None
    assert len(names(driver)) == len(before) + 4
