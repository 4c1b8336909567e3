"""The shipped deployments are what they say: loaded by Prefect, and by systemd's rules."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect_api import Api

from noctuary.cli.serve import command
from noctuary.lab import Lab
from noctuary.night import NightRequest

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


@pytest.fixture
def clean(server: Api) -> Iterator[Api]:
    try:
        yield server
    finally:
        server.delete_deployments()


def run(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=DEPLOYMENTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_registers_everything_twice_over(
    clean: Api, fresh_lab: Lab, prefect_environment: dict[str, str]
) -> None:
    environment = {**prefect_environment, "NOCTUARY_LAB": str(fresh_lab.root)}
    for _ in range(2):  # what is there is brought up to date
        run(environment, str(DEPLOYMENTS / "deploy.py"))
    found = clean.deployment()
    assert found["entrypoint"] == "flows.night.night"
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert [s["schedule"]["cron"] for s in found["schedules"]] == ["0 1 * * *"]
    assert NightRequest.model_validate(found["parameters"]["request"]).lab == str(fresh_lab.root)
    assert clean.get("work_pools/noctuary")["type"] == "process"
    watches = [a["name"] for a in clean.post("automations/filter", {})]
    assert watches.count("noctuary: a run without heartbeat has crashed") == 1


def test_the_yaml_deploys_the_same_night(clean: Api, prefect_environment: dict[str, str]) -> None:
    clean.ensure_pool("noctuary")
    file = str(DEPLOYMENTS / "prefect.yaml")
    run(
        prefect_environment,
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--prefect-file",
        file,
        "--all",
    )
    found = clean.deployment()
    assert found["entrypoint"] == "flows.night.night"
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert [s["schedule"]["cron"] for s in found["schedules"]] == ["0 1 * * *"]
    assert not found["pull_steps"]
    request = NightRequest.model_validate(found["parameters"]["request"])
    assert request.budget_seconds == request.settings.serve.budget
    environment = found["job_variables"]["env"]
    assert environment["NOCTUARY_LAB"] == request.lab == found["job_variables"]["working_dir"]


def test_the_unit_restarts_a_command_that_exists() -> None:
    lines = (DEPLOYMENTS / "noctuary.service").read_text(encoding="utf-8").splitlines()
    assert "Restart=always" in lines
    assert "WantedBy=multi-user.target" in lines
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    program, name, *options = shlex.split(start.removeprefix("ExecStart="))
    assert Path(program).name == "noctuary"
    assert name == command.name
    command.make_context("serve", options)
