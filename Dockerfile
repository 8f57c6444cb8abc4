# Two images of one source: `service` answers payments, `retrain` trains, refreshes statistics and carries a small MLflow.
# A third, `mlflow`, is for compose.yaml: an MLflow server that can speak to PostgreSQL and S3.
#   docker build --target service -t antifraud-service:0.1.0 .
#   docker build --target retrain -t antifraud-retrain:0.1.0 .
# BASE must bring Python 3.11 or newer on Debian or Ubuntu. Pin it by digest in your own builds:
#   --build-arg BASE=docker.io/library/python:3.11-slim-bookworm@sha256:...
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# --- what only the build needs: a compiler, pip ---------------------------------------------------------------------
FROM ${BASE} AS build
# Public Python images bring their own headers, Debian's python3 has them apart.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && if [ ! -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then \
           apt-get install -y -qq --no-install-recommends python3-dev python3-venv; \
       fi \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/build.txt requirements/
RUN python3 -m venv /build \
    && /build/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY antifraud antifraud
COPY model model
COPY service service
# The kernel that explains is compiled here; without it a pod would be many times slower, so its absence is an error.
RUN /build/bin/python -m pip wheel --quiet --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
    && python3 -m zipfile -l /wheels/*.whl | grep -q _treeshap.abi3.so
# What an image need not carry: other projects' own tests, and what only compilers read.
ENV PRUNE="find /opt/antifraud/lib -depth ( -type d -name tests -o -name *.pxd -o -name *.pyx -o -name *.a ) -exec rm -rf {} +"

FROM build AS build-service
COPY requirements/service.txt requirements/
RUN python3 -m venv --without-pip /opt/antifraud \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --require-hashes -r requirements/service.txt \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && set -f && $PRUNE

FROM build AS build-retrain
COPY requirements/train.txt requirements/
RUN python3 -m venv --without-pip /opt/antifraud \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --require-hashes -r requirements/train.txt \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && set -f && $PRUNE

FROM build AS build-mlflow
COPY requirements/mlflow.txt requirements/
RUN python3 -m venv --without-pip /opt/mlflow \
    && /build/bin/python -m pip --python /opt/mlflow install --quiet --no-cache-dir --require-hashes -r requirements/mlflow.txt

# --- what both images share -----------------------------------------------------------------------------------------
FROM ${BASE} AS runtime
# LightGBM needs the OpenMP runtime. pip is of no use in a container that cannot be written to.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /usr/share/python-wheels \
        /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
    && mkdir -p /cache && chown 10001:10001 /cache
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="antifraud" \
    org.opencontainers.image.description="Synchronous fraud scoring for card payments, with exact SHAP reasons" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# /cache is the one folder beside /tmp that is written to; mount a volume there when the root is read-only.
ENV PATH=/opt/antifraud/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FRAUD_WORK_FOLDER=/cache \
    FRAUD_HOST=0.0.0.0 \
    FRAUD_CODE_VERSION=${REVISION}
USER 10001:10001
WORKDIR /cache
ENTRYPOINT ["/opt/antifraud/bin/antifraud"]

FROM runtime AS retrain
COPY --from=build-retrain /opt/antifraud /opt/antifraud
# Matplotlib and MLflow want to write settings of their own.
ENV HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true
CMD ["retrain", "--help"]

FROM runtime AS mlflow
COPY --from=build-mlflow /opt/mlflow /opt/mlflow
ENV PATH=/opt/mlflow/bin:$PATH \
    HOME=/tmp \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
EXPOSE 5000
ENTRYPOINT ["/opt/mlflow/bin/mlflow"]
CMD ["server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"]

FROM runtime AS service
COPY --from=build-service /opt/antifraud /opt/antifraud
ENV OMP_NUM_THREADS=1
EXPOSE 8000
CMD ["serve"]
