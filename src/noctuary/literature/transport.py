"""Questions over HTTP that are answered, or given up, within a budget.

Covers growing waits after 429, 5xx, time-outs and broken answers, a server's Retry-After, pauses
between questions, and the size of an answer. Does not cover what an answer means, nor caching.

The timeouts of an HTTP library start anew with every byte. So each request runs in a thread of
its own: neither a server that drips nor a name lookup that hangs holds a cycle for longer than
agreed.
"""

import datetime
import queue
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

FIRST_WAIT = 1.0
"""Seconds before the first retry; each further wait is twice as long."""

MAX_BYTES = 16 * 2**20
"""The longest answer that is read; Semantic Scholar itself promises at most 10 MB."""

_STATUSES = {
    400: "bad query",
    401: "the key is not accepted",
    403: "forbidden",
    404: "nothing at this endpoint",
    429: "too many requests",
    500: "server error",
    502: "bad gateway",
    503: "out of service",
    504: "gateway timeout",
}
_RETRIED = {408, 425, 429}
"""Statuses below 500 after which asking again can help."""


class Unanswered(Exception):
    """There is no answer; the message says why, in words for a note, and holds no key."""


class _Failure(NamedTuple):
    """What went wrong with one request.

    Attributes:
        final: asking the same again cannot help.
        lost: asking anything else cannot help either.
        wait: seconds that the server wants to be left alone.
    """

    problem: str
    final: bool = False
    lost: bool = False
    wait: float = 0.0


class Transport:
    """Asks one service, until its patience is spent.

    Args:
        service: its name, for people.
        patience: seconds for all questions together, from now on.
        pause: seconds between the ends and the beginnings of requests, out of politeness.
        headers: sent with each request; they never show in a problem.
    """

    def __init__(
        self,
        service: str,
        patience: float,
        pause: float,
        *,
        headers: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.service = service
        self.patience = patience
        self.pause = pause
        self._headers = dict(headers)
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + patience
        self._not_before = clock()
        self._given_up = ""

    def ask(self, address: str, read: Callable[[bytes], T], payload: Any = None) -> T:
        """Return what `read` makes of the answer.

        Args:
            read: raises ValueError where it is no answer; then the question is asked again.
            payload: JSON to POST; None for a GET.

        Raises:
            Unanswered: for good, or for this cycle. Once the network is gone or the patience
                is spent, further questions are not even asked.
        """
        if self._given_up:
            raise Unanswered(self._given_up)
        wait = max(0.0, self._not_before - self._clock())
        backoff, problem = FIRST_WAIT, "no time is left for it"
        while True:
            if self._clock() + wait >= self._deadline:
                self._given_up = (
                    f"{self.service} did not answer within {self.patience:g} s ({problem})"
                )
                raise Unanswered(self._given_up)
            if wait:
                self._sleep(wait)
            outcome = self._in_time(address, read, payload)
            self._not_before = self._clock() + self.pause
            if not isinstance(outcome, _Failure):
                return outcome
            problem = outcome.problem
            if outcome.final or outcome.lost:
                said = f"no papers from {self.service} ({problem})"
                self._given_up = said if outcome.lost else ""
                raise Unanswered(said)
            wait, backoff = max(backoff, outcome.wait, self.pause), backoff * 2

    def _in_time(self, address: str, read: Callable[[bytes], T], payload: Any) -> T | _Failure:
        """Return the outcome of one request, when the patience is spent at the latest."""
        seconds = self._deadline - self._clock()
        outcomes: queue.SimpleQueue[T | _Failure] = queue.SimpleQueue()

        def work() -> None:
            outcomes.put(self._outcome(address, read, payload, seconds))

        threading.Thread(target=work, name=self.service, daemon=True).start()
        try:
            return outcomes.get(timeout=seconds)
        except queue.Empty:
            return _Failure("no answer in time")

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        return httpx.Client(headers=self._headers)

    def _outcome(
        self, address: str, read: Callable[[bytes], T], payload: Any, seconds: float
    ) -> T | _Failure:
        import httpx

        try:
            body = _body(self._client, address, payload, seconds)
            return body if isinstance(body, _Failure) else read(body)
        except httpx.TimeoutException:
            return _Failure("no answer in time")
        except httpx.ConnectError:
            # a machine without a network; waiting would take seconds of every cycle
            return _Failure("no connection", lost=True)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return _Failure("the endpoint is not an http address", lost=True)
        except httpx.HTTPError as error:
            return _Failure(f"a broken connection: {type(error).__name__}")
        except Exception as error:  # whatever an odd answer makes a reader raise
            return _Failure(f"an answer that could not be read: {type(error).__name__}")


def _body(client: "httpx.Client", address: str, payload: Any, seconds: float) -> bytes | _Failure:
    end = time.monotonic() + seconds
    method = "GET" if payload is None else "POST"
    with client.stream(method, address, json=payload, timeout=seconds) as response:
        status = response.status_code
        if status != 200:
            words = f"HTTP {status}, {_STATUSES.get(status, 'no answer')}"
            wait = _retry_after(response.headers.get("retry-after", ""))
            if wait:
                words += f", to be asked again after {wait:.0f} s"
            return _Failure(words, final=status < 500 and status not in _RETRIED, wait=wait)
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_BYTES:
                return _Failure(f"an answer of more than {MAX_BYTES // 2**20} MB", final=True)
            if time.monotonic() > end:  # nobody waits for it any more
                return _Failure("no answer in time")
        return bytes(body)


def _retry_after(text: str) -> float:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
