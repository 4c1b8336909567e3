"""Hostile candidates in the real machinery, each against one property.

The static audit would turn nearly all of them away; here they go straight to training, because
the sandbox is the wall. For each: it was really tried, it had no effect that can be seen from
outside, its trial is recorded with the right status, nothing is left of it, and the next
candidate runs. Scores that are to be forged are in `test_forgery.py`, the layers one by one in
`test_layers.py`.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import attacks_costs
import attacks_kernel
import attacks_network
import attacks_processes
import attacks_reading
import attacks_torch
import attacks_writing
import pytest
from hostile import ATTACKS, UNNAMED, Attack, size_of
from ordinary_user import run_as_nobody
from surroundings import MARKER, Surroundings, strays, surroundings
from trial_process import (
    FFN_WIDTH,
    make_candidate,
    make_spec,
    make_workshop,
    servers_of,
    wait_until,
)

from noctuary.audit.static import static_checks
from noctuary.domain import Trial
from noctuary.lab import Lab
from noctuary.policy import Policy
from noctuary.sandbox.launcher import Launcher

LEFT_BYTES = 2**20
"""What a trial that failed may leave on disk."""

IN_FULL = (attacks_costs, attacks_kernel, attacks_network, attacks_processes)
IN_FULL += (attacks_reading, attacks_torch, attacks_writing)

REPRESENTATIVES = (
    "ignores_every_signal",
    "takes_memory_in_steps",
    "fills_the_disk_with_one_file",
    "forks",
    "starts_threads",
    "finds_a_secret_among_its_variables",
    "finds_an_inherited_descriptor",
    "reads_a_key",
    "reads_another_trial",
    "reads_the_variables_of_a_process",
    "connects_by_tcp",
    "sends_by_udp",
    "connects_to_an_abstract_name",
    "writes_into_the_lab",
    "makes_a_link_to_a_key",
    "makes_a_key_readable_for_all",
    "kills_a_process",
    "slows_a_process_down",
    "opens_a_ring_of_requests",
    "becomes_root_in_a_world_of_its_own",
    "replaces_its_result_by_a_link",
)
"""At least one for each layer, run again as another user."""

ON_A_GPU = {
    "computes_with_many_threads",
    "starts_threads",
    "makes_a_file_in_memory",
    "maps_memory",
    "maps_shared_memory",
    "raises_its_own_limits",
    "takes_memory_at_once",
    "takes_memory_in_small_objects",
    "takes_memory_in_steps",
}
"""What the driver must be able to do, and so a candidate can: threads, files in memory, and address
space without a bound. The memory that it really fills is watched, and found a little late."""

GPU_SERVER = "from noctuary.sandbox.server import main; main(finds_gpu=lambda device: True)"

SILENT = """
loud = strike

def strike(attack, there):
    try:
        loud(attack, there)
    except Refused:
        pass
