"""An importer of the obvious kind: create the table if absent, read CSV with a header, one MERGE. Nothing is checked."""

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core.platform import table_format

TYPES = ", ".join(f"{c.name} {c.type}" for c in quality_report.tool_columns)


def run_import(get_spark, job_info, metadata):
    """Merge the CheckM2 reports of a job into the table."""
    spark = get_spark()
    namespace, name = (job_info["namespace_prefix"] + metadata["table"]).split(".")
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {namespace}")
    provider = table_format(spark).name
    spark.sql(f"CREATE TABLE IF NOT EXISTS {namespace}.{name} ({TYPES}, cts_job_id string) USING {provider}")
    files = [f"s3a://{output['file']}" for output in job_info["outputs"]]
    rows = spark.read.csv(files, sep="\t", header=True, schema=TYPES)
    rows.selectExpr("*", f"'{job_info['id']}' AS cts_job_id").createOrReplaceTempView("rows")
    spark.sql(f"""
        MERGE INTO {namespace}.{name} AS t USING rows AS s ON t.Name = s.Name
        WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *""")
