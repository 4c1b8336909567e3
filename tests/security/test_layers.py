"""The layers around a job: what each one stops, and what happens where one is missing.

Real jobs in real processes. `weaker_server` stands for machines that lack a layer, or have one
that does not do what it says. What hostile candidates try is in `test_hostile.py`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, get_args

import pytest
from confined import READ, make_work
from ordinary_user import run_as_nobody
from trial_process import below, wait_until
from weaker_server import REASON

from noctuary.cli.doctor import layer_lines
from noctuary.errors import SandboxRefused
from noctuary.jobs import JobRunner, explain
from noctuary.lab import Lab
from noctuary.policy import Layer
from noctuary.sandbox.launcher import Launcher
from noctuary.sandbox.layers import AGAINST
from noctuary.sandbox.outcome import TrainOutcome
from noctuary.training.requests import WEIGHTS_FILE

SECRET = "NOCTUARY_TEST_SECRET"
LAYERS: tuple[Layer, ...] = get_args(Layer)
OPTIONAL = ("namespaces",)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    os.environ[SECRET] = "a key of the owner"
    log = tmp_path_factory.mktemp("launcher") / "launcher.log"
    with Launcher(2, log) as launcher:
        launcher.warm()
        del os.environ[SECRET]
        yield launcher


@pytest.fixture(scope="module")
def weaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A launcher whose server lets a job's folder say which layers there are."""
    os.environ[SECRET] = "a key of the owner"
    script = Path(__file__).with_name("weaker_server.py")
    log = tmp_path_factory.mktemp("weaker") / "launcher.log"
    with Launcher(2, log, server=[str(script)]) as launcher:
        launcher.warm()
        del os.environ[SECRET]
        yield launcher


def test_every_layer_holds_here(
    launcher: Launcher, tmp_path: Path, missing: Callable[[str], NoReturn]
) -> None:
    work = make_work(tmp_path)
    end = launcher.run(work.job(demanded=[name for name in LAYERS if name not in OPTIONAL]))
    assert not end.refused
    assert work.outcome["status"] == "ok", work.outcome
    assert set(AGAINST) == set(LAYERS)
    assert set(end.held) | set(end.missing) == set(LAYERS)
    if set(end.missing) & set(OPTIONAL):
        missing(f"this machine has no namespaces: {end.missing}")
    assert set(end.held) == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_missing_layer_is_named_and_stops_nothing_unless_demanded(
    weaker: Launcher, tmp_path: Path, layer: Layer
) -> None:
    work = make_work(tmp_path / "optional", absent=[layer])
    end = weaker.run(work.job())
    assert not end.refused
    assert end.missing[layer] == REASON
    assert layer not in end.held
    assert READ in work.printed

    work = make_work(tmp_path / "demanded", absent=[layer])
    end = weaker.run(work.job(demanded=[layer]))
    assert layer in end.refused
    assert REASON in end.refused
    assert READ not in work.printed


