"""Makes the pictures of the documentation: `python docs/make_pictures.py --lab DIR`.

What they show is what the last night of the lab left: the pages of the Prefect UI, in a real
browser, and what the terminal said, from the archive, the journal and the night's result.
Nothing is made up; the path of the lab alone is shortened. Every process that this starts ends
with it.
"""

import argparse
import contextlib
import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from browser import Browser, BrowserMissing, NotOnThePage, browser
from terminal import end_of_run, live_display

from noctuary.cli.processes import prefect_server, running_server, wait_for_server
from noctuary.config import load_settings
from noctuary.errors import CheckFailed, NoctuaryError
from noctuary.lab import Lab, read_json

PICTURES = Path(__file__).parent / "pictures"
MOST_BYTES = 300_000
"""A picture above this size is refused: they travel with the repository."""

WIDTH, HEIGHT, TALL = 1400, 1000, 1520
GRAPH_LAYOUT = "dependency_nearest-parent"
"""The grid: stages from left to right, however long they took."""

PAGE = ".app-router-view__view"
"""Everything but the menu at the side."""

LAST_SHOWN = {"learning-curves": "img[src^='data:image/png']", "leaderboard": "table"}
"""What an artifact's picture ends with; where nothing is said, with the window."""

LOCAL = {"127.0.0.1", "localhost"}


def main() -> None:
    """Make all the pictures, or end with one line that says what is missing."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--lab", type=Path, help="a lab with a finished night (default: data/lab)")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where the pictures go")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what we started is ended
    try:
        lab = Lab.open(options.lab)
        options.out.mkdir(parents=True, exist_ok=True)
        with server_of(lab) as api:
            night, cycle = last_night(api, lab)
            terminal_pictures(lab, api, night, options.out)
            with browser(WIDTH, HEIGHT) as chromium:
                ui_pictures(chromium, api, cycle, options.out)
                for claim in decided_claims(api):
                    claim_picture(chromium, api, claim, options.out)
    except (NoctuaryError, BrowserMissing, NotOnThePage) as error:
        raise SystemExit(f"make_pictures: {error}") from error


@contextlib.contextmanager
def server_of(lab: Lab) -> Iterator[str]:
    """Yield the API of the lab's own server, running already or for as long as we need it."""
    if running := running_server(lab):
        yield running
        return
    with prefect_server(lab, load_settings(lab.settings_path).serve.port) as api:
        wait_for_server(api, lab)
        yield api


