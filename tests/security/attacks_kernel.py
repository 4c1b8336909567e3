"""Attacks through system calls that a mixer has no use for, most of them by number."""

import ctypes
import mmap
import os
import platform
import time

from hostile import REFUSALS, attack
from strike import call

# --- ways round the other layers


@attack(refusals=REFUSALS, control=False)
def opens_a_ring_of_requests(there):
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120))


@attack(control=False)
def runs_a_program_from_memory(there):
    program = call("memfd_create", b"program", 0)
    with open("/proc/self/exe", "rb") as file:
        os.write(program, file.read())
    return os.execve(program, ["program", "-c", "pass"], {})


@attack()
def makes_a_file_in_memory(there):
    return call("memfd_create", b"program", 0)


@attack(control=False)
def runs_a_program_by_its_descriptor(there):
    return call("execveat", -100, b"/bin/true", 0, 0, 0)


@attack(control=False)
def becomes_root_in_a_world_of_its_own(there):
    return call("unshare", 0x10000000)  # a user namespace


@attack(control=False)
def joins_the_world_of_the_owner(there):
    return call("setns", call("pidfd_open", there.owner, 0), 0x40000000)


@attack(root=True, control=False)
def mounts_something_over_its_folder(there):
    folder = os.environ["TMPDIR"].encode()
    return call("mount", b"none", folder, b"tmpfs", 0, 0)


@attack(root=True, control=False)
def makes_a_file_system(there):
    return call("fsopen", b"tmpfs", 0)


@attack(root=True, control=False)
def changes_its_root(there):
    return call("chroot", os.environ["TMPDIR"].encode())


@attack(root=True, control=False)
def turns_the_file_system_round(there):
    return call("pivot_root", b".", b".")


@attack(control=False)
def becomes_another_user(there):
    return call("setuid", 0 if os.getuid() else 1)


@attack(control=False)
def leaves_its_groups(there):
    return call("setgroups", 0, 0)


@attack(refusals=(*REFUSALS, "EINVAL"), control=False)
def takes_all_capabilities(there):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    return call("capset", header, (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6))


@attack(control=False)
def turns_off_the_randomness_of_addresses(there):
    return call("personality", 0x0040000)


@attack(control=False)
def changes_what_privileges_it_may_get(there):
    return call("prctl", 38, 0, 0, 0, 0)


# --- what is left behind in the kernel


@attack(control=False)
def leaves_shared_memory_behind(there):
    return call("shmget", 0x6E6F6374, 2**20, 0o1600)


@attack(control=False)
def leaves_a_queue_behind(there):
    return call("msgget", 0x6E6F6374, 0o1600)


@attack(control=False)
def leaves_a_named_queue_behind(there):
    return call("mq_open", there.token.encode(), 0o102, 0o600, 0)


@attack(control=False)
def leaves_a_key_behind(there):
    return call("add_key", b"user", there.token.encode(), b"secret", 6, -4)


@attack(control=False)
def reads_the_keys_of_the_user(there):
    return call("keyctl", 6, -4, ctypes.create_string_buffer(100), 100)


# --- the surface of the kernel


@attack(control=False)
def loads_a_filter_into_the_kernel(there):
    return call("bpf", 0, ctypes.create_string_buffer(128), 128)


@attack(control=False)
def watches_the_processor(there):
    attributes = ctypes.create_string_buffer(128)
    attributes[4:8] = (128).to_bytes(4, "little")
    return call("perf_event_open", attributes, 0, -1, -1, 0)


@attack(control=False)
def handles_its_own_page_faults(there):
    return call("userfaultfd", 1)


@attack(root=True, control=False)
def watches_all_files(there):
    return call("fanotify_init", 0, 0)


@attack(root=True, control=False)
def loads_a_module(there):
    return call("finit_module", -1, b"", 0)


@attack(root=True, control=False)
def sets_the_clock(there):
    now = time.time()
    return call("clock_settime", 0, (ctypes.c_long * 2)(int(now), int(now % 1 * 1e9)))


@attack(root=True, control=False)
def opens_the_ports_of_the_machine(there):
    return call("iopl", 3)


@attack(control=False)
def changes_its_segments(there):
    return call("modify_ldt", 0, ctypes.create_string_buffer(16), 16)


@attack(control=False)
def hides_memory_from_the_kernel(there):
    return call("memfd_secret", 0)


if platform.machine() == "x86_64":

    @attack(reason="ended by signal 31", control=False)
    def speaks_the_language_of_another_processor(there):
        """socket() by the table of 32-bit programs, for which the numbers mean other calls."""
        code = bytes.fromhex(
            "53"  # push rbx
            "b867010000"  # mov eax, 359: socket
            "bb02000000b901000000ba00000000"  # AF_INET, SOCK_STREAM, 0
            "cd80"  # int 0x80
            "5b"  # pop rbx
            "c3"
        )
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        if result < 0:
            raise OSError(-result, "socket")
        return result

    @attack(control=False)
    def speaks_a_dialect_of_its_own_processor(there):
        """socket() by the numbers of programs with short pointers."""
        libc = ctypes.CDLL(None, use_errno=True)
        if (result := libc.syscall(0x40000000 + 41, 2, 1, 0)) < 0:
            raise OSError(ctypes.get_errno(), "socket")
        return result


# --- crashes


@attack(reason="ended by signal 11", control=False)
def reads_where_nothing_is(there):
    return ctypes.string_at(0)


@attack(reason="ended by signal 6", control=False)
def aborts(there):
    os.abort()


@attack(reason="ended with status 0 and no outcome", control=False)
def leaves_at_once(there):
    os._exit(0)


@attack(reason="ended with status 0 and no outcome", stage="load", control=False)
def leaves_at_once_while_it_is_loaded(there):
    os._exit(0)


@attack(reason="SystemExit", control=False)
def leaves_politely(there):
    raise SystemExit(0)