SEEN_BY = {
    "group": "staying in a group with others",
    "environment": "using open files",
    "limits": "exceeding a limit",
    "namespaces": "sharing network, objects or users",
    "privileges": "being looked into",
    "files": "reading a file outside",
    "syscalls": "a TCP socket",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_that_does_not_do_what_it_says_is_found_out(
    weaker: Launcher, tmp_path: Path, layer: Layer
) -> None:
    work = make_work(tmp_path, hollow=[layer])
    end = weaker.run(work.job())
    assert SEEN_BY[layer] in end.refused
    assert "let through" in end.missing[layer]
    assert set(end.missing) == {layer}
    assert READ not in work.printed
    places = (work.folder, work.folder.parent, Path("/dev/shm"))
    assert not [path for place in places for path in place.glob("canary.*")]


def test_a_process_that_says_nothing_is_not_trusted(weaker: Launcher, tmp_path: Path) -> None:
    work = make_work(tmp_path, breaks="privileges")
    end = weaker.run(work.job())
    assert "before it said" in end.refused
    assert READ not in work.printed


def test_a_run_stops_where_a_demanded_layer_is_missing(weaker: Launcher, tmp_path: Path) -> None:
    work = make_work(tmp_path / "job", absent=["files"])
    runner = JobRunner(Lab.create_or_open(tmp_path / "lab"), weaker)
    job = work.job()
    with pytest.raises(SandboxRefused, match="files is demanded and missing") as refusal:
        runner.run("train", job.request, work.folder, job.limits, TrainOutcome)
    assert refusal.value.exit_status == 3
    assert READ not in work.printed


def test_doctor_says_what_a_layer_that_is_missing_means(weaker: Launcher, tmp_path: Path) -> None:
    end = weaker.run(make_work(tmp_path, absent=["files", "namespaces"]).job())
    lines = {line.subject: line for line in layer_lines(end, demanded=("files", "syscalls"))}
    assert len(lines) == len(LAYERS)
    assert lines["sandbox: syscalls"].state == "ok"
    assert lines["sandbox: files"].state == "broken"
    assert lines["sandbox: files"].found == REASON
    assert "not demanded" in lines["sandbox: namespaces"].note
    assert lines["sandbox: namespaces"].state == "missing"


def test_an_outcome_is_not_believed_unless_its_process_ended_well(
    launcher: Launcher, tmp_path: Path
) -> None:
    runner = JobRunner(Lab.create_or_open(tmp_path / "lab"), launcher)
    for name, ending, believed in (
        ("well", "os._exit(0)", True),
        ("status", "os._exit(3)", False),
        ("signal", "ctypes.string_at(0)", False),
    ):
        work = make_work(
            tmp_path / name,
            f"""open(os.environ["HOME"] + "/outcome.json", "w").write('{{"status": "ok"}}')
{ending}""",
        )
        job = work.job()
        _, outcome = runner.run(
            "train", job.request, work.folder, job.limits, TrainOutcome, readable=[work.mixer]
        )
        assert (outcome is not None) == believed, name


def test_results_are_the_same_bits_inside_and_outside(launcher: Launcher, tmp_path: Path) -> None:
    inside, outside = make_work(tmp_path / "inside"), make_work(tmp_path / "outside")
    assert len(launcher.run(inside.job()).held) >= 6
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from noctuary.training.requests import TrainRequest\n"
        "from noctuary.training.trial import run_training\n"
        "torch.set_num_threads(1)\n"
        "run_training(TrainRequest.model_validate_json(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    request = outside.request().model_dump_json()
    subprocess.run([sys.executable, "-c", code, request, str(outside.folder)], check=True)
    weights = (inside.folder / WEIGHTS_FILE).read_bytes()
    assert weights == (outside.folder / WEIGHTS_FILE).read_bytes()
    assert len(weights) > 1000


def test_a_cold_job_gives_the_same_bits_in_a_server_of_its_own(
    launcher: Launcher, tmp_path: Path
) -> None:
    report = "print('child of', os.getppid(), flush=True)"
    found = [make_work(tmp_path / name, report) for name in ("warm", "cold", "colder")]
    launcher.run(make_work(tmp_path / "first").job())
    servers = below(os.getpid())
    for work, cold in zip(found, (False, True, True), strict=True):
        launcher.run(work.job(), cold=cold)
    assert len({work.printed for work in found}) == 3
    assert len({(work.folder / WEIGHTS_FILE).read_bytes() for work in found}) == 1
    assert below(os.getpid()) == servers


def test_a_job_knows_no_variable_of_its_owner(launcher: Launcher, tmp_path: Path) -> None:
    work = make_work(
        tmp_path,
        f"print({SECRET!r} in os.environ, os.environ['HOME'], sorted(os.environ), flush=True)",
    )
    launcher.run(work.job())
    assert work.outcome["status"] == "ok", work.outcome
    assert f"False {work.folder}" in work.printed


def test_no_process_of_the_sandbox_has_ever_seen_the_variables(
    launcher: Launcher, tmp_path: Path
) -> None:
    launcher.run(make_work(tmp_path).job())
    for pid in below(os.getpid()):
        assert b"a key of the owner" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_only_the_named_files_can_be_written(launcher: Launcher, tmp_path: Path) -> None:
    work = make_work(
        tmp_path,
        """
def attempt(path, mode):
    try:
        with open(path, mode) as handle:
            handle.write(b"x")
        return "done"
    except OSError as error:
        return type(error).__name__
here = os.environ["HOME"]
print("tried", [attempt(*way) for way in (
    (f"{here}/curve.csv", "r+b"), (f"{here}/tokens.bin", "r+b"), (f"{here}/tokens.bin", "wb"),
    (f"{here}/layers.json", "ab"), (f"{here}/another", "xb"), (f"{here}/../mixer.py", "r+b"),
    ("/dev/null", "wb"), ("/dev/shm/another", "xb"), ("/tmp/another", "xb"),
)], flush=True)
""",
    )
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    launcher.run(work.job())
    denied = "PermissionError"
    expected = ["done", *[denied] * 5, "done", denied, denied]
    assert f"tried {expected}" in work.printed
    assert work.outcome["status"] == "ok", work.outcome
    made = {path.name for path in tmp_path.rglob("*")} - {path.name for path in before}
    assert made == {*work.job().writable, "outcome.json", "output.log"}


def test_a_link_under_a_name_that_is_written_leads_nowhere(
    launcher: Launcher, tmp_path: Path
) -> None:
    work = make_work(tmp_path)
    target = tmp_path / "kept"
    target.write_text("as it was")
    for name in ("curve.csv", "outcome.json", "output.log"):
        (work.folder / name).symlink_to(target)
    (work.folder / "losses.bin" / "folder").mkdir(parents=True)
    os.mkfifo(work.folder / "weights.safetensors")
    launcher.run(work.job())
    assert work.outcome["status"] == "ok"
    assert target.read_text() == "as it was"


def test_no_folder_around_the_home_folder_is_granted(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from noctuary.sandbox.files import restrict_files\n"
        "home = Path(sys.prefix, 'lib') if sys.argv[2] == 'inside' else Path('/nowhere')\n"
        "restrict_files(Path(sys.argv[1]), [], [], home, False)\n"
        "Path(sys.argv[1]).parent.joinpath('another').touch()"
    )
    found = {
        where: subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), where],
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        for where in ("inside", "elsewhere")
    }
    assert "contains" in found["inside"]
    assert "use a virtual environment" in found["inside"]
    assert "PermissionError" in found["elsewhere"]


