"""What lies around a hostile candidate, and whether it is still as it was.

Covers a home folder with a key, other records of the lab, listeners on every kind of socket, a
process that is not to be touched, and the places where files are left. Nothing of what a
candidate says is asked here: this looks from outside.
"""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trial_process import processes

import noctuary

MARKER = "MARKER-" + uuid.uuid4().hex
"""Stands in everything that is not to be read."""

OTHER = "0123456789abcdef"
"""Names the records of a trial that has nothing to do with the candidate."""

VICTIM = """
import os, signal, sys
for kind in (signal.SIGURG, signal.SIGUSR1, signal.SIGIO, signal.SIGTERM, signal.SIGWINCH):
    signal.signal(kind, lambda number, _: print(f"signal {number}", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


@dataclass
class Surroundings:
    """Things that a candidate goes for.

    Attributes:
        root: everything below it but `changing` has to stay as it is.
        changing: folders in which the program itself makes things; what was there has to stay.
        token: in the name of every file that an attack leaves.
        targets: what the attacks are told: paths, ports, process ids.
    """

    root: Path
    changing: tuple[Path, ...]
    token: str
    targets: dict[str, object]
    victim: subprocess.Popen[bytes]
    listeners: list[socket.socket] = field(default_factory=list)
    before: dict[str, object] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def key(self) -> Path:
        return self.home / ".ssh" / "id_ed25519"

    def remember(self) -> None:
        """Take the present state for the one that has to last."""
        self.before = self._state()

    def changes(self) -> list[str]:
        """Return what differs from the remembered state, in words."""
        now = self._state()
        found = [
            f"{what}: {self.before.get(what)} became {now.get(what)}"
            for what in sorted(self.before.keys() | now.keys())
            if self.before.get(what) != now.get(what)
        ]
        return found + [f"somebody called at {called}" for called in self._calls()]

    def _state(self) -> dict[str, object]:
        files = {
            str(path): _facts(path)
            for path in sorted(self.root.rglob("*"))
            if not any(other in path.parents for other in self.changing) or self._is_ours(path)
        }
        left = {str(path): "is there" for folder in _dumps() for path in _named(folder, self.token)}
        return files | left | _process_facts(self.victim) | _kernel_objects()

    def _is_ours(self, path: Path) -> bool:
        return self.token in str(path) or OTHER in str(path)

    def _calls(self) -> Iterator[str]:
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(1)
                else:
                    listener.accept()[0].close()
                yield f"{listener.family.name} {listener.type.name}"

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.victim.kill()
        self.victim.wait()
        for folder in _dumps():
            for path in _named(folder, self.token):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def surroundings(root: Path, lab: Path) -> Iterator[Surroundings]:
    """Make them; the lab may be there already."""
    token = f"noctuary-{uuid.uuid4().hex[:12]}"
    home = root / "home"
    secrets = {
        "key": home / ".ssh" / "id_ed25519",
        "settings": lab / "noctuary.toml",
        "policy": lab / "policy.toml",
        "archive": lab / "noctuary.duckdb",
        "trial": lab / "trials" / OTHER / "result.json",
        "work": lab / "work" / f"{OTHER}.trial" / "weights.safetensors",
        "candidate": lab / "candidates" / f"{OTHER}.py",
        "journal": lab / "logs" / "journal.jsonl",
        "mark": lab / "lab.json",
        "ledger_key": lab / "ledger" / "keys" / f"{OTHER}.pem",
    }
    for path in secrets.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(MARKER)
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        stdout=(root / "victim.log").open("wb"),
        env={"SECRET": MARKER, "PATH": os.environ["PATH"]},
    )
    targets: dict[str, Any] = {name: str(path) for name, path in secrets.items()}
    targets |= {
        "token": token,
        "home": str(home),
        "real_home": str(Path.home()),
        "lab": str(lab),
        "root": str(root),
        "package": str(Path(noctuary.__file__).parent),
        "site_packages": str(Path(os.__file__).parent),
        "victim": victim.pid,
        "owner": os.getpid(),
    }
    changing = tuple(lab / name for name in ("trials", "work", "candidates", "logs"))
    around = Surroundings(root, changing, token, targets, victim)
    try:
        _listen(around, root)
        while (root / "victim.log").read_text() != "ready\n":
            os.sched_yield()
        yield around
    finally:
        around.close()


def _listen(around: Surroundings, root: Path) -> None:
    """Open a listener of each kind; what it is called by goes into the targets."""

    def add(name: str, family: int, kind: int, address: Any) -> None:
        listener = socket.socket(family, kind)
        listener.setblocking(False)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        around.listeners.append(listener)
        bound = listener.getsockname()
        around.targets[name] = bound[1] if isinstance(bound, tuple) else bound

    add("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    add("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    with contextlib.suppress(OSError):  # a machine without IPv6
        add("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
    here = Path.cwd()
    os.chdir(root)  # the path of a socket has at most 108 bytes
    try:
        add("unix", socket.AF_UNIX, socket.SOCK_STREAM, "listener")
    finally:
        os.chdir(here)
    around.targets["unix"] = str(root / "listener")
    add("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0{around.token}")
    around.targets.setdefault("tcp6", around.targets["tcp"])


def _facts(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        state = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.is_file() else ""
        marks = os.listxattr(path, follow_symlinks=False)
        changed = 0 if path.is_dir() else state.st_mtime_ns
        return f"{state.st_mode:o} of {state.st_uid} at {changed}: {content} {marks}"
    return ""


def _dumps() -> list[Path]:
    """The folders outside where an attack may try to leave something."""
    package = Path(noctuary.__file__).parent
    return [Path("/tmp"), Path("/dev/shm"), Path.home(), package, Path(os.__file__).parent]


def _named(folder: Path, token: str) -> list[Path]:
    return list(folder.glob(f"*{token}*")) if folder.is_dir() else []


def _process_facts(victim: subprocess.Popen[bytes]) -> dict[str, object]:
    """Return what others could change of the victim and of this process."""
    alive = victim.poll() is None
    facts: dict[str, object] = {"victim alive": alive}
    for name, pid in (("victim", victim.pid if alive else 0), ("owner", os.getpid())):
        if pid:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            facts[f"{name} stopped"] = stat[0] in "Tt"
            facts[f"{name} nice"] = os.getpriority(os.PRIO_PROCESS, pid)
            facts[f"{name} cores"] = sorted(os.sched_getaffinity(pid))
            facts[f"{name} limits"] = Path(f"/proc/{pid}/limits").read_text()
    return facts


def _kernel_objects() -> dict[str, object]:
    """Return what outlives its maker without being a file."""
    found: dict[str, object] = {}
    for kind in ("shm", "msg", "sem"):
        listing = Path(f"/proc/sysvipc/{kind}")
        if listing.exists():
            found[f"System V {kind}"] = len(listing.read_text().splitlines())
    found["mounts"] = len(Path("/proc/self/mounts").read_text().splitlines())
    return found


def strays(server: int) -> set[int]:
    """Return the processes below a sandbox's server."""
    return {pid for pid, up, _ in processes() if up == server}
