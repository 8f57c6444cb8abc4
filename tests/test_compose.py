"""What can be said of compose.yaml without Docker."""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from antifraud.cli import _VERBS
from model.settings import PREFIX, load_settings
from stack.platform import BUCKETS, TOPICS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = ("buckets", "topics", "train")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+):-([^}]*)\}")


def filled_in(value: str) -> str:
    """Return a value with the defaults of its variables."""
    return VARIABLE.sub(lambda found: found[2], value)


@pytest.mark.parametrize("name", SERVICES)
def test_every_setting_is_one_that_the_product_knows_and_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (SERVICES[name].get("environment") or {}).items():
        if variable.startswith(PREFIX):
            monkeypatch.setenv(variable, filled_in(value))
    settings = load_settings()
    if SERVICES[name]["image"].startswith("localhost/antifraud-") and "mlflow" not in SERVICES[name]["image"]:
        settings.id_hasher()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_tag_that_stays_what_it_is(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+(\.\d+)*(-[a-z]+)?", SERVICES[name]["image"])


def test_an_image_is_built_from_a_target_that_there_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    for service in SERVICES.values():
        if service["image"].startswith("localhost/"):
            assert service["build"]["target"] in targets
            assert service["image"].endswith(f"-{service['build']['target']}:0.1.0")


def test_commands_of_the_product_are_verbs_with_options_that_they_take() -> None:
    called = [SERVICES[name]["command"] for name in ("service", "stream", "land-decisions", "land-reports")]
    called += [shlex.split(line)[1:] for line in SERVICES["train"]["command"][0].splitlines() if "antifraud" in line]
    assert [words[0] for words in called] == ["serve", "stream", "land", "land", "simulate", "train"]
    for verb, *options in called:
        parser = argparse.ArgumentParser(prog=verb)
        _VERBS[verb][0](parser)
        parser.parse_args(options)


def test_what_runs_on_says_whether_it_is_well_and_starts_again() -> None:
    for name, service in SERVICES.items():
        if name in ONCE:
            assert "restart" not in service
            assert "healthcheck" not in service
        else:
            assert service["restart"] == "unless-stopped"
            kind, *command = service["healthcheck"]["test"]
            assert kind in ("CMD", "CMD-SHELL")
            if command[:2] == ["python", "-c"]:
                compile(command[2], name, "exec")


def test_each_waits_for_what_it_needs() -> None:
    for service in SERVICES.values():
        for needed, how in (service.get("depends_on") or {}).items():
            ended = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how == {"condition": ended}
    assert set(SERVICES["service"]["depends_on"]) == {"train"}
    assert set(SERVICES["stream"]["depends_on"]) == {"train", "topics"}


def test_what_the_product_runs_in_cannot_be_written_to() -> None:
    for name, service in SERVICES.items():
        if service["image"].startswith("localhost/"):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"]
            assert service["tmpfs"][0] == "/tmp"  # noqa: S108 - of a container


def test_only_jobs_and_the_registry_hold_keys_of_the_store() -> None:
    holders = {name for name, service in SERVICES.items() if "AWS_SECRET_ACCESS_KEY" in service.get("environment", {})}
    assert holders == {"mlflow", "buckets", "train", "land-decisions", "land-reports"}


def test_volumes_are_named() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_the_example_of_the_environment_has_every_variable_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert example == dict(VARIABLE.findall(TEXT))


def test_buckets_and_topics_are_those_of_the_stack() -> None:
    buckets = re.search(r"for name in (\{.*?\}) - there", SERVICES["buckets"]["command"][0])
    assert buckets is not None
    assert set(yaml.safe_load(buckets[1].replace("{", "[").replace("}", "]"))) == set(BUCKETS)
    topics = re.findall(r"([a-z-]+):(\d+)", SERVICES["topics"]["command"][0].partition(";")[0])
    assert {name: int(partitions) for name, partitions in topics} == TOPICS


def test_the_store_is_the_version_that_the_tests_start() -> None:
    version = re.search(r"^VERSITYGW=(\S+)$", (ROOT / "stack" / "tools.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert SERVICES["s3"]["image"].endswith(f":{version[1]}")


def test_compose_itself_reads_it() -> None:
    program = next((one for one in ("docker-compose", "podman-compose") if shutil.which(one)), None)
    if program is None:
        pytest.skip("neither docker-compose nor podman-compose is installed")
    done = subprocess.run(
        [program, "-f", str(ROOT / "compose.yaml"), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)