def test_a_file_grows_no_larger_than_it_may(launcher: Launcher, tmp_path: Path) -> None:
    work = make_work(
        tmp_path, 'open(os.environ["HOME"] + "/curve.csv", "wb").write(bytes(9 * 2**20))'
    )
    launcher.run(work.job(file_mb=4))
    assert work.outcome["status"] == "crashed"
    assert "File too large" in work.outcome["reason"]
    assert (work.folder / "curve.csv").stat().st_size == 4 * 2**20


def test_what_a_job_prints_is_bounded(launcher: Launcher, tmp_path: Path) -> None:
    work = make_work(tmp_path, 'os.write(1, b"y" * 2**23)\nos.write(1, b"z")')
    launcher.run(work.job(file_mb=4))
    assert (work.folder / "output.log").stat().st_size == 4 * 2**20


def test_a_job_that_finds_a_gpu_may_start_threads_and_no_process(
    weaker: Launcher, tmp_path: Path
) -> None:
    statements = """
def work():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as handle:
        handle.write("named")
    print("from a thread", flush=True)
thread = threading.Thread(target=work)
thread.start()
thread.join()
os.fork()
"""
    work = make_work(tmp_path / "gpu", statements)
    end = weaker.run(work.job(device="auto"))
    assert "syscalls" in end.held
    assert "from a thread" in work.printed
    assert "PermissionError" in work.outcome["reason"]

    work = make_work(tmp_path / "cpu", statements)
    weaker.run(work.job())
    assert "from a thread" not in work.printed
    assert "can't start new thread" in work.outcome["reason"]


