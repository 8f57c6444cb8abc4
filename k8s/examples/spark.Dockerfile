# The image of `antifraud prepare --engine spark` for a cluster: drivers and executors. Spark is the one that
# requirements/spark.txt names, so that both sides of it always have the same version. (Apache's own images will not do:
# their Ubuntu has Python 3.10.)
#   make spark-jars
#   docker build --target build -t antifraud-build:0.1.0 .
#   docker build -f k8s/examples/spark.Dockerfile --build-context jars=.tools/spark-jars \
#     --build-context examples=k8s/examples -t antifraud-spark:0.1.0 .
# BASE must be the one that antifraud-build was made from.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
ARG BUILD=antifraud-build:0.1.0

FROM ${BUILD} AS built
COPY requirements/train.txt requirements/spark.txt requirements/
RUN python3 -m venv --without-pip /opt/antifraud \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --require-hashes \
        -r requirements/train.txt -r requirements/spark.txt \
    && /build/bin/python -m pip --python /opt/antifraud install --quiet --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && set -f && $PRUNE && set +f \
    && ln -s /opt/antifraud/lib/python3*/site-packages/antifraud/__main__.py /opt/antifraud/main.py \
    && mv /opt/antifraud/lib/python3*/site-packages/pyspark/jars /opt/spark-jars

FROM ${BASE}
# One user of that number: Hadoop asks for its name.
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgomp1 openjdk-17-jre-headless tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin antifraud
COPY --from=built /opt/antifraud /opt/antifraud
COPY --from=built /opt/spark-jars /opt/spark/jars
COPY --from=jars . /opt/spark/jars/
COPY --chmod=755 --from=examples spark-entrypoint.sh /opt/spark/entrypoint.sh
# /opt/spark is where Spark's programs and settings are looked for; the one copy of them is pyspark's.
RUN ln -s /opt/antifraud/lib/python3*/site-packages/pyspark/bin /opt/spark/bin \
    && mkdir /opt/spark/conf /opt/spark/work-dir && chown 10001:10001 /opt/spark/work-dir
# Drivers and executors run the same Python with the same packages.
ENV SPARK_HOME=/opt/spark \
    HOME=/tmp \
    PYSPARK_PYTHON=/opt/antifraud/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/antifraud/bin/python \
    PYTHONUNBUFFERED=1 \
    FRAUD_WORK_FOLDER=/tmp/antifraud
USER 10001:10001
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/opt/spark/entrypoint.sh"]
