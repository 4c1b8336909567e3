"""Opening what a job left: a regular file, no link, and never more of it than was agreed."""

import io
import os
import stat
from pathlib import Path


class NotAsAgreed(ValueError):
    """A file is missing, is no file, or holds something else than was agreed."""


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        NotAsAgreed: there is none, or it is larger.
    """
    with open_regular(path) as handle:
        content = handle.read(most + 1)
    if len(content) > most:
        raise NotAsAgreed(f"{path.name} is larger than {most} bytes")
    return content


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file to read it; a link is not followed, and nothing is waited for.

    Raises:
        NotAsAgreed: there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotAsAgreed(f"{path.name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAsAgreed(f"{path.name} is no regular file")
    return os.fdopen(descriptor, "rb")