def test_a_job_that_finds_a_gpu_may_listen_where_nobody_can_call(
    weaker: Launcher, tmp_path: Path
) -> None:
    """NVIDIA's driver insists on such a socket; see `syscalls.CUDA`."""
    statements = """
def tried(call, *arguments):
    try:
        call(*arguments)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]

import errno
kind = socket.SOCK_SEQPACKET
listening = socket.socket(socket.AF_UNIX, kind)
print("bind", tried(listening.bind, f"\\0noctuary-{os.getpid()}"))
print("listen", tried(listening.listen))
print("accept", tried(listening.accept))
calling = socket.socket(socket.AF_UNIX, kind)
print("connect", tried(calling.connect, f"\\0noctuary-{os.getpid()}"))
print("bind by path", tried(calling.bind, os.environ["HOME"] + "/socket"))
print("stream", tried(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM))
print("internet", tried(socket.socket, socket.AF_INET, kind))
print("unlink", tried(os.unlink, os.environ["HOME"] + "/tokens.bin"), flush=True)
"""
    work = make_work(tmp_path, statements)
    end = weaker.run(work.job(device="auto"))
    assert not end.refused
    _, *lines = work.printed.splitlines()
    assert dict(line.rsplit(" ", 1) for line in lines) == {
        **{"bind": "done", "listen": "done", "accept": "EPERM", "connect": "EPERM"},
        **{"bind by path": "EACCES", "stream": "EPERM", "internet": "EPERM", "unlink": "ENOENT"},
    }
    assert (work.folder / "tokens.bin").exists()


def test_memory_that_no_limit_binds_is_watched(weaker: Launcher, tmp_path: Path) -> None:
    work = make_work(
        tmp_path, "kept = []\nwhile True:\n    kept.append(bytearray(os.urandom(2**24)))"
    )
    job = work.job(device="auto", memory_mb=256)
    end = weaker.run(job)
    assert end.over_memory
    assert explain(end, None, job.limits)[0] == "oom"


@pytest.mark.parametrize("escape", ["os.setsid()", "os.setpgid(0, 0)"])
def test_who_flees_from_the_group_is_killed_where_nothing_stops_him(
    weaker: Launcher, tmp_path: Path, escape: str
) -> None:
    work = make_work(
        tmp_path,
        f"""
if os.fork() == 0:
    {escape}
    if os.fork() == 0:
        print("fled", flush=True)
        while True:
            pass
    os._exit(0)
import time
while "fled" not in open(os.environ["HOME"] + "/output.log").read():
    time.sleep(0.01)
""",
        absent=["syscalls", "limits"],
    )
    weaker.run(work.job())
    assert "fled" in work.printed
    server = [pid for pid in below(os.getpid()) if _runs(pid, "weaker_server")]
    wait_until(lambda: not any(below(pid) for pid in server), seconds=10)
    assert server


def _runs(pid: int, script: str) -> bool:
    try:
        return script in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_the_same_as_an_ordinary_user(
    missing: Callable[[str], NoReturn],
) -> None:
    if os.geteuid() != 0:
        missing("not root: the other tests of this file have run as an ordinary user already")
    home = Path("/tmp") / f"noctuary-layers-{os.getpid()}"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x"),
        *(f"--basetemp={home / 'pytest'}", "-k", "not ordinary_user", __file__),
    ]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
    }
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(home)}
    try:
        done = run_as_nobody(command, home, environment)
    except OSError as error:
        missing(f"no way to become an ordinary user: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
