"""Who takes part: our importer, the obvious one, the bare append as the limit, and on Delta also delta-rs, which needs no Spark."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import deltalake
import pyarrow as pa
import pyarrow.csv

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.dev.lake.lake import Lake

from . import plain

IMAGE = "ghcr.io/kbasetest/cdm_checkm2"


@dataclass
class Work:
    """What one contender has to do: get the files of one job into its table."""

    lake: Lake
    job: dict  # `job_info`
    table: str  # namespace.table, without the user's prefix
    types: str = plain.TYPES  # of the files' columns, for the bare append
    header: bool = True  # whether the files begin with one

    @property
    def files(self) -> list[str]:
        """`bucket/key` of each file."""
        return [output["file"] for output in self.job["outputs"]]


def importer(work: Work) -> float:
    """The seconds that our importer takes, session not included."""
    return _delivered(work, None)


_BESIDE = replace(quality_report, key=("Name", "cts_job_id"))


def importer_beside(work: Work) -> float:
    """The seconds that our importer takes if rows of several jobs stand side by side, as in most tables."""
    return _delivered(work, lambda *given: import_tables(*given, _BESIDE))


def plain_importer(work: Work) -> float:
    """The seconds that the obvious importer takes."""
    return _delivered(work, plain.run_import)


def _delivered(work: Work, run_import: Callable | None) -> float:
    """The seconds from the event to its end."""
    outcome = work.lake.deliver(work.job, run_import=run_import, meta={"table": work.table})
    if outcome.error:
        raise outcome.error
    return outcome.seconds


def bare_append(work: Work) -> float:
    """The seconds of one statement that reads the same files as CSV and appends them: the limit."""
    spark, table = work.lake.get_spark(), work.lake.prefix + work.table
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {table.split('.')[0]}")
    start = time.perf_counter()
    rows = spark.read.csv([f"s3a://{file}" for file in work.files], sep="\t", header=work.header, schema=work.types)
    rows.write.format(work.lake.format).mode("append").saveAsTable(table)
    return time.perf_counter() - start


_ARROW = {"string": pa.string(), "float": pa.float32(), "int": pa.int32()}


def delta_rs(work: Work) -> float:
    """The seconds that delta-rs takes to merge the same rows."""
    s3 = work.lake.s3
    options = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "aws_conditional_put": "etag",
    }
    client = s3.client()
    url = f"s3://{work.lake.bucket}/delta-rs/{work.table}"
    start = time.perf_counter()
    parse = pyarrow.csv.ParseOptions(delimiter="\t")
    types = pyarrow.csv.ConvertOptions(column_types={c.name: _ARROW[c.type] for c in quality_report.tool_columns})
    bodies = (client.get_object(Bucket=f.split("/", 1)[0], Key=f.split("/", 1)[1])["Body"].read() for f in work.files)
    rows = pa.concat_tables(
        [pyarrow.csv.read_csv(io.BytesIO(b), parse_options=parse, convert_options=types) for b in bodies]
    )
    table = deltalake.DeltaTable.create(url, rows.schema, mode="ignore", storage_options=options)
    merge = table.merge(rows, "t.Name = s.Name", source_alias="s", target_alias="t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    return time.perf_counter() - start


SPARK = {"importer": importer, "plain importer": plain_importer, "bare append": bare_append}
DELTA_RS, BESIDE = "delta-rs", "importer, job in the key"
CONTENDERS = SPARK | {BESIDE: importer_beside, DELTA_RS: delta_rs}
