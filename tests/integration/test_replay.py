"""`noctuary replay`, with real trainings on the tiny suite.

Covers that a replay in another process is equal to the bit, that what was tampered with is named,
and what counts as elsewhere. Lesser processors are this one, told to use fewer instructions.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from trial_process import FFN_WIDTH, make_candidate, make_spec, make_workshop

from noctuary.archive import Archive
from noctuary.bench.suite import TINY
from noctuary.candidates import human_candidates
from noctuary.cli.replay import command
from noctuary.config import TrainingSettings
from noctuary.distance import distance
from noctuary.domain import TrialSpec
from noctuary.errors import CheckFailed, NoctuaryError, NotFound, UsageError
from noctuary.jobs import JobRunner
from noctuary.lab import Lab, read_json
from noctuary.plan import TRAINER_VERSION
from noctuary.replay import ELSEWHERE, Replay, read_record, replay, train
from noctuary.sandbox.launcher import Launcher
from noctuary.training.requests import LOSSES_FILE, WEIGHTS_FILE
from noctuary.trial_jobs import TrialJobs

MAIN = "from noctuary.cli import main; main()"
SETTINGS = TrainingSettings(suite=TINY.name, device="cpu", memory_mb=512)
LESSER = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
HELD_OUT_SEED = 1_000_003


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(1, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Started by an owner whose variables ask for other instructions."""
    log = tmp_path_factory.mktemp("portable") / "launcher.log"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in LESSER.items():
            environment.setenv(name, value)
        launcher = Launcher(1, log, arithmetic="portable")
    with launcher:
        yield launcher


