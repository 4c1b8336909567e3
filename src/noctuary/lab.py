"""The lab on disk: where things lie, how a lab is made and opened, and who may work in it.

Covers paths, the lab's secret, atomic writing and the lock. Does not cover what is in the archive.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noctuary.errors import EnvironmentRefused, LabInUse, LabTooNew, NoSpace, NotALab

LAB_VERSION = 1
MIN_FREE_BYTES = 64 * 2**20
"""Below this much free disk no trial is started: a full disk must not look like a bad design."""

SECRET_BYTES = 16

_MARK = "lab.json"


def shipped(name: str) -> Path:
    """Return a shipped folder (`architectures`, `data/snapshot`), from a checkout or a wheel."""
    package = Path(__file__).parent
    inside = package / "shipped" / name
    return inside if inside.exists() else package.parent.parent / name


def default_lab() -> Path:
    """Return `NOCTUARY_LAB`, else `data/lab` in a checkout, else one in the user's data folder."""
    named = os.environ.get("NOCTUARY_LAB")
    if named:
        return Path(named)
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / "data" / "lab"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "noctuary" / "lab"


class Lab:
    """The folder of one laboratory. Holds paths only, so it is cheap and safe to pass around."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.archive_path = self.root / "noctuary.duckdb"
        self.settings_path = self.root / "noctuary.toml"
        self.policy_path = self.root / "policy.toml"
        self.candidates = self.root / "candidates"
        self.trials = self.root / "trials"
        self.reports = self.root / "reports"
        self.cycles = self.root / "cycles"
        self.logs = self.root / "logs"
        self.work = self.root / "work"
        self.quarantine = self.root / "quarantine"
        self.corpora = self.root / "corpora"
        self.literature = self.root / "literature"
        self.ledger = self.root / "ledger"
        self.prefect = self.root / "prefect"
        self.journal_path = self.logs / "journal.jsonl"

    @classmethod
    def open(cls, path: Path | None = None) -> "Lab":
        """Return the lab that is there.

        Raises:
            NotALab: nothing is there, or something else is.
            LabTooNew: a newer noctuary wrote it.
        """
        lab = cls(path or default_lab())
        mark = lab.root / _MARK
        if not mark.is_file():
            state = "holds no lab" if lab.root.exists() else "does not exist"
            raise NotALab(
                f"{lab.root} {state}; expected a folder made by `noctuary run`: "
                "run that first, or name the lab with --lab or NOCTUARY_LAB"
            )
        try:
            version = int(json.loads(mark.read_text(encoding="utf-8"))["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise NotALab(
                f'{mark} is damaged ({error}); expected {{"version": {LAB_VERSION}}}: '
                "restore it from a backup"
            ) from error
        if version > LAB_VERSION:
            raise LabTooNew(
                f"{lab.root} was written in lab format {version}, this noctuary knows "
                f"{LAB_VERSION}: update noctuary, or use another --lab"
            )
        return lab

    @classmethod
    def create_or_open(cls, path: Path | None = None) -> "Lab":
        """Return the lab, made anew where the folder is missing or empty.

        Raises:
            NotALab: the folder holds other things; they are left alone.
        """
        lab = cls(path or default_lab())
        if (lab.root / _MARK).exists():
            lab = cls.open(lab.root)
            if not lab._mark().get("secret"):  # an older noctuary made it
                with explaining_disk_errors(lab.root):
                    lab._write_mark()
            return lab
        if lab.root.exists() and (not lab.root.is_dir() or any(lab.root.iterdir())):
            raise NotALab(
                f"{lab.root} exists and is not a lab (no {_MARK} in it); expected an empty or "
                "missing folder: name another with --lab"
            )
        with explaining_disk_errors(lab.root):
            lab.root.mkdir(parents=True, exist_ok=True)
            folders = (lab.candidates, lab.trials, lab.cycles, lab.reports, lab.logs, lab.work)
            for folder in folders:
                folder.mkdir(exist_ok=True)
            lab._write_mark()
        return lab

    @property
    def secret(self) -> str:
        """What test sequences are made of beside their seed; for the trusted processes alone.

        Raises:
            NotALab: there is no lab, or one that no noctuary of today has opened.
        """
        try:
            return str(self._mark()["secret"])
        except (OSError, ValueError, KeyError) as error:
            raise NotALab(
                f"{self.root / _MARK} holds no secret; expected one of {SECRET_BYTES} bytes: open "
                "the lab with `noctuary run`, which adds it"
            ) from error

    def _mark(self) -> dict[str, Any]:
        found = read_json(self.root / _MARK)
        return found if isinstance(found, dict) else {}

    def _write_mark(self) -> None:
        mark = {"version": LAB_VERSION, "secret": secrets.token_hex(SECRET_BYTES)}
        write_atomically(self.root / _MARK, json.dumps(mark) + "\n", mode=0o600)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lab for this process; the kernel lets go of it however the process ends.

        Raises:
            LabInUse: another process holds it.
        """
        path = self.root / "lock"
        with path.open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                handle.seek(0)
                owner = handle.read().strip() or "unknown"
                raise LabInUse(
                    f"process {owner} works in {self.root}; one at a time may: wait until it "
                    "ends, or use another --lab"
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def require_space(self) -> None:
        """Raise NoSpace where the disk of the lab is too full to start a trial."""
        free = shutil.disk_usage(self.root).free
        if free < MIN_FREE_BYTES:
            raise NoSpace(
                f"{free // 2**20} MB free on the disk of {self.root}; expected at least "
                f"{MIN_FREE_BYTES // 2**20} MB: free some space and run the same command again, "
                "finished trials are kept"
            )


@contextlib.contextmanager
def explaining_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear line with exit status 3."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"no space left on the disk of {path}: free some and run the same command "
                "again, finished trials are kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise EnvironmentRefused(
                f"{error.strerror} at {error.filename or path}; expected a folder that may be "
                "written: mend it, or name another with --lab"
            ) from error
        raise


def write_atomically(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Write a file so that readers see the old content or the new one, also after a power cut.

    Args:
        mode: who may read it; None for what the process gives to all its files.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as handle:
            if mode is not None:
                os.fchmod(handle.fileno(), mode)
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
