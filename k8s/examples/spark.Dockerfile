# The image of `antifraud prepare --engine spark` for a cluster: Apache Spark's own, with this project beside it.
#   make spark-jars
#   docker build --target build -t antifraud-build:0.1.0 .
#   docker build -f k8s/examples/spark.Dockerfile --build-context jars=.tools/spark-jars -t antifraud-spark:0.1.0 .
# SPARK must be of the version that requirements/spark.txt names, and have Python 3.11 or newer.
ARG SPARK=docker.io/apache/spark:4.3.0-python3
ARG BUILD=antifraud-build:0.1.0

FROM ${BUILD} AS built

FROM ${SPARK}
USER root
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgomp1 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=jars . /opt/spark/jars/
COPY --from=built /wheels /wheels
COPY requirements/train.txt requirements/spark.txt /wheels/
RUN python3 -m venv /opt/antifraud \
    && /opt/antifraud/bin/pip install --quiet --no-cache-dir --require-hashes -r /wheels/train.txt -r /wheels/spark.txt \
    && /opt/antifraud/bin/pip install --quiet --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && /opt/antifraud/bin/python -m compileall -q /opt/antifraud/lib \
    && ln -s /opt/antifraud/lib/python3*/site-packages/antifraud/__main__.py /opt/antifraud/main.py
# Drivers and executors run the same Python with the same packages.
ENV PYSPARK_PYTHON=/opt/antifraud/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/antifraud/bin/python \
    FRAUD_WORK_FOLDER=/tmp/antifraud
USER 10001