def last_night(api: str, lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the flow runs of the lab's last finished night and of its last finished cycle.

    Raises:
        CheckFailed: there is none.
    """
    completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
    newest = {"sort": "START_TIME_DESC", "limit": 100}
    finished = ask(
        api,
        "flow_runs/filter",
        {"flows": {"name": {"any_": ["night"]}}, "flow_runs": completed, **newest},
    )
    nights = [night for night in finished if result_path(lab, night).exists()]
    if not nights:
        raise CheckFailed("no night of this lab has finished; make one with `noctuary run`")
    own = {"parent_flow_run_id": {"any_": [nights[0]["id"]]}}
    cycles = ask(api, "flow_runs/filter", {"flow_runs": {**completed, **own}, **newest})
    if not cycles:
        raise CheckFailed(f"no cycle of the night {nights[0]['name']!r} has finished")
    return nights[0], cycles[0]


def decided_claims(api: str) -> list[dict[str, Any]]:
    """Return the newest finished verification of a claim, where there is one."""
    wanted = {"flows": {"name": {"any_": ["verify-claim"]}}, "sort": "START_TIME_DESC", "limit": 1}
    return ask(
        api,
        "flow_runs/filter",
        {**wanted, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}},
    )


def ask(api: str, what: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answer of the Prefect API to a filter."""
    request = urllib.request.Request(
        f"{api}/{what}",
        data=json.dumps(body).encode("utf-8"),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found


def artifacts_of(api: str, flow_run: str) -> dict[str, str]:
    """Return key -> id of the artifacts of a flow run; the newest where a key was made twice."""
    found = ask(
        api,
        "artifacts/filter",
        {"artifacts": {"flow_run_id": {"any_": [flow_run]}}, "sort": "CREATED_DESC"},
    )
    newest_last = reversed(found)
    return {one["key"]: one["id"] for one in newest_last if one["key"]}


def ui_pictures(chromium: Browser, api: str, cycle: dict[str, Any], folder: Path) -> None:
    """Take the pictures of a cycle in the Prefect UI.

    Raises:
        NotOnThePage: something that belongs on a page is missing.
        CheckFailed: an artifact is missing, or a page asked another host for something.
    """
    ui = api.removesuffix("/api")
    chromium.driver.set_window_size(WIDTH, TALL)
    show_run(chromium, ui, cycle)
    show_tab(chromium, "artifacts")
    chromium.wait_for("#artifacts-content", "leaderboard")
    chromium.script("document.querySelector(arguments[0]).scrollIntoView()", PAGE)
    chromium.wait_until_still(chromium.wait_for(PAGE))
    keep(folder / "run.png", chromium.picture_of("body"))
    chromium.driver.set_window_size(WIDTH, HEIGHT)
    show_run(chromium, ui, cycle)
    lay_out_graph(chromium, GRAPH_LAYOUT)
    fill_window_with_graph(chromium)
    keep(folder / "run-graph.png", chromium.picture_of(".run-graph"))

    artifacts = artifacts_of(api, cycle["id"])
    pages = (
        ("gap", "gap.png"),
        ("leaderboard", "leaderboard.png"),
        ("learning-curves", "curves.png"),
    )
    for key, name in pages:
        if key not in artifacts:
            raise CheckFailed(f"the run {cycle['name']!r} has no artifact {key!r}")
        show_artifact(chromium, ui, key, artifacts[key])
        chromium.wait_for("a", cycle["name"])  # what it belongs to, beside it
        chromium.wait_until_still(chromium.wait_for(PAGE))
        keep(folder / name, chromium.picture_of(PAGE, until=LAST_SHOWN.get(key)))
    if strangers := chromium.hosts() - LOCAL:
        raise CheckFailed(f"the pages asked {', '.join(sorted(strangers))} for something")


def claim_picture(chromium: Browser, api: str, claim: dict[str, Any], folder: Path) -> None:
    """Take the picture of a verdict in the Prefect UI."""
    show_artifact(
        chromium, api.removesuffix("/api"), "verdict", artifacts_of(api, claim["id"])["verdict"]
    )
    chromium.wait_until_still(chromium.wait_for(PAGE))
    keep(folder / "verdict.png", chromium.picture_of(PAGE, until="table"))


def show_run(chromium: Browser, ui: str, run: dict[str, Any]) -> None:
    """Open the page of a flow run; return when its name and its graph are there."""
    chromium.open(f"{ui}/runs/flow-run/{run['id']}")
    chromium.wait_for(".page-heading", run["name"])
    chromium.wait_for_answer(f"{run['id']}/graph-v2")
    chromium.wait_until_still(chromium.wait_for(".run-graph canvas"))


def show_tab(chromium: Browser, tab: str) -> None:
    """Open a tab of the page of a flow run, and bring it into the window, or it stays empty."""
    element = chromium.wait_for(f"#{tab}")
    element.click()
    chromium.script("arguments[0].scrollIntoView()", element)


def lay_out_graph(chromium: Browser, layout: str) -> None:
    """Choose a layout of the run graph in its menu."""
    button = chromium.wait_for('[aria-label="Run Graph Options"]')
    button.click()
    chromium.wait_for("label", "Hide events")
    chromium.script("document.querySelector(`input[value='${arguments[0]}']`).click()", layout)
    button.click()
    chromium.script("document.activeElement.blur()")
    chromium.wait_until_still(chromium.wait_for(".run-graph canvas"))


def fill_window_with_graph(chromium: Browser) -> None:
    """Show the run graph alone, as large as the window."""
    chromium.wait_for('[title^="Toggle fullscreen"]').click()
    chromium.wait_until_still(chromium.wait_for(".run-graph canvas"))
    chromium.wait_for('[title^="Recenter graph"]').click()
    chromium.script("document.activeElement.blur()")
    chromium.wait_until_still(chromium.wait_for(".run-graph canvas"))


def show_artifact(chromium: Browser, ui: str, key: str, artifact: str) -> None:
    """Open the page of an artifact; return when its content is there."""
    chromium.open(f"{ui}/artifacts/artifact/{artifact}")
    chromium.wait_for(".page-heading", key)
    if key == "gap":
        chromium.wait_for("h1", "Gap of cycle")
        chromium.wait_for("h2", "Evidence against")
    elif key == "leaderboard":
        chromium.wait_for("th", "to best human")
        chromium.wait_for("td", "human")
    elif key == "verdict":
        chromium.wait_for("h1", "Claim")
        chromium.wait_for("td", "base")
    else:
        chromium.wait_for_image("img[src^='data:image/png']")


def terminal_pictures(lab: Lab, api: str, night: dict[str, Any], folder: Path) -> None:
    """Draw what the terminal showed during the night, and at its end."""
    address = f"{api.removesuffix('/api')}/runs/flow-run/{night['id']}"
    keep(folder / "terminal.svg", end_of_run(lab, summary_of(lab, night), address))
    keep(folder / "live.svg", live_display(lab, api, night["id"]))


def summary_of(lab: Lab, night: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a night."""
    summary: dict[str, Any] = read_json(result_path(lab, night))["data"]
    return summary


def result_path(lab: Lab, run: dict[str, Any]) -> Path:
    """Return where Prefect keeps the result of a flow run, if it is one of this lab."""
    return lab.prefect / "results" / Path(str(run["state"]["data"]["storage_key"])).name


def keep(path: Path, picture: bytes) -> None:
    """Write a picture, if it is small enough."""
    if len(picture) > MOST_BYTES:
        raise CheckFailed(f"{path.name} has {len(picture)} bytes, expected at most {MOST_BYTES}")
    path.write_bytes(picture)
    print(f"{path}  {len(picture) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
