# `make help` lists the targets. Everything is installed into .venv, everything made at run time lies in var/.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url

# Images: any builder that takes docker's options, any base with Python 3.11 or newer on Debian or Ubuntu.
IMAGE_TOOL ?= $(notdir $(firstword $(shell command -v docker podman) docker))
IMAGE_BUILD ?= $(IMAGE_TOOL) build
IMAGE_RUN ?= $(IMAGE_TOOL) run
IMAGE_BASE ?= docker.io/library/python:3.11-slim-bookworm
IMAGE_PREFIX ?= localhost/antifraud
IMAGE_TARGETS ?= service retrain
TAG ?= 0.1.0
REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
LOAD_INSTALLED := .venv/load-installed
SPARK_INSTALLED := .venv/spark-installed
AIRFLOW_INSTALLED := .venv-airflow/installed
# Programs of `make chart`: first those of the folder TOOLS, then what `make tools` installed, then the system's.
export PATH := $(if $(TOOLS),$(TOOLS):)$(CURDIR)/.tools/bin:$(PATH)
.PHONY: help run test test-integration check format lint docs airflow lock clean bench bench-stream kill-ledger kernel sizes load capacity profile k8s chart \
	tools schemas images image-sizes test-images test-cluster stack-tools stack stack-down prepare-sizes \
	spark-jars

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## Train on a simulated bank (or HISTORY=path), serve on port 8000 (or PORT=n), show two decisions
	@$(BIN)/antifraud run $(if $(HISTORY),--history "$(HISTORY)") $(if $(PORT),--port "$(PORT)") $(if $(ONCE),--once)

test: $(INSTALLED)  ## Run all tests (TEST_HISTORY=file adds those on public transactions; ARGS=... goes to pytest)
	@$(BIN)/pytest $(ARGS)

test-integration: $(INSTALLED)  ## Install the servers, Spark and Airflow, then run the tests that start them (ARGS=...)
	@for what in stack-tools spark-jars $(SPARK_INSTALLED) $(AIRFLOW_INSTALLED); do \
		$(MAKE) --no-print-directory $$what || echo "left out: what needs make $$what"; done
	@$(BIN)/pytest -m integration $(ARGS)

check: lint chart test  ## The one gate: format, lint, types, import contracts, generated pages, the chart, tests

lint: $(INSTALLED)
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary helm k8s
	@out=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$out"; exit 1; }
	@$(BIN)/antifraud reasons --check docs/reasons.md
	@$(BIN)/antifraud settings --check docs/settings.md
	@echo "format, lint, types, import contracts and generated pages are in order"

format: $(INSTALLED)  ## Format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

airflow: $(INSTALLED) $(AIRFLOW_INSTALLED)  ## Install Airflow into .venv-airflow and run both DAGs on a simulated bank (ARGS=...)
	@$(BIN)/pytest tests/integration/test_airflow.py $(ARGS)

docs: $(INSTALLED)  ## Write the generated pages again
	@$(BIN)/antifraud reasons >docs/reasons.md
	@$(BIN)/antifraud settings >docs/settings.md

bench: $(INSTALLED)  ## Measure this service beside others, one core each (INSTALL=1 first installs them; ARGS=...)
	@$(BIN)/python -m loadtest.bench $(if $(INSTALL),--install) $(ARGS)

bench-stream: $(INSTALLED)  ## Measure the stream on one core beside the service, and its lag on a quarter of one (after make stack-tools)
	@$(BIN)/python -m loadtest.stream_bench $(ARGS)

kill-ledger: $(INSTALLED)  ## Kill the stream 20 times over 100 000 payments and count: lost, double (after make stack-tools)
	@$(BIN)/python -m loadtest.kill_ledger $(ARGS)

kernel: $(INSTALLED)  ## Measure the explainer beside pred_contrib, shapiq and XGBoost (INSTALL=1 first installs them; needs python3.12)
	@$(BIN)/python -m loadtest.explain $(if $(INSTALL),--install) $(ARGS)

sizes: $(INSTALLED)  ## Measure start, memory and time for 10 thousand, 1 and 5 million customers, and for three models (INSTALL=1)
	@$(BIN)/python -m loadtest.sizes $(if $(INSTALL),--install) $(ARGS)

