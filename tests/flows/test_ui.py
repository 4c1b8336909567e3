"""What a person sees of a cycle in the Prefect UI, in a real browser.

A tiny night on a server of its own. The browser reaches 127.0.0.1 only; that the pages ask for
nothing else is tested, too. Without Chromium the tests are skipped, but never in CI.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import Browser
from make_pictures import (
    LOCAL,
    artifacts_of,
    last_night,
    lay_out_graph,
    show_artifact,
    show_run,
    show_tab,
)
from night_process import make_lab, run_to_the_end

from noctuary.candidates import BASELINES
from noctuary.cli.processes import prefect_server, wait_for_server

STAGES = (
    "fetch literature",
    "synthesise gaps",
    "design candidates",
    f"audit {BASELINES[0]}",
    f"train {BASELINES[0]}, rung 0",
    "promote to rung 1",
    "analyse",
    "publish",
)


class Shown(NamedTuple):
    """A finished night on a server that still runs: flow runs as the API returns them."""

    api: str
    ui: str
    night: dict[str, Any]
    cycle: dict[str, Any]


@pytest.fixture(scope="module")
def shown(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, trained: Path
) -> Iterator[Shown]:
    folder: Path = tmp_path_factory.mktemp("ui")
    lab = make_lab(folder / "lab", trained=trained)
    with prefect_server(lab, 0) as api:
        wait_for_server(api, lab)
        environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "home")}
        run_to_the_end(lab, 1, environment)
        yield Shown(api, api.removesuffix("/api"), *last_night(api, lab))


def test_the_first_generation_ui_comes_up(chromium: Browser, shown: Shown) -> None:
    chromium.hosts()
    chromium.open(shown.ui)
    chromium.wait_for(".context-sidebar", "Dashboard")
    assert "/v2" not in chromium.driver.current_url
    assert chromium.hosts() <= LOCAL


def test_the_run_page_shows_the_cycle_its_graph_and_its_stages(
    chromium: Browser, shown: Shown
) -> None:
    chromium.hosts()
    show_run(chromium, shown.ui, shown.cycle)
    assert shown.cycle["name"] == "cycle 1"
    assert "night of 2" in chromium.text  # the run that it belongs to
    lay_out_graph(chromium, "dependency_nearest-parent")
    show_tab(chromium, "task-runs")
    for stage in STAGES:
        chromium.wait_for_text(stage)
    assert chromium.hosts() <= LOCAL


def test_the_run_page_lists_the_artifacts(chromium: Browser, shown: Shown) -> None:
    show_run(chromium, shown.ui, shown.cycle)
    show_tab(chromium, "artifacts")
    for key in ("gap", "leaderboard", "learning-curves"):
        chromium.wait_for("#artifacts-content", key)


@pytest.mark.parametrize("key", ["gap", "leaderboard", "learning-curves"])
def test_an_artifact_is_shown(chromium: Browser, shown: Shown, key: str) -> None:
    chromium.hosts()
    artifacts = artifacts_of(shown.api, shown.cycle["id"])
    show_artifact(chromium, shown.ui, key, artifacts[key])
    chromium.wait_for("a", shown.cycle["name"])
    assert chromium.hosts() <= LOCAL


def test_the_night_is_named_after_its_date(chromium: Browser, shown: Shown) -> None:
    assert shown.night["name"].startswith("night of 2")
    show_run(chromium, shown.ui, shown.night)
