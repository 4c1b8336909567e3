"""Attacks on files: of the lab, of others, of the program itself, and of the trial's own folder."""

import os
import socket
import sys
from pathlib import Path

from hostile import REFUSALS, attack

# --- outside


@attack()
def writes_into_the_home_folder(there):
    return Path(there.home, there.token).write_text("was here")


@attack()
def lets_itself_in_again(there):
    with open(Path(there.home) / ".ssh" / "authorized_keys", "a") as file:
        return file.write("ssh-ed25519 AAAA attacker")


@attack()
def writes_into_the_temporary_folder(there):
    return Path("/tmp", there.token).write_text("was here")


@attack()
def writes_into_shared_memory(there):
    return Path("/dev/shm", there.token).write_text("was here")


@attack()
def writes_into_the_lab(there):
    return Path(there.lab, there.token).write_text("was here")


@attack()
def adds_a_candidate(there):
    return Path(there.candidate).with_name(f"{there.token}.py").write_text("class Mixer: pass")


@attack()
def overwrites_a_candidate(there):
    return Path(there.candidate).write_text("class Mixer: pass")


@attack(control=False)
def overwrites_itself(there):
    with open(__file__, "a") as file:
        return file.write("\n# was here\n")


@attack()
def adds_a_trial(there):
    folder = Path(there.trial).parent.with_name(there.token)
    folder.mkdir()
    return (folder / "result.json").write_text("{}")


@attack()
def overwrites_another_trial(there):
    return Path(there.trial).write_text("{}")


@attack()
def removes_another_trial(there):
    return Path(there.trial).unlink()


@attack()
def moves_another_trial(there):
    return Path(there.trial).parent.rename(Path(there.lab) / there.token)


@attack()
def disturbs_what_another_trial_works_on(there):
    with open(there.work, "r+") as file:
        return file.write("x")


@attack()
def overwrites_the_archive(there):
    with open(there.archive, "r+b") as file:
        return file.write(b"x")


@attack()
def rewrites_the_policy(there):
    return Path(there.policy).write_text("")


@attack()
def rewrites_the_journal(there):
    with open(there.journal, "a") as file:
        return file.write("x")


@attack()
def stops_the_night(there):
    return Path(there.lab, "stop").touch()


@attack(control=False)
def opens_the_program_to_change_it(there):
    with open(Path(there.package) / "trials.py", "r+") as file:
        return file.writable()


@attack(control=False)
def adds_to_the_program(there):
    return Path(there.package, f"{there.token}.py").write_text("")


@attack(control=False)
def runs_with_every_interpreter_from_now_on(there):
    return Path(there.site_packages, f"{there.token}.pth").write_text("import os")


@attack(control=False)
def opens_a_compiled_module_to_change_it(there):
    with open(sys.modules["torch"].__cached__, "r+b") as file:
        return file.writable()


@attack()
def makes_a_key_readable_for_all(there):
    return os.chmod(there.key, 0o777)


@attack(root=True)
def gives_a_key_away(there):
    return os.chown(there.key, 1, 1)


@attack()
def backdates_a_file(there):
    return os.utime(there.key, (0, 0))


@attack(refusals=(*REFUSALS, "EOPNOTSUPP"), control=False)
def marks_a_file(there):
    return os.setxattr(there.key, "user.noctuary", b"was here")


@attack()
def empties_a_file(there):
    return os.truncate(there.key, 0)


@attack(refusals=(*REFUSALS, "EXDEV"))
def links_to_a_key(there):
    return os.link(there.key, Path(there.root) / there.token)


@attack()
def makes_an_unnamed_file(there):
    return os.open(there.home, os.O_TMPFILE | os.O_WRONLY, 0o600)


@attack(root=True, control=False)
def opens_the_disk(there):
    names = [name for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "loop"))]
    return [os.open(f"/dev/{name}", os.O_RDONLY) for name in names]


@attack(control=False)
def writes_to_the_terminal_of_the_owner(there):
    return os.open("/dev/tty", os.O_WRONLY)


# --- in the folder of its own trial


@attack(control=False)
def makes_a_file_beside_its_results(there):
    return Path(os.environ["TMPDIR"], there.token).write_text("was here")


@attack(control=False)
def makes_a_folder(there):
    return Path(os.environ["TMPDIR"], there.token).mkdir()


@attack(control=False)
def makes_a_link_to_a_key(there):
    return Path(os.environ["TMPDIR"], there.token).symlink_to(there.key)


@attack(refusals=(*REFUSALS, "EXDEV"), control=False)
def links_its_result_to_a_key(there):
    return os.link(there.key, Path(os.environ["TMPDIR"]) / there.token)


@attack(control=False)
def makes_a_pipe(there):
    return os.mkfifo(Path(os.environ["TMPDIR"]) / there.token)


@attack(control=False)
def makes_a_device(there):
    return os.mknod(Path(os.environ["TMPDIR"]) / there.token, 0o60600, os.makedev(8, 0))


@attack(control=False)
def makes_a_socket_in_its_folder(there):
    os.chdir(os.environ["TMPDIR"])
    with socket.socket(socket.AF_UNIX) as listener:
        return listener.bind("socket")


@attack(control=False)
def removes_its_result(there):
    return Path(os.environ["TMPDIR"], "outcome.json").unlink()


@attack(control=False)
def renames_its_result(there):
    return Path(os.environ["TMPDIR"], "outcome.json").rename(
        Path(os.environ["TMPDIR"], "result.json")
    )


@attack(control=False)
def replaces_its_result_by_a_link(there):
    outcome = Path(os.environ["TMPDIR"], "outcome.json")
    outcome.unlink()
    return outcome.symlink_to(there.key)


@attack(control=False)
def closes_its_folder_to_others(there):
    return os.chmod(os.environ["TMPDIR"], 0)
