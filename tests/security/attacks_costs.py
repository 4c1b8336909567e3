"""Attacks on what the machine has: time, memory, disk, processes."""

import fcntl
import mmap
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

from hostile import attack
from strike import call

BRIEF = 2.0
"""Wall seconds of those that hang."""

# --- time


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, plain=True)
def loops_for_ever(there):
    while True:
        pass


@attack(status="timeout", reason="limit 2 s", stage="load", seconds=BRIEF, control=False)
def loops_while_it_is_loaded(there):
    while True:
        pass


@attack(status="timeout", reason="limit 2 s", stage="construct", seconds=BRIEF, control=False)
def loops_while_it_is_constructed(there):
    while True:
        pass


@attack(status="timeout", reason="limit 2 s", stage="backward", seconds=BRIEF, control=False)
def loops_on_the_way_back(there):
    while True:
        pass


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, control=False)
def sleeps_for_ever(there):
    time.sleep(10**6)


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, control=False)
def ignores_every_signal(there):
    for kind in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(kind, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        time.sleep(1)


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, control=False)
def holds_the_interpreter(there):
    return re.match("(a|a)*b", "a" * 64)


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, control=False)
def never_finishes_its_error(there):
    class Endless(Exception):
        def __str__(self):  # noqa: PLE0307 - it never comes to that
            while True:
                pass

    raise Endless


@attack(status="timeout", reason="limit 2 s", seconds=BRIEF, control=False)
def stops_itself(there):
    call("tgkill", os.getpid(), os.getpid(), signal.SIGSTOP)
    while True:
        pass


# --- memory


@attack(status="oom", reason="can't allocate memory", plain=True)
def takes_memory_at_once(there):
    import torch

    return torch.ones(2**31)


@attack(status="oom", reason="can't allocate memory", plain=True)
def takes_memory_in_steps(there):
    import torch

    return [torch.ones(2**20) for _ in range(2**10)]


@attack(status="oom", reason="MemoryError", plain=True)
def takes_memory_in_small_objects(there):
    return [bytearray(2**16) for _ in range(2**16)]


@attack(refusals=("ENOMEM",), control=False)
def maps_memory(there):
    return [mmap.mmap(-1, 2**28) for _ in range(16)]


@attack(refusals=("ENOMEM", "EPERM"), control=False)
def maps_shared_memory(there):
    shared = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
    return [mmap.mmap(-1, 2**28, shared) for _ in range(16)]


@attack(refusals=("ENOMEM", "EPERM", "EAGAIN"), control=False)
def locks_its_memory(there):
    return call("mlockall", 3)


@attack(refusals=("EPERM", "ValueError"), control=False)
def raises_its_own_limits(there):
    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:  # how the module says EPERM
        raise PermissionError(1, str(error)) from None


# --- disk


@attack(refusals=("EFBIG",), control=False)
def fills_the_disk_with_one_file(there):
    with open(Path(os.environ["TMPDIR"]) / "outcome.json", "wb", buffering=0) as file:
        return [file.write(bytes(2**24)) for _ in range(64)]


@attack(control=False)
def fills_the_disk_with_many_files(there):
    for number in range(1000):
        Path(os.environ["TMPDIR"], f"{number}").write_bytes(bytes(2**20))
    return number


@attack(refusals=("EFBIG", "EPERM"), control=False)
def claims_a_terabyte_that_is_not_there(there):
    with open(Path(os.environ["TMPDIR"]) / "outcome.json", "wb") as file:
        return os.ftruncate(file.fileno(), 2**40)


@attack(refusals=("EFBIG", "EPERM", "EOPNOTSUPP"), control=False)
def reserves_a_terabyte(there):
    with open(Path(os.environ["TMPDIR"]) / "outcome.json", "wb") as file:
        return os.posix_fallocate(file.fileno(), 0, 2**30)


@attack(refusals=("EFBIG",), control=False)
def prints_a_gigabyte(there):
    line = b"x" * 2**24
    return [os.write(1, line) for _ in range(64)]


@attack(reason="ValueError: xxx", plain=True)
def raises_a_gigabyte(there):
    raise ValueError("x" * 2**27)


# --- processes and threads


@attack()
def forks(there):
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            time.sleep(3)
            os._exit(0)
        children.append(pid)
    return children


@attack()
def forks_by_the_system_call_itself(there):
    pid = call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid


@attack()
def clones_by_the_newest_call(there):
    size = 88
    pid = call("clone3", bytes(size), size)
    if pid == 0:
        os._exit(0)
    return pid


@attack()
def starts_threads(there):
    threads = [threading.Thread(target=time.sleep, args=(0.5,), daemon=True) for _ in range(32)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError as error:  # how the module says that the kernel refused
        raise PermissionError(1, str(error)) from None
    return len(threads)


@attack()
def runs_a_command(there):
    return subprocess.run(["/bin/true"], check=True)


@attack(control=False)
def becomes_another_program(there):
    return os.execv("/bin/true", ["true"])


@attack()
def becomes_a_daemon(there):
    if os.fork():
        return "forked"
    os.setsid()
    if os.fork() == 0:
        time.sleep(3)
    os._exit(0)


@attack(refusals=("EMFILE",), control=False)
def takes_all_descriptors(there):
    return [os.dup(1) for _ in range(2**16)]


@attack(root=True)
def takes_the_first_turn_on_the_processor(there):
    return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attack(control=False)
def outlives_the_server(there):
    """Takes back that it dies with its parent."""
    return call("prctl", 1, 0, 0, 0, 0)


@attack(control=False)
def leaves_its_group(there):
    return os.setsid()


@attack(status="crashed", refusals=("EPERM", "EINVAL", "EACCES"), control=False)
def grows_a_pipe(there):
    reader, _ = os.pipe()
    return fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 2**24)
