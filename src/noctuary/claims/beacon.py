"""A public randomness beacon, mixed into the draw where the settings name one: drand's HTTP API.

The plan names a round that nobody can know yet; the draw waits for it. Covers when a round is due,
fetching it, and that its randomness is the SHA-256 of its signature. Does not check the beacon's
threshold signature itself: whoever doubts a draw asks any drand node for the round again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from noctuary.domain import Beacon
from noctuary.errors import EnvironmentRefused

MARGIN = 30
"""Seconds, at least, between a registration and the round that it waits for."""

PATIENCE = 120.0
"""Seconds that a round may be late."""

FIRST_WAIT = 2.0
"""Seconds before the round is asked for again; each further wait is twice as long."""

_REQUEST_SECONDS = 20.0

Clock = Callable[[], float]


def next_beacon(url: str, clock: Clock = time.time) -> Beacon:
    """Return the first round that begins `MARGIN` seconds from now or later.

    Args:
        url: of the beacon's chain: `https://api.drand.sh/<chain hash>`.

    Raises:
        EnvironmentRefused: the beacon does not answer as one.
    """
    genesis, period = _schedule(url)
    begun = max(0, int(clock()) + MARGIN - genesis)
    return Beacon(url=url, round=-(-begun // period) + 1)  # round 1 is due at the genesis


def randomness_of(
    beacon: Beacon, clock: Clock = time.time, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Wait for the round, and return its randomness, hexadecimal.

    Raises:
        EnvironmentRefused: there is no such round `PATIENCE` seconds after it is due, or it is
            damaged. Nothing is lost: the same round is asked for again.
    """
    genesis, period = _schedule(beacon.url)
    due = genesis + (beacon.round - 1) * period
    sleep(max(0.0, due - clock()))
    wait = FIRST_WAIT
    while True:
        try:
            return _randomness(beacon)
        except EnvironmentRefused:
            if clock() > due + PATIENCE:
                raise
            sleep(wait)
            wait *= 2


def _schedule(url: str) -> tuple[int, int]:
    """Return genesis and period, in seconds."""
    found = _get(f"{url.rstrip('/')}/info")
    try:
        genesis, period = int(found["genesis_time"]), int(found["period"])
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(url, "its info names no genesis_time and period") from error
    if period < 1:
        raise _refused(url, f"its period is {period} s")
    return genesis, period


def _randomness(beacon: Beacon) -> str:
    found = _get(f"{beacon.url.rstrip('/')}/public/{beacon.round}")
    try:
        number, said = int(found["round"]), str(found["randomness"])
        signature = bytes.fromhex(str(found["signature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(beacon.url, f"round {beacon.round} has no signature in it") from error
    if number != beacon.round:
        raise _refused(beacon.url, f"it gave round {number} for round {beacon.round}")
    randomness = hashlib.sha256(signature).hexdigest()
    if said != randomness:
        problem = f"round {number} says {said[:16]}, its signature gives {randomness[:16]}"
        raise _refused(beacon.url, problem)
    return randomness


def _get(address: str) -> Mapping[str, Any]:
    import httpx

    try:
        answer = httpx.get(address, timeout=_REQUEST_SECONDS)
        found = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _refused(address, str(error) or type(error).__name__) from error
    if not isinstance(found, dict):
        raise _refused(address, f"HTTP {answer.status_code}")
    return found


def _refused(url: str, problem: str) -> EnvironmentRefused:
    said = " ".join(problem.split())
    return EnvironmentRefused(
        f"the beacon {url} does not answer as expected ({said}): run the same command again, "
        "or leave claims.beacon empty for further claims"
    )
