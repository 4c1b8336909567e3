"""The system calls that a job may use; every other one fails, and the caller sees an error.

An allow-list, so that what a newer kernel adds is denied. Calls that name a file are here where
Landlock judges the path; those that Landlock lets pass (chmod, chown, utime, xattr, truncate by
path) or began to judge late (truncation by opening) are not. Names that an architecture lacks
are left out. Covers x86_64 and aarch64.
"""

import errno
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seccompy import Filter

MEMORY = "brk mmap munmap mremap mprotect madvise membarrier"

# making, removing, renaming and linking are not here: a job has no use for them
FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range
    fstat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
    getdents64 getcwd ftruncate fsync fdatasync dup dup2 dup3 poll ppoll select pselect6
"""

TIME = """
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage
"""

OWN_PROCESS = """
    exit exit_group futex restart_syscall rseq set_robust_list set_tid_address arch_prctl
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
    getpid gettid getppid getsid getpgid getpgrp getuid geteuid getgid getegid getgroups
    sched_yield sched_getaffinity getcpu uname sysinfo getrandom getrlimit
"""

# what torch and the driver do beyond that: threads, and talking to the device. The driver gives
# up without files in memory, which no program can be started from, since none can be started; and
# without a local socket that it listens at, of a kind that nothing else here uses. It cannot be
# connected: nobody may call `connect` or `accept`. Before it listens it removes what is not there
CUDA = """
    ioctl memfd_create eventfd2 pipe2
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_getparam
    bind listen
    get_mempolicy mbind mlock munlock mincore set_mempolicy
"""

FCNTL = {"DUPFD": 0, "GETFD": 1, "SETFD": 2, "GETFL": 3, "SETFL": 4, "DUPFD_CLOEXEC": 1030}
"""What may be done to a descriptor; others send signals, or take locks and leases."""

_PR_SET_NAME = 15
_AF_UNIX = 1
_SOCK_SEQPACKET = 5
_CLONE_THREAD = 0x10000


def allowed_names(on_cuda: bool) -> tuple[str, ...]:
    """Return the calls that are allowed whatever their arguments."""
    groups = (MEMORY, FILES, TIME, OWN_PROCESS, CUDA if on_cuda else "")
    return tuple(name for group in groups for name in group.split())


def make_filter(on_cuda: bool) -> "Filter":
    """Return the filter for this process; it names the process, so make it after the fork.

    Raises:
        seccompy.UnsupportedError: not Linux, or an architecture that is not covered.
    """
    from seccompy import Action, ArgCmp, CmpOp, Filter, FilterFlag

    # older kernels slow a filtered process down, to keep it from being spied on by its own code
    calls = Filter(default=int(Action.ERRNO) | errno.EPERM, flags=FilterFlag.SPEC_ALLOW)
    for number in _numbers(allowed_names(on_cuda)):
        calls.allow(number)
    for name, flags_at in (("open", 1), ("openat", 2)):
        for number in _numbers((name,)):
            # reading and truncating at once passes Landlock before its third version
            cut = ArgCmp(flags_at, CmpOp.MASKED_EQ, os.O_TRUNC, os.O_TRUNC | os.O_ACCMODE)
            calls.errno(number, errno.EPERM, args=[cut])
            calls.allow(number)
    calls.allow("prlimit64", args={0: 0})
    calls.allow("tgkill", args={0: os.getpid()})  # abort()
    for command in FCNTL.values():
        calls.allow("fcntl", args={1: command})
    calls.allow("prctl", args={0: _PR_SET_NAME})  # of a thread
    calls.errno("clone3", errno.ENOSYS)  # glibc falls back on clone, whose flags can be read
    if on_cuda:
        # the type's flag for closing is that of `open`
        calls.allow("socket", args={0: _AF_UNIX, 1: _SOCK_SEQPACKET | os.O_CLOEXEC})
        for number in _numbers(("unlink",)):
            calls.errno(number, errno.ENOENT)
        thread = ArgCmp(0, CmpOp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
        calls.allow("clone", args=[thread])
    else:
        calls.errno("ioctl", errno.ENOTTY)  # as on a plain file: `isatty` says no
    return calls


@cache
def _numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    from seccompy import syscall_nr

    found = []
    for name in names:
        try:
            found.append(syscall_nr(name))
        except ValueError:  # this architecture has no such call
            continue
    return tuple(found)
