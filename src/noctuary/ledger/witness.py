"""Tells somebody outside of the lab how far the ledger has come, over HTTP.

Covers sending a signed tree head and keeping the answer: whoever has the head can show later that
the ledger was rolled back, forked or written anew. Does not cover what the witness does with it,
nor trust in its answer.
"""

import time
from pathlib import Path
from urllib.parse import urlsplit

from noctuary.config import LedgerSettings
from noctuary.errors import EnvironmentRefused, NoctuaryError
from noctuary.journal import Journal
from noctuary.lab import Lab, explaining_disk_errors, write_atomically
from noctuary.ledger import database
from noctuary.ledger.log import Ledger
from noctuary.ledger.notes import read_note

FOLDER = "witnessed"

PATIENCE = 30.0
"""Seconds that a witness has for its whole answer."""

MAX_BYTES = 2**20


def publish(folder: Path, address: str, patience: float = PATIENCE) -> Path:
    """Send the newest head of a ledger to a witness; return the file with its answer.

    Args:
        folder: of the ledger; head and answer are kept in `witnessed/`, by the head's size.

    Raises:
        EnvironmentRefused: it does not answer in time, or not with a status of success.
    """
    with Ledger.read(folder) as ledger:
        head = ledger.head()
    answer = _posted(address, head, patience)
    kept = folder / FOLDER
    size = read_note(head).checkpoint.size
    path = kept / f"{size}.answer"
    with explaining_disk_errors(folder):
        kept.mkdir(exist_ok=True)
        write_atomically(kept / f"{size}.head", head)
        write_atomically(path, answer)
    return path


def publish_after_night(lab: Lab, settings: LedgerSettings, journal: Journal) -> None:
    """Send the newest head where a witness is set; a witness that fails fails no night."""
    if not settings.witness or not (lab.ledger / database.NAME).exists():
        return
    try:
        path = publish(lab.ledger, settings.witness)
        journal.write("head witnessed", answer=str(path.relative_to(lab.root)))
    except NoctuaryError as error:
        journal.write("head not witnessed", reason=str(error))


def _posted(address: str, head: str, patience: float) -> bytes:
    """Return the answer; the timeouts of httpx begin anew with every byte, so time is kept here."""
    import httpx

    if urlsplit(address).scheme not in ("http", "https"):
        raise EnvironmentRefused(
            f"the witness {address!r} is no http address; expected one: mend [ledger] witness"
        )
    end, body = time.monotonic() + patience, bytearray()
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        with httpx.stream(
            "POST", address, content=head.encode(), headers=plain, timeout=patience
        ) as answer:
            for part in answer.iter_bytes():
                body += part
                if len(body) > MAX_BYTES or time.monotonic() > end:
                    raise EnvironmentRefused(
                        f"the witness {address} answered {len(body)} bytes and was not done; "
                        f"expected at most {MAX_BYTES} within {patience:g} s: ask its owner"
                    )
            if not answer.is_success:
                raise EnvironmentRefused(
                    f"the witness {address} answered HTTP {answer.status_code}; expected success: "
                    "see [ledger] witness"
                )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EnvironmentRefused(
            f"the witness {address} did not answer ({type(error).__name__}); expected it to: see "
            "[ledger] witness, or send what `noctuary ledger head` prints in another way"
        ) from error
    return bytes(body)
