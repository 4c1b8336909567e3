"""A randomness beacon in the draw: a real HTTP server on loopback, on good days and bad ones."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from literature_server import Clock, Handler, Service, sends, sends_json, serving
from searched_lab import searched_lab

from noctuary.archive import Archive
from noctuary.candidates import human_candidates
from noctuary.claims.beacon import MARGIN, PATIENCE, next_beacon, randomness_of
from noctuary.claims.planning import plan_claim
from noctuary.claims.registration import draw, register
from noctuary.claims.seeds import draw_seeds
from noctuary.config import load_settings
from noctuary.domain import Beacon
from noctuary.errors import EnvironmentRefused

GENESIS, PERIOD = 1_000, 30
NOW = 10_000.0


def signature(number: int) -> bytes:
    return hashlib.sha256(f"round {number}".encode()).digest() * 3


def randomness(number: int) -> str:
    return hashlib.sha256(signature(number)).hexdigest()


class Drand:
    """Answers as a node of drand does: rounds that are due, each as changed by `change`."""

    def __init__(self, server: Service) -> None:
        self.server = server
        self.clock = Clock()
        self.clock.now = NOW
        self.url = f"{server.address}/52db9ba7"
        self.change: dict[str, Any] = {}
        self.info: dict[str, Any] = {"genesis_time": GENESIS, "period": PERIOD}
        self.late = 0.0
        server.replies = [self._reply]

    def due(self, number: int) -> float:
        return GENESIS + (number - 1) * PERIOD

    def _reply(self, handler: Handler) -> None:
        if handler.path.endswith("/52db9ba7/info"):
            sends_json(self.info)(handler)
            return
        number = int(handler.path.rpartition("/public/")[2])
        if self.clock.now < self.due(number) + self.late:
            sends(425, b"too early")(handler)
            return
        found = {
            "round": number,
            "randomness": randomness(number),
            "signature": signature(number).hex(),
        }
        sends_json({**found, **self.change})(handler)


@pytest.fixture
def drand() -> Iterator[Drand]:
    with serving() as server:
        yield Drand(server)


def ask(drand: Drand, beacon: Beacon) -> str:
    return randomness_of(beacon, drand.clock, drand.clock.sleep)


@pytest.mark.parametrize("now", [NOW, NOW + 1, NOW + PERIOD - 1, NOW + PERIOD / 3, GENESIS - 500.0])
def test_the_round_is_one_that_nobody_can_know_yet(drand: Drand, now: float) -> None:
    drand.clock.now = now
    beacon = next_beacon(drand.url, drand.clock)
    assert beacon.url == drand.url
    assert drand.due(beacon.round) >= now + MARGIN - 1
    earlier = beacon.round - 1
    assert earlier == 0 or drand.due(earlier) < now + MARGIN


def test_it_is_waited_for_and_its_randomness_is_the_hash_of_its_signature(drand: Drand) -> None:
    beacon = next_beacon(drand.url, drand.clock)
    assert ask(drand, beacon) == randomness(beacon.round)
    assert drand.clock.now >= drand.due(beacon.round)


def test_a_late_round_is_asked_for_again(drand: Drand) -> None:
    drand.late = PATIENCE / 2
    beacon = next_beacon(drand.url, drand.clock)
    assert ask(drand, beacon) == randomness(beacon.round)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"randomness": "00" * 32}, "its signature gives"),
        ({"signature": "not hexadecimal"}, "has no signature in it"),
        ({"signature": None}, "has no signature in it"),
        ({"round": 7}, "it gave round 7"),
    ],
)
def test_a_round_that_is_not_what_it_says_is_refused(
    drand: Drand, change: dict[str, Any], said: str
) -> None:
    beacon = next_beacon(drand.url, drand.clock)
    drand.change = change
    with pytest.raises(EnvironmentRefused, match=said) as caught:
        ask(drand, beacon)
    assert "\n" not in str(caught.value)


def test_a_round_that_never_comes_ends_the_wait(drand: Drand) -> None:
    beacon = next_beacon(drand.url, drand.clock)
    drand.late = float("inf")
    with pytest.raises(EnvironmentRefused, match=r"HTTP 425.*run the same command again"):
        ask(drand, beacon)
    assert drand.clock.now < drand.due(beacon.round) + 3 * PATIENCE


@pytest.mark.parametrize(
    "info", [{}, {"genesis_time": "soon", "period": 3}, {"genesis_time": 0, "period": 0}]
)
def test_what_is_no_beacon_is_refused(drand: Drand, info: dict[str, Any]) -> None:
    drand.info = info
    with pytest.raises(EnvironmentRefused, match="does not answer as expected"):
        next_beacon(drand.url, drand.clock)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/chain", "ftp://example.org", "nonsense"])
def test_an_address_without_a_beacon_is_one_clear_line(url: str) -> None:
    with pytest.raises(EnvironmentRefused, match=r"claims\.beacon") as caught:
        next_beacon(url)
    assert "\n" not in str(caught.value)


def test_a_claim_waits_for_its_round_and_goes_on_after_a_bad_day(
    tmp_path: Path, drand: Drand
) -> None:
    lab = searched_lab(tmp_path / "lab", {"delta_net": 0.6, "gla": 0.4})
    settings, archive = load_settings(lab.settings_path), Archive(lab.archive_path)
    beacon = next_beacon(drand.url, drand.clock)
    plan = plan_claim(
        lab,
        archive,
        settings,
        human_candidates(lab, ["delta_net"])[0],
        smallest_effect=0.2,
        beacon=beacon,
    ).plan
    claim = register(lab, archive, settings.ledger, plan)
    drand.change = {"randomness": "00" * 32}
    with pytest.raises(EnvironmentRefused):
        draw(lab, archive, settings.ledger, claim, drand.clock, drand.clock.sleep)
    assert archive.claims() == (claim,)
    drand.change = {}
    drawn = draw(lab, archive, settings.ledger, claim, drand.clock, drand.clock.sleep)
    assert archive.claims() == (drawn,)
    assert drawn.draw is not None
    assert drawn.draw.randomness == randomness(beacon.round)
    head, claim_id, count = drawn.draw.head, claim.claim_id, plan.seeds
    assert drawn.draw.seeds == draw_seeds(head, claim_id, count, randomness(beacon.round))
    assert not set(drawn.draw.seeds) & set(draw_seeds(head, claim_id, count))
