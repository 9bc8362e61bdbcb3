"""docker-compose.yml says what the services need, and runs nothing that the command line does not have."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from cli.main import Talkativeness, app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
CATALOG_SERVICES = ("migrate", "ingest", "ingest-gpu", "worker")


def test_the_services():
    assert set(SERVICES) == {"db", *CATALOG_SERVICES}
    assert SERVICES["ingest-gpu"]["profiles"] == ["gpu"]
    assert SERVICES["worker"]["profiles"] == ["workers"]
    assert all("profiles" not in SERVICES[name] for name in ("db", "migrate", "ingest"))


def test_the_database_has_a_volume_a_healthcheck_and_a_password_from_env():
    database = SERVICES["db"]
    assert database["image"] == "pgvector/pgvector:pg18"
    assert "database:/var/lib/postgresql" in database["volumes"]
    assert "database" in COMPOSE["volumes"]
    assert database["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert database["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert all(port.startswith("127.0.0.1:") for port in database["ports"])


@pytest.mark.parametrize(
    ("service", "needs", "condition"),
    [
        ("migrate", "db", "service_healthy"),
        ("ingest", "migrate", "service_completed_successfully"),
        ("ingest-gpu", "migrate", "service_completed_successfully"),
        ("worker", "migrate", "service_completed_successfully"),
    ],
)
def test_services_wait_for_each_other(service, needs, condition):
    assert SERVICES[service]["depends_on"] == {needs: {"condition": condition}}


def test_the_gpu_is_reserved():
    (device,) = SERVICES["ingest-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert SERVICES["ingest-gpu"]["environment"]["CATALOG_INGEST_DEVICE"] == "cuda:0"
    assert "deploy" not in SERVICES["ingest"]


@pytest.mark.parametrize("name", CATALOG_SERVICES)
def test_passwords_come_by_environment_and_never_on_a_command_line(name):
    service = SERVICES[name]
    assert "PASSWORD" not in " ".join(service["command"])
    assert service["environment"]["CATALOG_DATABASE_URL"] == "postgresql://catalog@db:5432/catalog"
    assert service["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert service["environment"]["CATALOG_READER_PASSWORD"].startswith("${CATALOG_READER_PASSWORD:?")


def test_the_example_env_names_every_variable_and_no_value_that_is_secret():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(re.findall(r"\$\{([A-Z_]+)", TEXT)) == set(example)
    assert {name for name, value in example.items() if not value} == {name for name in example if "PASSWORD" in name}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert ".env" in ignored and ".env" in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("name", CATALOG_SERVICES)
def test_every_command_parses(name):
    """The words are read by the real parser, which refuses unknown commands and options; nothing is run."""
    program, *words = SERVICES[name]["command"]
    assert program == "catalog"
    context = get_command(app).make_context("catalog", list(words), obj=Talkativeness())
    command = context.command
    rest = [*context._protected_args, *context.args]
    while rest and hasattr(command, "commands"):
        command = command.commands[rest[0]]
        context = command.make_context(rest[0], rest[1:], parent=context)
        rest = [*context._protected_args, *context.args]
    assert not rest and not hasattr(command, "commands")
    command_words = words[:2] if name == "migrate" else words[:1]
    program = f"from cli.main import main; main({[*command_words, '--help']})"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_what_the_services_ingest_is_in_the_repository():
    words = SERVICES["ingest"]["command"]
    assert SERVICES["ingest-gpu"]["command"] == words
    paths = [word for word in words if word.startswith("pocket/")]
    assert len(paths) == 6
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_the_dockerfile_installs_the_lock_and_drops_root():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    instructions = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert instructions[0] == "FROM python:3.11-slim"
    assert "pip install -r requirements.lock" in text
    assert "--editable ." in text
    assert instructions.index("USER catalog") < next(i for i, line in enumerate(instructions) if line.startswith("CMD"))
    for name in CATALOG_SERVICES:
        arguments = SERVICES[name]["build"].get("args", {})
        assert all(f"ARG {argument}=" in text for argument in arguments)