"""
"""Puts up with being refused; what worked is loud as ever."""

HONEST = "\ndef strike(attack, there):\n    pass\n"

numbers = itertools.count()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab.create_or_open(tmp_path_factory.mktemp("hostile") / "lab")


@pytest.fixture(scope="module")
def around(lab: Lab) -> Iterator[Surroundings]:
    with surroundings(lab.root.parent, lab.root) as around:
        yield around


@pytest.fixture(scope="module")
def launcher(around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with started(around, tmp_path_factory.mktemp("launcher")) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def gpu_launcher(
    around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launcher]:
    """Confines its jobs as those that find a GPU."""
    with started(around, tmp_path_factory.mktemp("gpu"), server=("-c", GPU_SERVER)) as launcher:
        yield launcher


@contextlib.contextmanager
def started(around: Surroundings, folder: Path, **options: Any) -> Iterator[Launcher]:
    """A launcher of an owner with keys in its variables, and with files that children inherit."""
    with pytest.MonkeyPatch.context() as environment, around.key.open() as key:
        os.set_inheritable(key.fileno(), True)
        environment.setenv("HOME", str(around.home))
        environment.setenv("SERVICE_TOKEN", MARKER)
        environment.setenv("LEDGER_PASSPHRASE", MARKER)
        environment.setenv(MARKER, "a name that tells")
        with Launcher(2, folder / "launcher.log", **options) as launcher:
            launcher.warm()
            yield launcher


def train(lab: Lab, launcher: Launcher, attack: Attack, around: Surroundings) -> Trial:
    candidate = attack.candidate(lab, around.targets)
    workshop = make_workshop(lab, launcher, timeout=attack.seconds)
    spec = make_spec(candidate, seed=next(numbers))  # behind another filter it is tried again
    trained = workshop.train(candidate, FFN_WIDTH, [spec])
    assert trained.executed == 1
    return workshop.read(spec)


def train_an_honest_one(lab: Lab, launcher: Launcher) -> None:
    """Whatever came before it; a seed of its own each time, so that it is really trained."""
    candidate = make_candidate(lab)
    workshop = make_workshop(lab, launcher)
    spec = make_spec(candidate, seed=next(numbers))
    workshop.train(candidate, FFN_WIDTH, [spec])
    trial = workshop.read(spec)
    assert trial.status == "ok", trial.reason


def was_tried(attack: Attack, trial: Trial, refusals: tuple[str, ...]) -> bool:
    """Say whether it got as far as its attack, and no further."""
    if attack.reason:
        return attack.reason in trial.reason
    said, _, what = trial.reason.partition(": ")
    return said == "Refused" and what.startswith((*attack.refusals, *refusals))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_has_no_effect_and_the_next_candidate_runs(
    name: str, lab: Lab, around: Surroundings, launcher: Launcher
) -> None:
    has_no_effect(ATTACKS[name], lab, around, launcher)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ON_A_GPU])
def test_nor_has_it_where_a_gpu_may_be_used(
    name: str, lab: Lab, around: Surroundings, gpu_launcher: Launcher
) -> None:
    # the driver has to hear of each file that it would remove that there is none
    has_no_effect(ATTACKS[name], lab, around, gpu_launcher, refusals=("ENOENT",))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ON_A_GPU))
def test_what_a_gpu_opens_ends_with_its_trial(
    name: str, lab: Lab, around: Surroundings, gpu_launcher: Launcher
) -> None:
    leaves_nothing(ATTACKS[name], lab, around, gpu_launcher)


def has_no_effect(
    attack: Attack,
    lab: Lab,
    around: Surroundings,
    launcher: Launcher,
    refusals: tuple[str, ...] = (),
) -> None:
    """Let an attack be tried: it is refused what it wants, and leaves nothing."""
    trial = leaves_nothing(attack, lab, around, launcher)
    assert not trial.reason.startswith("Won"), trial.reason
    assert was_tried(attack, trial, refusals), trial.reason
    assert trial.status == attack.status, trial.reason
    assert len(trial.reason) < 400


def leaves_nothing(attack: Attack, lab: Lab, around: Surroundings, launcher: Launcher) -> Trial:
    """Let an attack be tried, look for what it did, and train an honest candidate after it."""
    before = servers_of(os.getpid())
    assert before
    around.remember()
    trial = train(lab, launcher, attack, around)
    assert trial.score is None
    assert {*Policy().sandbox.demanded} <= {*trial.environment["sandbox"].split(",")}
    folder = lab.trials / trial.spec.trial_id
    assert size_of(folder) < LEFT_BYTES
    assert not any(path.is_symlink() or path.is_dir() for path in folder.iterdir())
    assert not any(MARKER.encode() in path.read_bytes() for path in folder.iterdir())
    assert not any(path.name.startswith(trial.spec.trial_id) for path in lab.work.iterdir())
    wait_until(lambda: not any(strays(server) for server in before), seconds=5)
    assert servers_of(os.getpid()) == before
    assert around.changes() == []
    train_an_honest_one(lab, launcher)
    return trial


@pytest.mark.parametrize("name", ["reads_a_key", "forks", "connects_by_tcp", "kills_the_server"])
def test_who_tries_in_vain_and_goes_on_gains_no_bit(
    name: str, lab: Lab, around: Surroundings, launcher: Launcher
) -> None:
    trials, weights = [], []
    for end in (SILENT, HONEST):
        candidate = ATTACKS[name].candidate(lab, around.targets, end)
        workshop, spec = make_workshop(lab, launcher), make_spec(candidate, seed=1)
        workshop.train(candidate, FFN_WIDTH, [spec])
        trials.append(workshop.read(spec))
        assert trials[-1].status == "ok", trials[-1].reason
        weights.append((lab.trials / spec.trial_id / "weights.safetensors").read_bytes())
    assert trials[0].metrics == trials[1].metrics
    assert trials[0].score == trials[1].score
    assert weights[0] == weights[1]


def test_without_a_sandbox_they_work(tmp_path: Path) -> None:
    """Else a refusal would say little. Only those that harm nobody, in a process of their own."""
    root = os.geteuid() == 0
    shown = [a for a in ATTACKS.values() if a.control and (root or not a.root)]
    failed = {}
    for number, attack in enumerate(shown):
        folder = tmp_path / str(number)
        with surroundings(folder, folder / "lab") as around:
            around.targets["here"] = str(folder)
            text = attack.text(around.targets) + f"\n\nstrike({attack.name}, THERE)\n"
            done = subprocess.run(
                [sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False
            )
            last = (done.stderr.strip().splitlines() or [""])[-1]
            if "Won: " not in last:
                failed[attack.name] = f"{done.returncode} {last}"
    assert failed == {}
    assert len(shown) > 60


def test_they_are_many_and_their_modules_are_all_in_the_list() -> None:
    assert len(ATTACKS) >= 60
    written = {name for module in IN_FULL for name in vars(module) if name in ATTACKS}
    assert written == set(ATTACKS)


def test_the_static_audit_names_all_but_a_few(lab: Lab, around: Surroundings) -> None:
    quiet = set()
    for attack in ATTACKS.values():
        source = Path(attack.candidate(lab, around.targets).path).read_text()
        if all(check.passed for check in static_checks(source)):
            quiet.add(attack.name)
    assert quiet == set(UNNAMED)


def as_nobody(*chosen: str) -> str:
    """Run tests of this folder as an ordinary user, and return what pytest printed."""
    home = Path(tempfile.mkdtemp(prefix="noctuary-nobody-"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *chosen]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = kept | {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(home)}
    try:
        home.chmod(0o755)
        done = run_as_nobody([*command, f"--basetemp={home / 'pytest'}"], home, environment)
    finally:
        shutil.rmtree(home)
    return done.stdout + done.stderr


@pytest.fixture
def root_so_far(missing: Callable[[str], NoReturn]) -> None:
    if os.geteuid() != 0:
        missing("not root: the other tests have run as an ordinary user already")


def test_the_same_as_an_ordinary_user(
    root_so_far: None, missing: Callable[[str], NoReturn]
) -> None:
    test = test_an_attack_has_no_effect_and_the_next_candidate_runs.__name__
    try:
        printed = as_nobody(*(f"{__file__}::{test}[{name}]" for name in REPRESENTATIVES))
    except OSError as error:
        missing(f"no way to become an ordinary user: {error}")
    assert f"{len(REPRESENTATIVES)} passed" in printed, printed


@pytest.mark.slow
def test_all_the_same_as_an_ordinary_user(
    root_so_far: None, missing: Callable[[str], NoReturn]
) -> None:
    names = ("test_hostile.py", "test_forgery.py", "test_candidate_files.py")
    files = [str(Path(__file__).with_name(name)) for name in names]
    try:
        printed = as_nobody(*files, "-k", "not ordinary")
    except OSError as error:
        missing(f"no way to become an ordinary user: {error}")
    assert " passed" in printed and " failed" not in printed and " error" not in printed, printed
