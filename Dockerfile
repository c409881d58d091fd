# Everything of docker-compose.yml that is Python or Spark: what uv.lock and the modules under dev name, fetched at build time.
FROM python:3.11.14-slim-bookworm

# Debian keeps only the latest patch of its Java, so there is no version to pin
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.9

# the user who owns the project on the host, so that what is written into it is his
ARG UID=1000
RUN useradd --create-home --non-unique --uid "$UID" cdm && install --directory --owner=cdm /project /venv /conf
USER $UID
WORKDIR /project
ENV UV_PROJECT_ENVIRONMENT=/venv UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 PATH=/venv/bin:$PATH

COPY --chown=cdm pyproject.toml uv.lock ./
RUN uv sync --frozen --no-install-project

# the jars of Delta, Iceberg, S3A and the Hive Metastore: an importer that changes does not fetch them again
COPY --chown=cdm cdmeventimporters/dev cdmeventimporters/dev
RUN python -c "from cdmeventimporters.dev.lake import jars, metastore; jars.jars(); jars.iceberg_jars(); metastore.hive()"

COPY --chown=cdm README.md LICENSE ./
COPY --chown=cdm cdmeventimporters cdmeventimporters
RUN uv sync --frozen
