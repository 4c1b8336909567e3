"""What every hostile mixer starts with: system calls by number, and a report.

The text of this file is the head of each candidate, so it imports nothing but the standard
library. Covers x86_64 and aarch64; a system call that an architecture lacks is left out of its
table, and with it the attack.
"""

import ctypes
import errno
import platform

NUMBERS = {
    "x86_64": {
        "shmget": 29,
        "clone": 56,
        "msgget": 68,
        "ptrace": 101,
        "syslog": 103,
        "setuid": 105,
        "setgroups": 116,
        "capset": 126,
        "mknod": 133,
        "personality": 135,
        "setpriority": 141,
        "sched_setscheduler": 144,
        "mlockall": 151,
        "modify_ldt": 154,
        "pivot_root": 155,
        "prctl": 157,
        "chroot": 161,
        "mount": 165,
        "iopl": 172,
        "tgkill": 234,
        "rt_sigqueueinfo": 129,
        "mq_open": 240,
        "add_key": 248,
        "keyctl": 250,
        "ioprio_set": 251,
        "inotify_init1": 294,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "prlimit64": 302,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "clock_settime": 227,
        "setns": 308,
        "unshare": 272,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "memfd_create": 319,
        "bpf": 321,
        "execveat": 322,
        "userfaultfd": 323,
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "fsopen": 430,
        "pidfd_open": 434,
        "clone3": 435,
        "pidfd_getfd": 438,
        "memfd_secret": 447,
    },
    "aarch64": {
        "shmget": 194,
        "clone": 220,
        "msgget": 186,
        "ptrace": 117,
        "syslog": 116,
        "setuid": 146,
        "setgroups": 159,
        "capset": 91,
        "personality": 92,
        "setpriority": 140,
        "sched_setscheduler": 119,
        "mlockall": 230,
        "pivot_root": 41,
        "prctl": 167,
        "chroot": 51,
        "mount": 40,
        "tgkill": 131,
        "rt_sigqueueinfo": 138,
        "mq_open": 180,
        "add_key": 217,
        "keyctl": 219,
        "ioprio_set": 30,
        "inotify_init1": 26,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "prlimit64": 261,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "clock_settime": 112,
        "setns": 268,
        "unshare": 97,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "memfd_create": 279,
        "bpf": 280,
        "execveat": 281,
        "userfaultfd": 282,
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "fsopen": 430,
        "pidfd_open": 434,
        "clone3": 435,
        "pidfd_getfd": 438,
        "memfd_secret": 447,
    },
}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)


class Won(Exception):
    """The attack had its effect."""


class Refused(Exception):
    """The attack was tried, and something stopped it."""


def call(name, *arguments):
    """Make a system call; raises OSError where the kernel refuses."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def strike(attack, there):
    """Try an attack; raises Won with what it got, or Refused with what stopped it."""
    try:
        got = attack(there)
    except OSError as error:
        code = errno.errorcode.get(error.errno, type(error).__name__)
        raise Refused(f"{code} {error}") from None
    except LookupError as error:
        raise Refused(f"{type(error).__name__} {error}") from None
    raise Won(repr(got)[:200])