prepare-sizes: $(SPARK_INSTALLED)  ## Measure from which size on Spark is worth it: DuckDB and Spark on two cores (ARGS=...)
	@$(BIN)/python -m loadtest.prepare_sizes $(ARGS)

spark-jars:  ## Fetch what Spark needs for s3:// addresses into .tools/spark-jars, 660 MB, once (Maven)
	@[ -d .tools/spark-jars ] || { rm -rf .tools/spark-jars.part && mvn -q -B -f stack/spark/pom.xml \
		dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(CURDIR)/.tools/spark-jars.part" && \
		mv .tools/spark-jars.part .tools/spark-jars; }

load: $(LOAD_INSTALLED)  ## Load it: PROFILE=normal|peak|step|spike|soak (HOST=http://..., ARGS=...)
	@$(BIN)/python -m loadtest.run $(or $(PROFILE),normal) $(if $(HOST),--host "$(HOST)") $(ARGS)

profile: $(INSTALLED)  ## Show where the microseconds of one answer go (after make run)
	@$(BIN)/python -m loadtest.profile $(ARGS)

capacity: $(INSTALLED)  ## Measure the highest rate at p99 <= 5 ms and write loadtest/capacity.json
	@$(BIN)/python -m loadtest.capacity $(ARGS)

images:  ## Build both images (IMAGE_BUILD, IMAGE_BASE, IMAGE_PREFIX, TAG, REVISION; IMAGE_TARGETS=service for one)
	@for target in $(IMAGE_TARGETS); do \
		$(IMAGE_BUILD) --target $$target -t $(IMAGE_PREFIX)-$$target:$(TAG) --build-arg BASE=$(IMAGE_BASE) \
			--build-arg VERSION=$(TAG) --build-arg REVISION=$(REVISION) . || exit 1; done

image-sizes:  ## Say what is in an image, biggest first, in MB (IMAGE_TARGETS=service)
	@for target in $(IMAGE_TARGETS); do \
		echo "$$target"; \
		$(IMAGE_RUN) --rm -i --user 0 --entrypoint python3 $(IMAGE_PREFIX)-$$target:$(TAG) - <.ci/image_sizes.py || exit 1; done

test-images: $(INSTALLED)  ## Test both images: read-only, user 10001, no compiler, no pip, size (IMAGE_RUN, after make images)
	@TEST_IMAGES='$(IMAGE_PREFIX):$(TAG)' TEST_IMAGE_RUN='$(IMAGE_RUN)' TEST_IMAGE_TOOL='$(IMAGE_TOOL)' \
		$(BIN)/pytest -m image tests/images $(ARGS)

# KUBECONFIG=file names the cluster; IMAGE_LOAD='kind load docker-image {}' gives it an image, nothing where it pulls them.
# ADDRESS=host:port of the ingress controller, where the Ingress does not say it. Two service images: the second is rolled out.
test-cluster: $(INSTALLED)  ## Prove the chart on a cluster, a quarter of an hour (KUBECONFIG=file IMAGE_LOAD='... {}', ARGS=...)
	@[ -n "$(KUBECONFIG)" ] || { echo "which cluster? make test-cluster KUBECONFIG=file IMAGE_LOAD='...'"; exit 2; }
	@$(MAKE) --no-print-directory images
	@$(MAKE) --no-print-directory images IMAGE_TARGETS=service TAG=$(TAG)-next REVISION=next
	@for image in $(IMAGE_PREFIX)-service:$(TAG) $(IMAGE_PREFIX)-service:$(TAG)-next $(IMAGE_PREFIX)-retrain:$(TAG); do \
		$(if $(IMAGE_LOAD),$(subst {},$$image,$(IMAGE_LOAD)),true) || exit 1; done
	@CLUSTER_KUBECONFIG='$(KUBECONFIG)' CLUSTER_PREFIX='$(IMAGE_PREFIX)' CLUSTER_TAG='$(TAG)' CLUSTER_ADDRESS='$(ADDRESS)' \
		$(BIN)/pytest -m cluster tests/cluster $(ARGS)

k8s: $(INSTALLED)  ## Render the chart into k8s/ and its values into helm/README.md (needs helm)
	@$(BIN)/python k8s/render.py
	@$(BIN)/python helm/values_page.py
	@$(BIN)/python helm/capacity_page.py

chart: $(INSTALLED)  ## Check the chart without a cluster: Helm, unit tests, schemas, kube-score, alerts, k8s/ (after make tools)
	@$(BIN)/python helm/checks/check.py

tools:  ## Install what `make chart` needs into .tools/, unless it is on the PATH or in the folder TOOLS
	@helm/checks/tools.sh

schemas: $(INSTALLED)  ## Take the schemas of Kubernetes' own kinds from a real API server (KUBECONFIG=file, needs kubectl)
	@kubectl get --raw /openapi/v2 | $(BIN)/python helm/checks/schemas.py \
		"$$(kubectl get --raw /version | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["gitVersion"])')"

stack: $(INSTALLED)  ## A bank's platform here: PostgreSQL, S3, MLflow, Kafka, training, the service and the stream on top
	@sh stack/tools.sh versitygw kafka
	@$(BIN)/python -m stack up

stack-down: $(INSTALLED)  ## Stop it (DELETE=1 also removes what it made)
	@$(BIN)/python -m stack $(if $(DELETE),--delete) down

stack-tools:  ## Install the servers of the stack and its tests into .tools/: S3, Kafka, HDFS, Toxiproxy (Go, Java 17, Maven)
	@sh stack/tools.sh

lock: $(INSTALLED)  ## Resolve the hash-locked requirements again
	@$(LOCK) --extra service --extra train --extra stream --extra stack --extra dev pyproject.toml -o requirements/dev.txt
	@$(LOCK) --extra service --extra stream -c requirements/dev.txt pyproject.toml -o requirements/service.txt
	@$(LOCK) --extra train --extra stream -c requirements/dev.txt pyproject.toml -o requirements/train.txt
	@$(LOCK) --extra spark -c requirements/dev.txt pyproject.toml -o requirements/spark.txt
	@echo 'setuptools>=80' | $(LOCK) -c requirements/dev.txt - -o requirements/build.txt
	@$(LOCK) --extra load -c requirements/dev.txt pyproject.toml -o requirements/load.txt
	@printf 'mlflow\nboto3\npsycopg2-binary\n' | $(LOCK) -c requirements/dev.txt - -o requirements/mlflow.txt
	@$(LOCK) dags/requirements.in -o dags/requirements.txt
	@for peer in bentoml fastapi_shap mlflow mlserver; do \
		$(LOCK) loadtest/peers/$$peer/requirements.in -o loadtest/peers/$$peer/requirements.txt || exit 1; done
	@for peer in shapiq xgboost; do \
		$(LOCK:3.11=3.12) loadtest/peers/$$peer/requirements.in -o loadtest/peers/$$peer/requirements.txt || exit 1; done

clean:  ## Stop the stack and remove all that was made here: var/, .venv and caches
	@[ ! -d var/stack ] || $(MAKE) --no-print-directory stack-down DELETE=1
	@rm -rf var .venv .venv-airflow .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build

$(INSTALLED): requirements/dev.txt pyproject.toml setup.py $(wildcard model/*.c model/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing packages into .venv (a minute or two, once) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-index --no-build-isolation --no-deps -e .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || \
		{ echo "LightGBM needs the OpenMP runtime; on Debian and Ubuntu: apt-get install libgomp1"; exit 1; }
	@touch $@

$(LOAD_INSTALLED): requirements/load.txt $(INSTALLED)
	@$(PIP) install --require-hashes -r requirements/load.txt
	@touch $@

$(SPARK_INSTALLED): requirements/spark.txt $(INSTALLED)
	@echo "Installing Spark into .venv (a minute or two, once) ..."
	@$(PIP) install --require-hashes -r requirements/spark.txt
	@touch $@

# Airflow has an environment of its own: what it needs does not fit what the product is locked to.
$(AIRFLOW_INSTALLED): dags/requirements.txt
	@echo "Installing Airflow into .venv-airflow (a minute or two, once) ..."
	@$(PYTHON) -m venv .venv-airflow
	@.venv-airflow/bin/python -m pip --disable-pip-version-check --no-input --quiet install --require-hashes -r dags/requirements.txt
	@.venv-airflow/bin/python -m compileall -q -j 2 .venv-airflow/lib
	@touch $@
