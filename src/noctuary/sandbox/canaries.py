"""What a job's process tries, once it is confined, and must not be able to do.

Each canary belongs to one layer and does the real thing, in a way that harms nothing where it
works: what it makes it removes. One that works shows that the layer does not hold on this
machine, whatever its configuration says. Not everything that a layer denies is tried. Those of
the filter come last: it would stop what the other layers have to stop alone.
"""

import ctypes
import errno
import mmap
import os
import resource
import socket
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from noctuary.policy import Layer
from noctuary.sandbox.layers import Scene, may_pass, namespaces
from noctuary.sandbox.limits import address_space_binds

_SIGKILL = 9
_PR_GET_PDEATHSIG = 2
_PR_GET_DUMPABLE = 3
_PR_GET_NO_NEW_PRIVS = 39
_PTRACE_SEIZE = 0x4206
_PTRACE_DETACH = 17
_IO_URING_SETUP = 425  # the same on all architectures
_DENIED = (errno.EPERM, errno.EACCES, errno.ENOSYS)


class Canary(NamedTuple):
    """One attempt.

    Attributes:
        does: what it tries, in words.
        works: returns whether it worked; an OSError says that it was stopped.
    """

    layer: Layer
    does: str
    works: Callable[[Scene], bool]


def what_gets_through(scene: Scene, said: Mapping[Layer, str]) -> dict[Layer, list[str]]:
    """Try everything that those of these layers must stop which say that they are applied.

    Args:
        said: layer -> why it was not applied, or ''.

    Returns:
        layer -> what worked, in words.
    """
    through: dict[Layer, list[str]] = {}
    for canary in CANARIES:
        if said.get(canary.layer, "not yet"):
            continue
        try:
            worked = canary.works(scene)
        except (OSError, MemoryError):
            continue
        if worked:
            through.setdefault(canary.layer, []).append(canary.does)
    return through


def _stays_with_others(scene: Scene) -> bool:
    return not os.getpid() == os.getpgrp() == os.getsid(0)


def _outlives_its_server(scene: Scene) -> bool:
    signal = ctypes.c_int(0)
    _libc().prctl(_PR_GET_PDEATHSIG, ctypes.byref(signal), 0, 0, 0)
    return signal.value != _SIGKILL


def _sees_foreign_variables(scene: Scene) -> bool:
    return any(name not in ("HOME", "TMPDIR") and not may_pass(name) for name in os.environ)


def _has_open_files(scene: Scene) -> bool:
    return any(_is_open(number) for number in range(3, 1024) if number != scene.report)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _exceeds_limits(scene: Scene) -> bool:
    wanted = scene.job.limits.resources(scene.on_cuda)
    return any(resource.getrlimit(kind)[1] > bound for kind, bound in wanted.items())


def _maps_too_much(scene: Scene) -> bool:
    if not address_space_binds(scene.on_cuda):
        return False  # the server watches the resident set instead
    mmap.mmap(-1, (scene.job.limits.memory_mb + 1) * 2**20).close()
    return True


def _may_gain_privileges(scene: Scene) -> bool:
    return bool(_libc().prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)


def _has_capabilities(scene: Scene) -> bool:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    if _libc().capget(header, sets) != 0:
        return True  # what cannot be looked up is not known to be gone
    return any(sets)


def _may_be_looked_into(scene: Scene) -> bool:
    return bool(_libc().prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)


def _reads_a_secret(scene: Scene) -> bool:
    return any(_opens(path, os.O_RDONLY) for path in scene.secrets)


