"""The layers around a job, how they are applied, and the verdict on what was really applied.

They are applied in the job's process before it reads candidate code, in the order of the table.
None needs root. What each is against is said here once; whether it holds is tried out
(`canaries`), and only what was tried counts.
"""

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from noctuary.policy import Layer
from noctuary.sandbox.arithmetic import NUMERIC_PREFIXES
from noctuary.sandbox.files import Unconfined, restrict_files
from noctuary.sandbox.limits import apply_limits
from noctuary.sandbox.protocol import OUTCOME_FILE, Confinement, Job

AGAINST: dict[Layer, str] = {
    "group": "processes that outlive the job or the server",
    "environment": "keys in variables, and files that were left open",
    "limits": "using up memory, processor, disk or descriptors",
    "namespaces": "the network and shared memory, once more",
    "privileges": "the rights of root, and programs that give rights",
    "files": "reading the home folder, other trials and other processes; writing anywhere",
    "syscalls": "the network, new processes, signals, and rarely used parts of the kernel",
}
"""What each layer is against, in the order in which they are applied."""

PARENT_VARIABLES = (
    *("PATH", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"),
    *("TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_MESSAGES"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),
)
PARENT_PREFIXES = ("CUDA_", *NUMERIC_PREFIXES)
"""What computes is set up by these, and no key is kept in them; `NVIDIA_API_KEY` is one."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000


@dataclass(frozen=True)
class Scene:
    """What a job's process knows of its surroundings when it is to be confined.

    Attributes:
        received: when the server received the job, on the monotonic clock.
        server: process id of its parent.
        home: home folder of the user, or None.
        secrets: files outside that the server can read, for the canaries.
        namespaces: those of the server, by inode.
        report: descriptor to which the process says how it is confined.
    """

    job: Job
    received: float
    on_cuda: bool
    server: int
    home: Path | None
    secrets: tuple[Path, ...]
    namespaces: frozenset[int]
    report: int

    @property
    def folder(self) -> Path:
        return Path(self.job.folder)

    @property
    def writable(self) -> tuple[str, ...]:
        return (*self.job.writable, OUTCOME_FILE)


Apply = Callable[[Scene], None]
"""Applies one layer to this process, or raises Unconfined or OSError."""


def may_pass(name: str) -> bool:
    """Say whether a variable of the environment may be known to a job."""
    return name in PARENT_VARIABLES or name.startswith(PARENT_PREFIXES)


def allowed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which the server is started.

    The first block of a process stays in the memory of all its forks, so that it is no use to
    remove a variable later.
    """
    return {name: value for name, value in environment.items() if may_pass(name)}


def open_descriptors() -> list[int]:
    return [int(entry.name) for entry in Path("/dev/fd").iterdir()]


def namespaces() -> frozenset[int]:
    """Return the inodes of this process's user, network and System V namespaces."""
    found = set()
    for name in ("user", "net", "ipc"):
        with contextlib.suppress(OSError):  # not Linux, or built without them
            found.add(Path("/proc/self/ns", name).stat().st_ino)
    return frozenset(found)


def confine(scene: Scene, layers: Mapping[Layer, Apply]) -> dict[Layer, str]:
    """Apply layers to this process, in order; return layer -> why it could not be, or ''."""
    said: dict[Layer, str] = {}
    for layer, apply in layers.items():
        try:
            apply(scene)
        except (Unconfined, OSError, ValueError, ImportError) as error:
            said[layer] = str(error) or type(error).__name__
        else:
            said[layer] = ""
    return said


def judge(
    said: Mapping[Layer, str], through: Mapping[Layer, Sequence[str]], demanded: Sequence[Layer]
) -> Confinement:
    """Return which layers hold, and whether candidate code may be read.

    Args:
        said: layer -> why it was not applied, or ''.
        through: layer -> the canaries that it did not stop.
    """
    missing = {layer: why for layer, why in said.items() if why}
    leaky = {
        layer: f"was applied, and yet let through: {', '.join(done)}"
        for layer, done in through.items()
        if done and not said[layer]
    }
    wanted = {layer: missing[layer] for layer in demanded if layer in missing}
    refused = [f"{layer} {why}" for layer, why in leaky.items()]
    refused += [
        f"the layer {layer} is demanded and missing: {why}" for layer, why in wanted.items()
    ]
    return Confinement(
        held=tuple(layer for layer in said if layer not in missing | leaky),
        missing=missing | leaky,
        refused="; ".join(refused),
    )


def _group(scene: Scene) -> None:
    os.setsid()  # a group of its own, so that it is killed with all its children
    if sys.platform != "linux":
        raise Unconfined(f"on {sys.platform} a job is not told that its server died")
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != scene.server:  # it died before we asked
        os._exit(1)


def _limits(scene: Scene) -> None:
    apply_limits(scene.job.limits, scene.on_cuda)


def _environment(scene: Scene) -> None:
    for name in [name for name in os.environ if not may_pass(name)]:
        del os.environ[name]
    if not scene.on_cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else torch starts threads for each GPU
    os.environ["HOME"] = os.environ["TMPDIR"] = scene.job.folder
    tempfile.tempdir = scene.job.folder
    for descriptor in open_descriptors():
        if descriptor > 2 and descriptor != scene.report:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(descriptor)


def _namespaces(scene: Scene) -> None:
    """Move into namespaces of its own: users, network and System V objects."""
    if sys.platform != "linux":
        raise Unconfined(f"{sys.platform} has no namespaces")
    user, group = os.getuid(), os.getgid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)
    # the identity, so that files belong to whom they did
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path("/proc/self", name).write_text(line, encoding="ascii")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Capabilities(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32 * 1) for name in ("effective", "permitted", "inheritable")]


def _privileges(scene: Scene) -> None:
    """Give up all capabilities, for root as for anybody, and the way to new ones."""
    if sys.platform != "linux":
        raise Unconfined(f"{sys.platform} has no capabilities")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if os.geteuid() == 0:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
        for capability in range(last + 1):
            with contextlib.suppress(PermissionError):  # a container may keep even this from root
                _prctl(_PR_CAPBSET_DROP, capability)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((_Capabilities * 2)()))
    _prctl(_PR_SET_DUMPABLE, 0)  # no other process of the user may look into this one


def _files(scene: Scene) -> None:
    restrict_files(scene.folder, scene.writable, scene.job.readable, scene.home, scene.on_cuda)


def _syscalls(scene: Scene) -> None:
    if sys.platform != "linux":
        raise Unconfined(f"{sys.platform} has no seccomp")
    from seccompy import SeccompError

    from noctuary.sandbox.syscalls import make_filter

    try:
        make_filter(scene.on_cuda).load()
    except SeccompError as error:
        raise Unconfined(f"the kernel takes no filter: {error}") from error


LAYERS: dict[Layer, Apply] = {
    "group": _group,
    "limits": _limits,
    "environment": _environment,
    "namespaces": _namespaces,
    "privileges": _privileges,
    "files": _files,
    "syscalls": _syscalls,
}


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, *(ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)))


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
