"""Attacks on other processes. Signals to the owner and to all are ones that do no harm: whether a
signal may be sent does not hang on which one it is."""

import fcntl
import os
import resource
import signal

from hostile import attack
from strike import call


@attack()
def kills_a_process(there):
    return os.kill(there.victim, signal.SIGKILL)


@attack()
def stops_a_process(there):
    return os.kill(there.victim, signal.SIGSTOP)


@attack(control=False)
def kills_the_server(there):
    return os.kill(os.getppid(), signal.SIGKILL)


@attack(control=False)
def stops_the_server(there):
    return os.kill(os.getppid(), signal.SIGSTOP)


@attack()
def signals_the_owner(there):
    return os.kill(there.owner, signal.SIGURG)


@attack()
def signals_everybody(there):
    return os.kill(-1, signal.SIGURG)


@attack(control=False)
def signals_the_group_of_the_server(there):
    return os.killpg(os.getpgid(os.getppid()), signal.SIGURG)


@attack(control=False)
def kills_the_server_through_a_descriptor(there):
    return call("pidfd_send_signal", call("pidfd_open", os.getppid(), 0), signal.SIGKILL, 0, 0)


@attack()
def kills_a_thread_of_a_process(there):
    return call("tgkill", there.victim, there.victim, signal.SIGKILL)


@attack()
def queues_a_signal(there):
    information = bytearray(128)
    information[8:12] = (-1 & 0xFFFFFFFF).to_bytes(4, "little")  # SI_QUEUE
    return call("rt_sigqueueinfo", there.victim, signal.SIGUSR1, bytes(information))


@attack()
def has_the_kernel_send_a_signal(there):
    """A pipe that has something to read tells its owner so, with the signal of one's choice."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, there.victim)
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"x")
    if fcntl.fcntl(reader, fcntl.F_GETOWN) != there.victim:
        raise PermissionError(1, "the owner of the pipe is another")
    return "sent"


@attack(control=False)
def starves_a_process_of_files(there):
    return resource.prlimit(there.victim, resource.RLIMIT_NOFILE, (0, 0))


@attack(control=False)
def reads_the_limits_of_the_owner(there):
    return resource.prlimit(there.owner, resource.RLIMIT_NOFILE)


@attack()
def slows_a_process_down(there):
    return os.setpriority(os.PRIO_PROCESS, there.victim, 19)


@attack(control=False)
def slows_the_owner_down(there):
    return os.setpriority(os.PRIO_PROCESS, there.owner, os.getpriority(os.PRIO_PROCESS, 0) + 1)


@attack()
def ties_a_process_to_one_core(there):
    cores = sorted(os.sched_getaffinity(0))
    return os.sched_setaffinity(there.victim, cores[:1])


@attack()
def makes_a_process_wait_for_the_disk(there):
    return call("ioprio_set", 1, there.victim, 3 << 13)


@attack(control=False)
def joins_the_group_of_the_server(there):
    return os.setpgid(0, os.getpgid(os.getppid()))