def _opens(path: Path, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def _lists_home(scene: Scene) -> bool:
    return scene.home is not None and any(True for _ in scene.home.iterdir())


def _reads_the_server(scene: Scene) -> bool:
    return bool(Path(f"/proc/{scene.server}/environ").read_bytes())


def _opens_the_memory_of_the_server(scene: Scene) -> bool:
    os.close(os.open(f"/proc/{scene.server}/mem", os.O_RDONLY))
    return True


def _makes_a_file(folder: Path) -> bool:
    path = folder / f"canary.{uuid.uuid4().hex[:8]}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
    return True


def _makes_a_file_beside(scene: Scene) -> bool:
    return _makes_a_file(scene.folder.parent)


def _makes_a_file_inside(scene: Scene) -> bool:
    return _makes_a_file(scene.folder)


def _makes_a_file_in_memory(scene: Scene) -> bool:
    return _makes_a_file(Path("/dev/shm"))


def _makes_a_file_without_a_name(scene: Scene) -> bool:
    os.close(os.open(scene.folder, os.O_WRONLY | os.O_TMPFILE, 0o600))
    return True


def _writes_what_it_may_read(scene: Scene) -> bool:
    """Open its mixer's file, say, for writing; nothing is written."""
    return any(_opens(Path(path), os.O_WRONLY) for path in scene.job.readable)


def _makes_a_link(scene: Scene) -> bool:
    path = scene.folder / f"canary.{uuid.uuid4().hex[:8]}"
    path.symlink_to(scene.folder)
    path.unlink()
    return True


def _renames(scene: Scene) -> bool:
    """Give a file the name that it has, which changes nothing where it works."""
    path = scene.folder / scene.writable[-1]
    path.rename(path)
    return True


def _opens_socket(family: str, kind: int) -> Callable[[Scene], bool]:
    def works(scene: Scene) -> bool:
        socket.socket(getattr(socket, family), kind).close()
        return True

    return works


def _starts_a_process(scene: Scene) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _reaches(call: Callable[[], int]) -> bool:
    """Say whether a call got as far as the kernel's own judgement."""
    ctypes.set_errno(0)
    return call() != -1 or ctypes.get_errno() not in _DENIED


def _executes(scene: Scene) -> bool:
    nothing = (ctypes.c_char_p * 1)()
    return _reaches(lambda: int(_libc().execve(b"", nothing, nothing)))  # no such file


def _signals_the_server(scene: Scene) -> bool:
    os.kill(scene.server, 0)
    return True


def _traces_the_server(scene: Scene) -> bool:
    if _libc().ptrace(_PTRACE_SEIZE, scene.server, None, None) == -1:
        return False
    _libc().ptrace(_PTRACE_DETACH, scene.server, None, None)
    return True


def _sees_limits_of_the_server(scene: Scene) -> bool:
    if sys.platform != "linux":
        return False
    resource.prlimit(scene.server, resource.RLIMIT_NOFILE)
    return True


def _sets_up_io_uring(scene: Scene) -> bool:
    parameters = (ctypes.c_char * 120)()
    found = _libc().syscall(_IO_URING_SETUP, 1, ctypes.byref(parameters))
    if found == -1:
        return False
    os.close(found)
    return True


def _changes_a_mode(scene: Scene) -> bool:
    path = scene.folder / scene.writable[-1]
    path.chmod(path.stat().st_mode & 0o777)
    return True


def _shares_namespaces(scene: Scene) -> bool:
    return any(inode in scene.namespaces for inode in namespaces())


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


CANARIES = (
    Canary("group", "staying in a group with others", _stays_with_others),
    Canary("group", "outliving the server", _outlives_its_server),
    Canary("environment", "seeing foreign variables", _sees_foreign_variables),
    Canary("environment", "using open files", _has_open_files),
    Canary("limits", "exceeding a limit", _exceeds_limits),
    Canary("limits", "mapping more memory than it may", _maps_too_much),
    Canary("namespaces", "sharing network, objects or users", _shares_namespaces),
    Canary("privileges", "gaining privileges", _may_gain_privileges),
    Canary("privileges", "using capabilities", _has_capabilities),
    Canary("privileges", "being looked into", _may_be_looked_into),
    Canary("files", "reading a file outside", _reads_a_secret),
    Canary("files", "listing the home folder", _lists_home),
    Canary("files", "reading variables of the server", _reads_the_server),
    Canary("files", "opening the memory of the server", _opens_the_memory_of_the_server),
    Canary("files", "making a file beside its folder", _makes_a_file_beside),
    Canary("files", "making a file in its folder", _makes_a_file_inside),
    Canary("files", "making a file in shared memory", _makes_a_file_in_memory),
    Canary("files", "making a file without a name", _makes_a_file_without_a_name),
    Canary("files", "writing what it may only read", _writes_what_it_may_read),
    Canary("files", "making a link", _makes_a_link),
    Canary("files", "renaming a file", _renames),
    Canary("syscalls", "a TCP socket", _opens_socket("AF_INET", socket.SOCK_STREAM)),
    Canary("syscalls", "a UDP socket", _opens_socket("AF_INET", socket.SOCK_DGRAM)),
    Canary("syscalls", "a Unix socket", _opens_socket("AF_UNIX", socket.SOCK_STREAM)),
    Canary("syscalls", "starting a process", _starts_a_process),
    Canary("syscalls", "executing a program", _executes),
    Canary("syscalls", "signalling the server", _signals_the_server),
    Canary("syscalls", "tracing the server", _traces_the_server),
    Canary("syscalls", "asking for the limits of the server", _sees_limits_of_the_server),
    Canary("syscalls", "io_uring", _sets_up_io_uring),
    Canary("syscalls", "changing a mode", _changes_a_mode),
)
