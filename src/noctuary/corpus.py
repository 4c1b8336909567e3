"""Text of the user's own for the text task: a file, a folder, or a Hugging Face dataset.

Covers reading the text and keeping it as one file of bytes, named by its hash, so that trials
read the same bytes for ever. Does not clean, tokenise or shuffle; splitting is the task's work.
"""

import codecs
import hashlib
import importlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noctuary.errors import EnvironmentRefused, UsageError
from noctuary.lab import explaining_disk_errors, write_atomically

MIN_BYTES = 64 * 2**10
MAX_BYTES = 8 * 2**20
HUB = "hf:"

Rows = Iterable[Mapping[str, Any]]
Load = Callable[..., Rows]
"""The call of `datasets.load_dataset`, as far as it is used here."""


def prepare_corpus(
    source: str, folder: Path, limit: int = MAX_BYTES, load: Load | None = None
) -> Path:
    """Write the text of a source into a folder and return the file, `<sha256>.bin`.

    Args:
        source: a file, a folder, or `hf:NAME[:CONFIG[:SPLIT[:COLUMN]]]` for a dataset; the
            split is `train` and the column `text` unless named, and CONFIG may be empty.
        limit: bytes after which the text is cut off.
        load: what opens datasets; the one of the package `datasets` if None.

    Raises:
        UsageError: there is no such source, or too little text in it.
        EnvironmentRefused: the package or the network is missing, or the disk is full.
    """
    if source.startswith(HUB):
        pieces = _hub_texts(source, load or _datasets_load(source))
    else:
        pieces = _file_texts(Path(source).expanduser(), limit)
    text = _joined(pieces, limit)
    if len(text) < MIN_BYTES:
        raise UsageError(
            f"{source} has {len(text)} bytes of readable text; expected at least {MIN_BYTES}: "
            "name a source with more"
        )
    path = folder / f"{hashlib.sha256(text).hexdigest()}.bin"
    with explaining_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, text)
    return path


def _joined(pieces: Iterable[bytes], limit: int) -> bytes:
    """Return the pieces, a line break between any two, up to the limit."""
    text = bytearray()
    for piece in pieces:
        if text:
            text += b"\n"
        text += piece
        if len(text) >= limit:
            break
    return bytes(text[:limit])


def _file_texts(source: Path, limit: int) -> Iterator[bytes]:
    kind = _kind(source)
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise UsageError(
            f"{source} is neither a file nor a folder that can be reached; expected a text, or "
            f"{HUB}NAME[:CONFIG[:SPLIT[:COLUMN]]] for a dataset"
        )
    for path in [source] if kind == stat.S_IFREG else _files(source):
        text = _text(path, limit)
        if text:
            yield text


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder in order of name, hidden ones left out.

    Links to folders are not followed, so that a loop ends; a file that several links lead to
    counts once.
    """
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    once: dict[Path, Path] = {}
    for path in sorted(found):
        if _kind(path) == stat.S_IFREG:  # no pipe, no device, no broken link
            once.setdefault(path.resolve(), path)
    return list(once.values())


def _kind(path: Path) -> int:
    """Return the type, of those in `stat`, of what a path leads to; 0 if it cannot be reached."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return 0


def _text(path: Path, limit: int) -> bytes:
    """Return at most `limit` bytes of a UTF-8 file; none where it is binary or unreadable."""
    try:
        with path.open("rb") as handle:
            data = handle.read(limit)
            whole = not handle.read(1)
        codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except (OSError, UnicodeDecodeError):
        return b""
    return b"" if b"\0" in data else data


def _datasets_load(source: str) -> Load:
    try:
        load: Load = importlib.import_module("datasets").load_dataset
    except ImportError as error:
        raise EnvironmentRefused(
            f"{source} needs the package `datasets`, which is not installed: "
            "`pip install datasets`, or name a file or folder of text"
        ) from error
    return load


def _hub_texts(source: str, load: Load) -> Iterator[bytes]:
    name, config, split, column, *rest = [*source.removeprefix(HUB).split(":"), "", "", ""]
    if not name or any(rest):
        raise UsageError(f"{source} names no dataset; expected {HUB}NAME[:CONFIG[:SPLIT[:COLUMN]]]")
    column = column or "text"
    for row in _hub_rows(source, load, name, config or None, split or "train"):
        if column not in row or not isinstance(row[column], str | None):
            texts = [key for key, value in row.items() if isinstance(value, str)]
            raise UsageError(
                f"{source} has no column {column!r} of text; expected one of "
                f"{', '.join(texts) or 'none: it holds no text'}"
            )
        yield (row[column] or "").encode("utf-8", errors="replace")


def _hub_rows(source: str, load: Load, name: str, config: str | None, split: str) -> Rows:
    """Yield the rows of a dataset; whatever keeps them from us is said in one line."""
    try:
        yield from load(name, config, split=split, streaming=True)
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise UsageError(
            f"{source} cannot be opened: {_first_line(error)}; expected a dataset, "
            "configuration and split that are there"
        ) from error
    except Exception as error:  # the hub's clients raise what their HTTP library raises
        raise EnvironmentRefused(
            f"{source} cannot be fetched: {_first_line(error)}; connect to the network, or name "
            "a file or folder of text"
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
