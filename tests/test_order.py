"""For any set of jobs, any order and any repetition of their events, the final table is the same."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from conftest import HEADER, ROWS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GENOMES = ["a", "b", "c"]
_tables = itertools.count()

pytestmark = pytest.mark.s3


def report(values):
    """A report of these genomes with these completenesses."""
    return "\n".join(
        [HEADER, *(ROWS[0].replace("lakeA_maxbin.001", g).replace("97.31", str(v)) for g, v in values.items())]
    )


# few hours and few values, so that jobs often complete together and often agree
jobs = st.lists(
    st.tuples(st.integers(0, 2), st.dictionaries(st.sampled_from(GENOMES), st.integers(0, 2), min_size=1)), min_size=2, max_size=3
)  # fmt: skip


@st.composite
def histories(draw):
    """Jobs, and the events by which they are delivered: each at least once, in any order."""
    made = draw(jobs)
    events = draw(st.permutations([*range(len(made)), *draw(st.lists(st.integers(0, len(made) - 1), max_size=2))]))
    return made, events


@pytest.mark.parametrize("meta", [{}, {"again": True}], ids=["guarded", "again"])
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(history=histories())
def test_any_order_and_repetition_ends_in_the_same_table(shared, meta, history):
    made, events = history
    table = f"order{next(_tables)}"
    infos = [
        shared.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": report(values)}, job_id=f"{table}-{n}",
                        completion_time=datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=hour))
        for n, (hour, values) in enumerate(made)
    ]  # fmt: skip
    for n in events:
        assert shared.lake.deliver(infos[n], meta={"table": f"{shared.namespace}.{table}"} | meta).error is None
    newest = {}
    for n, (hour, values) in enumerate(made):
        for genome, value in values.items():
            newest[genome] = max(newest.get(genome, (-1, "", 0)), (hour, f"{table}-{n}", value))
    assert shared.rows("cts_job_id", "Completeness", table=table) == {
        g: (job, value) for g, (_, job, value) in newest.items()
    }
