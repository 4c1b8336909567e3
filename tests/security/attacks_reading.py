"""Attacks on what others know: keys, records of the lab, memory and variables of processes."""

import contextlib
import ctypes
import gc
import mmap
import os
import re
from pathlib import Path

from hostile import attack
from strike import call


@attack()
def reads_a_key(there):
    return Path(there.key).read_bytes()


@attack()
def reads_a_key_by_a_way_round(there):
    here = os.path.realpath(os.environ.get("TMPDIR", "/tmp"))
    return Path(here, *[".."] * here.count("/"), there.key[1:]).read_bytes()


@attack()
def reads_a_key_from_the_folder_it_went_to(there):
    os.chdir(os.path.dirname(there.key))
    return Path("id_ed25519").read_bytes()


@attack()
def reads_a_key_through_a_handle_on_its_folder(there):
    folder = os.open(os.path.dirname(there.key), os.O_PATH)
    return os.read(os.open("id_ed25519", os.O_RDONLY, dir_fd=folder), 100)


@attack()
def lists_the_home_folder(there):
    return os.listdir(there.home)


@attack()
def lists_the_home_folder_of_the_user(there):
    return os.listdir(there.real_home)


@attack(root=True)
def reads_password_hashes(there):
    return Path("/etc/shadow").read_bytes()


@attack()
def lists_the_users(there):
    return Path("/etc/passwd").read_bytes()[:10]


@attack()
def reads_the_secret_of_the_lab(there):
    return Path(there.mark).read_bytes()


@attack()
def reads_the_key_of_the_ledger(there):
    return Path(there.ledger_key).read_bytes()


@attack()
def lists_the_keys_of_the_ledger(there):
    return os.listdir(os.path.dirname(there.ledger_key))


@attack()
def reads_the_archive(there):
    return Path(there.archive).read_bytes()


@attack()
def reads_the_policy(there):
    return Path(there.policy).read_bytes()


@attack()
def reads_the_settings(there):
    return Path(there.settings).read_bytes()


@attack()
def reads_the_journal(there):
    return Path(there.journal).read_bytes()


@attack()
def reads_another_trial(there):
    return Path(there.trial).read_bytes()


@attack()
def reads_what_another_trial_works_on(there):
    return Path(there.work).read_bytes()


@attack()
def reads_another_candidate(there):
    return Path(there.candidate).read_bytes()


@attack()
def lists_the_candidates(there):
    return os.listdir(os.path.dirname(there.candidate))


@attack()
def lists_the_temporary_files_of_others(there):
    return os.listdir("/tmp")


@attack()
def watches_the_home_folder(there):
    watch = call("inotify_init1", 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.inotify_add_watch(watch, there.home.encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    return watch


@attack(root=True)
def opens_a_file_by_its_number(there):
    """A handle names a file without a path, so no rule about paths is asked."""
    handle = ctypes.create_string_buffer(136)
    handle[0:4] = (128).to_bytes(4, "little")
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, there.key.encode(), handle, ctypes.byref(mount), 0)
    root = os.open("/", os.O_RDONLY)
    return os.read(call("open_by_handle_at", root, handle, os.O_RDONLY), 100)


# --- other processes


@attack()
def reads_the_variables_of_a_process(there):
    return Path(f"/proc/{there.victim}/environ").read_bytes()


@attack()
def reads_the_variables_of_the_server(there):
    return Path(f"/proc/{os.getppid()}/environ").read_bytes()


@attack()
def reads_the_variables_of_the_owner(there):
    return Path(f"/proc/{there.owner}/environ").read_bytes()


@attack()
def reads_the_memory_of_the_owner(there):
    return os.open(f"/proc/{there.owner}/mem", os.O_RDONLY)


@attack()
def lists_the_open_files_of_the_owner(there):
    return os.listdir(f"/proc/{there.owner}/fd")


@attack()
def enters_the_root_of_the_owner(there):
    return os.listdir(f"/proc/{there.owner}/root/")


@attack()
def reads_the_command_of_a_process(there):
    return Path(f"/proc/{there.victim}/cmdline").read_bytes()


@attack()
def lists_the_processes(there):
    return [name for name in os.listdir("/proc") if name.isdigit()]


@attack(control=False)
def traces_a_process(there):
    call("ptrace", 16, there.victim, 0, 0)  # attach
    return call("ptrace", 17, there.victim, 0, 0)  # and detach


@attack(control=False)
def copies_the_memory_of_a_process(there):
    """The address is no good, so a kernel that lets it through answers EFAULT."""
    space = ctypes.create_string_buffer(8)
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(space), 8)
    return call("process_vm_readv", there.victim, piece, 1, piece, 1, 0)


@attack(control=False)
def writes_the_memory_of_a_process(there):
    space = ctypes.create_string_buffer(8)
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(space), 8)
    return call("process_vm_writev", there.victim, piece, 1, piece, 1, 0)


@attack(control=False)
def takes_a_descriptor_of_the_owner(there):
    return call("pidfd_getfd", call("pidfd_open", there.owner, 0), 1, 0)


@attack(control=False)
def compares_kernel_pointers(there):
    return call("kcmp", there.owner, os.getpid(), 0, 1, 1)


# --- what it was born with


@attack(refusals=("LookupError",), control=False)
def finds_a_secret_among_its_variables(there):
    block = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found = {*map(os.fsencode, os.environ), *map(os.fsencode, os.environ.values())}
    index = 0
    while block[index]:
        found.add(block[index])
        index += 1
    secret = [text for text in found if re.search(rb"MARKER|TOKEN|KEY|SECRET|PASS", text)]
    if not secret:
        raise LookupError(f"{len(found)} words, none of them secret")
    return secret


@attack(refusals=("LookupError",), control=False)
def finds_a_secret_on_its_first_stack(there):
    """What the server was started with lies behind its name, and in the memory of every fork."""
    name = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_name").value or 0
    text = ctypes.string_at(name, mmap.PAGESIZE - name % mmap.PAGESIZE)
    secret = re.findall(rb"[A-Z_]*(?:MARKER|TOKEN|SECRET|PASS)[^\0]*", text)
    if not secret:
        raise LookupError(f"{len(text)} bytes, none of them secret")
    return secret


@attack(refusals=("LookupError",), stage="load", control=False)
def finds_an_inherited_descriptor(there):
    found = []
    for number in range(3, 1024):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    if not found:
        raise LookupError("none is open")
    return found


@attack(refusals=("LookupError",), control=False)
def finds_a_secret_in_its_memory(there):
    """All strings and bytes that the collector, thawed, leads to."""
    gc.unfreeze()
    seen, waiting, found = set(), list(gc.get_objects()), []
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, str) and re.fullmatch("MARKER-[0-9a-f]{32}", thing):
            found.append(thing)
        elif isinstance(thing, dict | list | tuple | set):
            waiting += gc.get_referents(thing)
    if not found:
        raise LookupError(f"{len(seen)} objects, none of them secret")
    return found


@attack(root=True, control=False)
def reads_the_messages_of_the_kernel(there):
    return call("syslog", 3, ctypes.create_string_buffer(100), 100)
