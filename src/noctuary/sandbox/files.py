"""What a job may read and write, by Landlock: its own folder, the interpreter, and little else.

Every right that the kernel's version of Landlock knows is denied, TCP, abstract Unix sockets and
signals to others included; then what a job needs is granted. What older versions do not know is
denied by the system-call filter. Covers no metadata: that a file exists, its size and its owner
can still be looked up by name.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import noctuary

SYSTEM_LIBRARIES = (
    *("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache"),
    *("/nix/store", "/gnu/store"),
)
SYSTEM_FACTS = ("/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero")
CUDA_READ = (
    *("/proc/self", "/proc/driver/nvidia", "/proc/devices", "/proc/modules"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm", "/sys"),
)
CUDA_DEVICES = "nvidia*"
OWN_THREADS = "/proc/self/task"
"""The CUDA driver gives its threads names by writing there, and gives up where it cannot."""


class Unconfined(Exception):
    """A layer cannot be applied here; the message says why."""


def restrict_files(
    folder: Path, writable: Sequence[str], readable: Sequence[str], home: Path | None, on_cuda: bool
) -> None:
    """Deny this process all files but what a job needs.

    Args:
        writable: names of files in the folder; they exist.
        home: of the user, or None; nothing that contains it is granted.

    Raises:
        Unconfined: the kernel has no Landlock, or what is needed lies around the home folder.
    """
    if sys.platform != "linux":
        raise Unconfined(f"{sys.platform} has no Landlock")
    from landlockpy import AccessFS, LandlockError, Ruleset, Scope

    read = AccessFS.READ_FILE | AccessFS.READ_DIR
    write = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE
    use = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.IOCTL_DEV
    own = [folder, *_there(readable)]
    shared = [*interpreter_paths(), *_there(SYSTEM_LIBRARIES + SYSTEM_FACTS)]
    if on_cuda:
        libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
        shared += _there([*CUDA_READ, *filter(None, libraries)])
    _require_apart(shared, [folder] if home is None else [folder, home])
    try:
        rules = Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL)
    except LandlockError as error:
        raise Unconfined(f"the kernel gives no Landlock ({error})") from error
    with rules:
        for path in (*shared, *own):
            rules.allow_path(path, read if path.is_dir() else AccessFS.READ_FILE)
        rules.allow_path("/dev/null", AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        for name in writable:
            rules.allow_path(folder / name, write)
        if on_cuda:
            rules.allow_path(OWN_THREADS, read | write)
            for device in Path("/dev").glob(CUDA_DEVICES):
                rules.allow_path(device, use | read if device.is_dir() else use)
        rules.restrict()


def interpreter_paths() -> Iterator[Path]:
    """Yield where Python, its packages and noctuary are read from."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    folders |= set(site.getsitepackages())
    # of what else is on the path, only what is called so: a checkout may have a lab in it
    folders |= {place for place in sys.path if Path(place).name.endswith("-packages")}
    folders.add(str(Path(noctuary.__file__).parent))
    return _there(sorted(folders))


def _there(paths: Iterable[str]) -> Iterator[Path]:
    return (Path(path) for path in paths if Path(path).exists())


def _require_apart(shared: Sequence[Path], kept: Sequence[Path]) -> None:
    """Raise Unconfined where a folder that would be granted contains one that must not be."""
    for path in shared:
        for other in kept:
            if other.resolve().is_relative_to(path.resolve()):
                raise Unconfined(
                    f"{path}, which Python needs, contains {other}; expected Python and its "
                    "packages in folders of their own: use a virtual environment"
                )