@pytest.fixture(scope="module")
def trained(fast: Launcher, portable: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with a trial of each arithmetic, one of a wider suite, and one that crashed."""
    lab = Lab.create_or_open(tmp_path_factory.mktemp("replay") / "lab")
    lab.settings_path.write_text(f'[training]\nsuite = "{TINY.name}"\n')
    (mixer,) = human_candidates(lab, ["gated_delta_net"])
    broken = make_candidate(lab, load="1 / 0")
    in_fast, in_portable = make_workshop(lab, fast), make_workshop(lab, portable)
    in_fast.train(mixer, FFN_WIDTH, [make_spec(mixer, rung=1, seed=3)])
    in_fast.train(broken, FFN_WIDTH, [make_spec(broken)])
    again = {"trainer": f"{TRAINER_VERSION}-portable"}
    wide = {"suite": TINY.scaled("wide").version, "seed": HELD_OUT_SEED}
    for update in (again, again | wide):
        spec = make_spec(mixer, rung=1, seed=3).model_copy(update=update)
        in_portable.train(mixer, FFN_WIDTH, [spec])
    archive = Archive(lab.archive_path)
    archive.record_candidates([mixer, broken])
    archive.record_trials(lab.trials, [path.name for path in lab.trials.iterdir()])
    return lab


@pytest.fixture
def lab(trained: Lab, tmp_path: Path) -> Lab:
    """A copy of it, to be tampered with."""
    return Lab(Path(shutil.copytree(trained.root, tmp_path / "lab")))


def trial_of(lab: Lab, choose: Callable[[TrialSpec], bool]) -> str:
    specs = [TrialSpec.model_validate(read_json(p / "spec.json")) for p in lab.trials.iterdir()]
    (found,) = [spec.trial_id for spec in specs if choose(spec)]
    return found


def fast_trial(lab: Lab) -> str:
    return trial_of(lab, lambda spec: spec.trainer == TRAINER_VERSION and spec.seed == 3)


def portable_trial(lab: Lab) -> str:
    return trial_of(lab, lambda spec: spec.trainer != TRAINER_VERSION and spec.seed == 3)


def in_a_process(lab: Lab, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, "replay", *words, "--lab", str(lab.root)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables},
        check=False,
    )


def again(lab: Lab, launcher: Launcher, trial_id: str, folder: Path) -> Replay:
    """Replay in a warm server; the scratch folder is a lab of its own."""
    record = read_record(lab, trial_id, SETTINGS)
    runner = JobRunner(Lab.create_or_open(folder / "scratch"), launcher)
    with runner.work_folder("replay") as work:
        return replay(record, runner, SETTINGS, work)


def edit_result(lab: Lab, trial_id: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = lab.trials / trial_id / "result.json"
    result = read_json(path)
    change(result)
    path.write_text(json.dumps(result))


def content(lab: Lab) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in lab.root.rglob("*") if path.is_file()}


def test_a_replay_in_another_process_is_equal_to_the_bit_and_changes_nothing(trained: Lab) -> None:
    before = content(trained)
    done = in_a_process(trained, fast_trial(trained)[:8])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"equal in every bit: {TINY.rungs[1].steps} losses and" in done.stdout
    assert content(trained) == before


def test_portable_arithmetic_is_the_same_whatever_the_variables_ask_for(trained: Lab) -> None:
    done = in_a_process(trained, portable_trial(trained), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["changed"] == {}
    assert (found["distance"]["steps"], found["distance"]["tensors"]) == (0, 0)


def test_fast_arithmetic_is_not_and_tells_how_far_apart_the_two_are(trained: Lab) -> None:
    done = in_a_process(trained, fast_trial(trained), "--json", **LESSER)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found["changed"]) == {"variables"}
    assert found["distance"]["tensors"] > 0
    assert 0 < found["distance"]["weight"] <= found["tolerance"]["weight"]


def test_a_verification_at_another_scale_is_replayed(
    trained: Lab, portable: Launcher, tmp_path: Path
) -> None:
    trial_id = trial_of(trained, lambda spec: spec.seed == HELD_OUT_SEED)
    found = again(trained, portable, trial_id, tmp_path)
    assert (found.distance.is_zero, found.changed) == (True, {})


def test_one_flipped_loss_is_named(lab: Lab, fast: Launcher, tmp_path: Path) -> None:
    path = lab.trials / fast_trial(lab) / LOSSES_FILE
    data = bytearray(path.read_bytes())
    data[4 * 6] ^= 1  # the lowest bit of the seventh
    path.write_bytes(data)
    found = again(lab, fast, fast_trial(lab), tmp_path)
    assert not found.holds
    assert (found.distance.steps, found.distance.first_step) == (1, 7)
    assert 0 < found.distance.loss < 1e-6
    assert found.distance.tensors == 0


def test_a_weight_that_was_changed_is_named(lab: Lab, fast: Launcher, tmp_path: Path) -> None:
    path = lab.trials / fast_trial(lab) / WEIGHTS_FILE
    weights = load_file(path)
    weights["head.weight"][3, 4] += 0.5
    save_file(weights, path)
    found = again(lab, fast, fast_trial(lab), tmp_path)
    assert not found.holds
    assert (found.distance.tensors, found.distance.tensor) == (1, "head.weight")
    assert found.distance.weight == pytest.approx(0.5)
    assert found.distance.steps == 0


@pytest.mark.parametrize("name", ["processor", "instructions", "torch", "numpy"])
def test_what_something_else_computed_is_held_to_a_tolerance(
    lab: Lab, fast: Launcher, tmp_path: Path, name: str
) -> None:
    trial_id = fast_trial(lab)
    edit_result(lab, trial_id, lambda result: result["environment"].update({name: "another"}))
    path = lab.trials / trial_id / LOSSES_FILE
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)
    found = again(lab, fast, trial_id, tmp_path)
    assert found.changed[name][0] == "another"
    assert (found.holds, found.distance.is_zero) == (True, False)
    data[-1] ^= 0x40  # the exponent
    path.write_bytes(data)
    assert not again(lab, fast, trial_id, tmp_path / "again").holds


def test_the_tolerance_takes_no_other_training_for_the_same(
    trained: Lab, fast: Launcher, tmp_path: Path
) -> None:
    record = read_record(trained, fast_trial(trained), SETTINGS)
    runner = JobRunner(Lab.create_or_open(tmp_path / "scratch"), fast)
    for update in ({"seed": 4}, {"learning_rate": 2e-3}, {"task": "parity"}):
        spec = record.trial.spec.model_copy(update=update)
        other = dataclasses.replace(record.assignment, spec=spec)
        with runner.work_folder("other") as work:
            found = train(TrialJobs(runner, SETTINGS, other, work))
        assert not ELSEWHERE.covers(distance(*record.training, *found)), update


def test_other_sequences_are_not_taken_for_other_arithmetic(
    lab: Lab, fast: Launcher, tmp_path: Path
) -> None:
    trial_id = fast_trial(lab)
    edit_result(lab, trial_id, lambda result: result["environment"].update(sequences="0" * 64))
    with pytest.raises(CheckFailed, match="was trained on sequences"):
        again(lab, fast, trial_id, tmp_path)


def test_a_mixer_that_knows_a_replay_gains_nothing(
    lab: Lab, fast: Launcher, tmp_path: Path
) -> None:
    """It crashes in one, or draws what no seed fixes; so the record is not confirmed."""
    crashing = make_candidate(lab, load="assert 'replay' not in os.environ['TMPDIR'], 'no'")
    noise = "if self.training: y = y + 1e-4 * int.from_bytes(os.urandom(1), 'big')"
    drawing = make_candidate(lab, forward=noise)
    specs = [make_spec(candidate) for candidate in (crashing, drawing)]
    for candidate, spec in zip((crashing, drawing), specs, strict=True):
        make_workshop(lab, fast).train(candidate, FFN_WIDTH, [spec])
    with pytest.raises(CheckFailed, match="ended as crashed: AssertionError: no; expected"):
        again(lab, fast, specs[0].trial_id, tmp_path)
    assert not again(lab, fast, specs[1].trial_id, tmp_path / "again").holds


def error(lab: Lab, text: str) -> NoctuaryError:
    """Return the error of the command, which trains nothing."""
    result = CliRunner().invoke(command, [text, "--lab", str(lab.root)])
    assert isinstance(result.exception, NoctuaryError), result.output
    assert len(str(result.exception).splitlines()) == 1
    assert result.stdout == ""
    return result.exception


def test_what_cannot_be_replayed_is_said_in_one_line(trained: Lab) -> None:
    crashed = trial_of(trained, lambda spec: spec.seed == 0)
    candidate = TrialSpec.model_validate(
        read_json(trained.trials / fast_trial(trained) / "spec.json")
    ).candidate_id
    for text, kind, words in (
        ("0123", NotFound, "is no record of"),
        ("../trials", NotFound, "is no record of"),
        (candidate, NotFound, f"is the candidate {candidate}; expected a trial"),
        (crashed, UsageError, "is crashed (ZeroDivisionError: division by zero), so it has no"),
    ):
        found = error(trained, text)
        assert isinstance(found, kind)
        assert words in str(found)


def by_an_older_trainer(lab: Lab, trial_id: str) -> str:
    """Return the id under which an older noctuary would have kept it."""
    result = read_json(lab.trials / trial_id / "result.json")
    spec = TrialSpec.model_validate({**result["spec"], "trainer": "lightning-2"})
    (lab.trials / trial_id).rename(lab.trials / spec.trial_id)
    edit_result(lab, spec.trial_id, lambda result: result.update(spec=spec.model_dump()))
    return spec.trial_id


def of_another_suite(lab: Lab, trial_id: str) -> str:
    result = read_json(lab.trials / trial_id / "result.json")
    spec = TrialSpec.model_validate({**result["spec"], "suite": "tiny-2-00000000"})
    (lab.trials / trial_id).rename(lab.trials / spec.trial_id)
    edit_result(lab, spec.trial_id, lambda result: result.update(spec=spec.model_dump()))
    return spec.trial_id


def without_arithmetic(lab: Lab, trial_id: str) -> str:
    edit_result(lab, trial_id, lambda result: result["environment"].pop("arithmetic"))
    return trial_id


def on_a_gpu(lab: Lab, trial_id: str) -> str:
    edit_result(lab, trial_id, lambda result: result["environment"].update(accelerator="cuda"))
    return trial_id


def under_another_id(lab: Lab, trial_id: str) -> str:
    (lab.trials / trial_id).rename(lab.trials / ("0" * 16))
    return "0" * 16


def with_a_torn_result(lab: Lab, trial_id: str) -> str:
    path = lab.trials / trial_id / "result.json"
    path.write_bytes(path.read_bytes()[:-20])
    return trial_id


def source(lab: Lab, trial_id: str) -> Path:
    return lab.candidates / f"{read_json(lab.trials / trial_id / 'spec.json')['candidate_id']}.py"


def without_its_candidate(lab: Lab, trial_id: str) -> str:
    source(lab, trial_id).unlink()
    return trial_id


def with_another_comment(lab: Lab, trial_id: str) -> str:
    """Of the same id, which counts no comments."""
    path = source(lab, trial_id)
    path.write_text(path.read_text() + "# another\n")
    return trial_id


def without_python_in_it(lab: Lab, trial_id: str) -> str:
    """And with a record that says so."""
    path = source(lab, trial_id)
    path.write_bytes(b"(\xff")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_result(lab, trial_id, lambda result: result["environment"].update(source=digest))
    return trial_id


def without_its_losses(lab: Lab, trial_id: str) -> str:
    (lab.trials / trial_id / LOSSES_FILE).unlink()
    return trial_id


def with_a_loss_too_many(lab: Lab, trial_id: str) -> str:
    path = lab.trials / trial_id / LOSSES_FILE
    path.write_bytes(path.read_bytes() + bytes(4))
    return trial_id


def with_torn_weights(lab: Lab, trial_id: str) -> str:
    path = lab.trials / trial_id / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1])
    return trial_id


def with_weights_that_are_a_link(lab: Lab, trial_id: str) -> str:
    path = lab.trials / trial_id / WEIGHTS_FILE
    path.rename(lab.root / "elsewhere")
    path.symlink_to(lab.root / "elsewhere")
    return trial_id


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (
            by_an_older_trainer,
            UsageError,
            "was trained by lightning-2, and this noctuary trains by",
        ),
        (of_another_suite, UsageError, "tiny-2-00000000, which is not there as it was"),
        (without_arithmetic, UsageError, "was recorded by an older noctuary"),
        (on_a_gpu, UsageError, "was trained on a GPU"),
        (under_another_id, CheckFailed, "is the result of trial"),
        (with_a_torn_result, CheckFailed, "is no result of a trial"),
        (without_its_candidate, CheckFailed, "cannot be read (No such file or directory)"),
        (with_another_comment, CheckFailed, "expected the same file"),
        (without_python_in_it, CheckFailed, "expected the same file"),
        (without_its_losses, CheckFailed, "losses.bin cannot be read"),
        (with_a_loss_too_many, CheckFailed, "losses.bin is larger than 48 bytes"),
        (
            with_torn_weights,
            CheckFailed,
            "weights.safetensors holds something else than its header",
        ),
        (with_weights_that_are_a_link, CheckFailed, "weights.safetensors cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_record_that_is_not_whole_is_named_before_anything_is_trained(
    lab: Lab, change: Callable[[Lab, str], str], kind: type[NoctuaryError], words: str
) -> None:
    found = error(lab, change(lab, fast_trial(lab)))
    assert isinstance(found, kind)
    assert words in str(found)
