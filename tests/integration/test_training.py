"""Trials in real worker processes: what they leave, and what becomes of bad candidates.

Covers bit-identical repetition, the files of a trial, one status for each way to fail, and a
full disk. Killing the machinery itself is in `test_training_kills.py`; candidates that attack
on purpose are for `tests/security`.
"""

import csv
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import SmallDisk
from trial_process import (
    FFN_WIDTH,
    events,
    make_candidate,
    make_spec,
    make_workshop,
    wait_until,
)

from noctuary.bench.suite import STANDARD, TINY
from noctuary.config import TrainingSettings
from noctuary.domain import Candidate, Trial
from noctuary.errors import NoSpace, UsageError
from noctuary.journal import Journal
from noctuary.lab import MIN_FREE_BYTES, Lab, read_json, shipped
from noctuary.plan import TRAINER_VERSION, first_rung
from noctuary.sandbox.launcher import Launcher
from noctuary.trial_folders import MAX_OUTPUT_BYTES
from noctuary.trials import Workshop


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(2, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.fixture(scope="module")
def second_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(1, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def train_one(
    workshop: Workshop, candidate: Candidate, rung: int = 0, learning_rate: float = 5e-3
) -> Trial:
    spec = make_spec(candidate, rung=rung, learning_rate=learning_rate)
    trained = workshop.train(candidate, FFN_WIDTH, [spec])
    assert trained.executed == 1
    trial = workshop.read(spec)
    assert (trained.score is None) == (trial.status != "ok")
    return trial


def folder_of(lab: Lab, trial: Trial) -> Path:
    return lab.trials / trial.spec.trial_id


def human(name: str) -> Candidate:
    path = shipped("architectures") / "human" / f"{name}.py"
    return Candidate(candidate_id=name, name=name, kind="human", axes=None, path=str(path))


@pytest.mark.parametrize("task", [task.name for task in TINY.tasks])
def test_same_spec_in_two_processes_is_the_same_to_the_last_bit(
    launcher: Launcher, second_launcher: Launcher, tmp_path: Path, task: str
) -> None:
    candidate = human("gated_delta_net")
    spec = make_spec(candidate, task, seed=3)
    results, files = [], []
    for number, used in enumerate((launcher, second_launcher)):
        lab = Lab.create_or_open(tmp_path / f"lab{number}")
        workshop = make_workshop(lab, used, salt="public")
        workshop.train(candidate, FFN_WIDTH, [spec])
        results.append(workshop.read(spec))
        folder = lab.trials / spec.trial_id
        with (folder / "curve.csv").open(newline="") as handle:
            curve = [row[:2] for row in csv.reader(handle)]
        files.append((curve, (folder / "weights.safetensors").read_bytes()))
    first, second = results
    assert first.status == "ok"
    assert (first.score, first.metrics) == (second.score, second.metrics)
    assert files[0] == files[1]


def test_files_of_a_trial(launcher: Launcher, lab: Lab) -> None:
    candidate = make_candidate(lab, forward="print('a line')")
    trial = train_one(make_workshop(lab, launcher), candidate)
    assert trial.status == "ok"
    assert trial.reason == ""
    metrics = {"loss", "accuracy", "scored", "learning", "leak_bound", "leak_checks"}
    costs = {"flops_per_token"}  # it has no `step`, so no state
    assert metrics | costs == set(trial.metrics) - {"steps_to_solve"}
    assert {"setup", "train", "evaluate", "check", "total", "cpu"} == set(trial.seconds)
    assert trial.steps == TINY.rungs[0].steps
    assert trial.environment["threads"] == 1
    folder = folder_of(lab, trial)
    names = {path.name for path in folder.iterdir()}
    assert names == {"spec.json", "result.json", "curve.csv", "losses.bin", "weights.safetensors"}
    assert read_json(folder / "spec.json") == trial.spec.model_dump(mode="json")
    assert list(lab.work.iterdir()) == []


def test_a_finished_trial_is_found(launcher: Launcher, lab: Lab) -> None:
    candidate = make_candidate(lab)
    workshop = make_workshop(lab, launcher)
    train_one(workshop, candidate)
    again = workshop.train(candidate, FFN_WIDTH, [make_spec(candidate)])
    assert (again.executed, len(again.trial_ids), again.score is not None) == (0, 1, True)
    assert len(events(lab, "trial started")) == 1


CASES = {
    "raises when loaded": ({"load": "1 / 0"}, "crashed", "ZeroDivisionError: division by zero"),
    "raises when constructed": (
        {"construct": "raise ValueError('no such width\\nand more')"},
        "crashed",
        "ValueError: no such width",
    ),
    "raises in forward": (
        {"forward": "raise RuntimeError('shapes differ')"},
        "crashed",
        "RuntimeError: shapes differ",
    ),
    "raises at step 3": (
        {"forward": "if calls > 2 * 3: raise KeyError('late')"},
        "crashed",
        "KeyError: 'late'",
    ),
    "wants out": ({"forward": "raise SystemExit(0)"}, "crashed", "SystemExit: 0"),
    "returns another shape": (
        {"forward": "y = y[:, :-1]"},
        "crashed",
        "returned (8, 15, 16) torch.float32; expected (8, 16, 16) torch.float32, at step 1",
    ),
    "returns a shape that would broadcast, at step 3": (
        {"forward": "if calls > 2 * 2: y = y[:, :1]"},
        "crashed",
        "returned (8, 1, 16) torch.float32; expected (8, 16, 16) torch.float32, at step 3",
    ),
    "returns another type at step 3": (
        {"forward": "if calls > 2 * 2: y = y.double()"},
        "crashed",
        "torch.float64; expected (8, 16, 16) torch.float32, at step 3",
    ),
    "returns nothing": ({"forward": "y = None"}, "crashed", "the mixer returned NoneType"),
    "loses the gradient": ({"forward": "y = y * math.nan"}, "diverged", "the training loss is nan"),
    "explodes at step 3": (
        {"forward": "y = y * (math.inf if calls > 2 * 3 else 1)"},
        "diverged",
        "the training loss is nan at step",
    ),
    "loses the gradient on the way back": (
        {"forward": "y = y + (x - x).sqrt()"},
        "diverged",
        "the norm of the gradients is nan at step 1",
    ),
    "says that the disk is full": (
        {"forward": "raise OSError(errno.ENOSPC, 'full')"},
        "crashed",
        "found the disk full twice, which it is not",
    ),
    "leaves": ({"forward": "os._exit(0)"}, "crashed", "ended with status 0 and no outcome"),
    "makes folders where files belong": (
        {
            "forward": "[os.makedirs(os.environ['TMPDIR'] + f'/{name}/x', exist_ok=True) for name "
            "in ('outcome.json', 'checkpoint', 'spec.json', 'result.json')]"
        },
        "crashed",
        "PermissionError",
    ),
    "segfaults": (
        {"load": "import ctypes", "forward": "ctypes.string_at(0)"},
        "crashed",
        "ended by signal 11",
    ),
    "takes memory in steps": (
        {"forward": "hold = [torch.ones(2**20) for _ in range(2**20)]"},
        "oom",
        "can't allocate memory",
    ),
    "takes memory in small objects": (
        {"forward": "hold = [bytearray(2**16) for _ in range(2**20)]"},
        "oom",
        "MemoryError",
    ),
    "takes memory at once": ({"forward": "torch.ones(2**40)"}, "oom", "can't allocate memory"),
    "never returns": ({"forward": "while True: pass"}, "timeout", "limit 2 s"),
    "never returns and ignores signals": (
        {"forward": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"},
        "timeout",
        "limit 2 s",
    ),
    "never loads": ({"load": "time.sleep(600)"}, "timeout", "limit 2 s"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_candidate_gets_a_status_and_the_next_trial_runs(
    launcher: Launcher, lab: Lab, case: str
) -> None:
    statements, status, reason = CASES[case]
    limit = 2.0 if status == "timeout" else 60.0
    trial = train_one(
        make_workshop(lab, launcher, timeout=limit), make_candidate(lab, **statements)
    )
    assert trial.status == status, trial.reason
    assert reason in trial.reason
    assert "\n" not in trial.reason
    assert trial.score is None
    assert {"spec.json", "result.json"} <= {path.name for path in folder_of(lab, trial).iterdir()}
    assert list(lab.work.iterdir()) == []
    assert train_one(make_workshop(lab, launcher), make_candidate(lab)).status == "ok"


@pytest.mark.parametrize("task", ["text", "long_parity"])
def test_a_default_trial_takes_less_than_a_gigabyte(
    launcher: Launcher, lab: Lab, task: str
) -> None:
    """The largest vocabulary, and the longest test sequences, on the softmax that keeps all."""
    candidate = human("softmax_attention")
    settings = TrainingSettings(suite=STANDARD.name, device="cpu", workers=2)
    workshop = Workshop(lab, settings, launcher, Journal(lab.journal_path))
    audit = workshop.audit(candidate, STANDARD.version, seed=0)
    specs = first_rung(candidate.candidate_id, STANDARD, [STANDARD.task(task)], TRAINER_VERSION)[:1]
    workshop.train(candidate, audit.ffn_width or 0, specs)
    trial = workshop.read(specs[0])
    assert trial.status == "ok"
    assert trial.peak_memory_mb is not None and 50 < trial.peak_memory_mb < 1024


def test_training_far_above_chance_is_stopped(launcher: Launcher, lab: Lab) -> None:
    candidate = make_candidate(lab)
    trial = train_one(make_workshop(lab, launcher), candidate, rung=1, learning_rate=30.0)
    assert trial.status == "diverged"
    assert re.fullmatch(
        r"the training loss is [\d.e+]+ at step \d+, above 1.5 times the [\d.]+ of knowing nothing",
        trial.reason,
    )


def test_a_slow_mixer_is_stopped_long_before_its_limit(launcher: Launcher, lab: Lab) -> None:
    """It would sleep for 12 s; after the fifth of twelve steps that is clear."""
    workshop = make_workshop(lab, launcher, timeout=8)
    trial = train_one(workshop, make_candidate(lab, forward="time.sleep(0.5)"), rung=1)
    assert trial.status == "timeout"
    found = re.fullmatch(r"would take about (\d+) s, limit 8 s; stopped at step 5", trial.reason)
    assert found is not None, trial.reason
    assert int(found[1]) >= 12
    assert trial.seconds["total"] < 8


def test_a_mixer_of_any_generators_repeats_itself(
    launcher: Launcher, second_launcher: Launcher, tmp_path: Path
) -> None:
    """The generators of a warm server are wherever its trials left them."""
    results = []
    for number, used in enumerate((launcher, second_launcher)):
        lab = Lab.create_or_open(tmp_path / f"lab{number}")
        candidate = make_candidate(
            lab,
            load="import random, numpy",
            construct="self.scale = random.random() + numpy.random.rand()",
            forward="y = y * self.scale + 0.1 * self.training * random.random() * torch.rand(())",
        )
        results.append(train_one(make_workshop(lab, used, salt="public"), candidate))
    assert results[0].status == "ok"
    assert results[0].metrics == results[1].metrics


def test_a_trial_on_text_of_ones_own(launcher: Launcher, lab: Lab) -> None:
    text = lab.root / "text"
    text.write_bytes(b"to be or not to be, " * 1000)
    candidate, workshop = make_candidate(lab), make_workshop(lab, launcher)
    workshop.settings = workshop.settings.model_copy(update={"text": str(text)})
    spec = make_spec(candidate, "text", rung=1, learning_rate=1e-2)
    with pytest.raises(UsageError, match="is no suite"):  # its version is that of another text
        workshop.train(candidate, FFN_WIDTH, [spec])
    assert list(lab.trials.iterdir()) == []
    spec = spec.model_copy(update={"suite": TINY.with_text(text).version})
    workshop.train(candidate, FFN_WIDTH, [spec])
    assert workshop.read(spec).status == "ok", workshop.read(spec).reason


@pytest.mark.gpu
def test_a_trial_on_a_gpu(launcher: Launcher, lab: Lab) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here: training on CUDA in bf16 is not tested")
    candidate = human("gated_delta_net")
    workshop = make_workshop(lab, launcher)
    workshop.settings = workshop.settings.model_copy(update={"device": "cuda"})
    trial = train_one(workshop, candidate)
    assert trial.status == "ok", trial.reason
    assert trial.environment["precision"] == "bf16-mixed"
    assert trial.metrics["gpu_memory_mb"] > 0


def test_a_candidate_that_prints_a_lot(launcher: Launcher, lab: Lab) -> None:
    candidate = make_candidate(
        lab, forward="print('x' * 2**22)\n        if calls > 8: raise ValueError('enough')"
    )
    trial = train_one(make_workshop(lab, launcher), candidate)
    assert trial.status == "crashed"
    output = (folder_of(lab, trial) / "output.log").read_bytes()
    assert len(output) == MAX_OUTPUT_BYTES
    assert output.endswith(b"ValueError: enough\n")


def test_the_first_failing_seed_spares_the_others(launcher: Launcher, lab: Lab) -> None:
    candidate = make_candidate(lab, forward="raise ValueError('always')")
    specs = [make_spec(candidate, task.name, seed) for seed in range(3) for task in TINY.tasks]
    trained = make_workshop(lab, launcher).train(candidate, FFN_WIDTH, specs)
    assert (trained.executed, trained.score) == (len(TINY.tasks), None)
    assert trained.reason == "crashed: ValueError: always"


def test_no_trial_starts_on_a_disk_that_is_nearly_full(
    launcher: Launcher, small_disk: SmallDisk
) -> None:
    lab = Lab.create_or_open(small_disk.root / "lab")
    workshop, candidate = make_workshop(lab, launcher), make_candidate(lab)
    small_disk.fill(leaving=MIN_FREE_BYTES // 2)
    with pytest.raises(NoSpace, match="32 MB free"):
        workshop.train(candidate, FFN_WIDTH, [make_spec(candidate)])
    assert events(lab, "trial started") == []


@pytest.mark.parametrize("sign", ["output.log", "curve.csv"])
def test_a_disk_that_fills_up_meanwhile_blames_no_candidate(
    launcher: Launcher, small_disk: SmallDisk, sign: str
) -> None:
    """It fills when the trial has begun this file; the next file finds no room."""
    lab = Lab.create_or_open(small_disk.root / "lab")
    candidate = make_candidate(lab, forward="print(calls, flush=True); time.sleep(0.1)")
    workshop = make_workshop(lab, launcher)

    def fill_then() -> None:
        wait_until(lambda: any(path.stat().st_size for path in lab.work.glob(f"*/{sign}")))
        small_disk.fill()

    filling = threading.Thread(target=fill_then)
    filling.start()
    with pytest.raises(NoSpace, match="run the same command again"):
        workshop.train(candidate, FFN_WIDTH, [make_spec(candidate)])
    filling.join()
    assert list(lab.trials.iterdir()) == []

    small_disk.empty()
    assert train_one(workshop, candidate).status == "ok"


def test_a_machine_with_mpi(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of MPI end the process that imports them outside of a cluster's job."""
    packages = tmp_path / "mpi-packages"
    (packages / "mpi4py").mkdir(parents=True)
    (packages / "mpi4py" / "__init__.py").touch()
    (packages / "mpi4py" / "MPI.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
    with Launcher(1, tmp_path / "launcher.log") as launcher:
        assert train_one(make_workshop(lab, launcher), make_candidate(lab)).status == "ok"
