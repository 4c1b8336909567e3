"""`noctuary audit` as a user meets it, and the layers of others that it is given."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from disks import SmallDisk

from noctuary.auditing import audit_candidate
from noctuary.candidates import audited_candidate, file_candidate
from noctuary.config import TrainingSettings
from noctuary.domain import Audit
from noctuary.errors import UsageError
from noctuary.jobs import JobRunner
from noctuary.lab import MIN_FREE_BYTES, Lab, shipped
from noctuary.policy import CodePolicy, Policy
from noctuary.sandbox.launcher import Launcher

COMMAND = [sys.executable, "-c", "from noctuary.cli import main; main()", "audit"]
FOREIGN = Path(__file__).parents[1] / "fixtures" / "foreign"
HUMAN = shipped("architectures") / "human"
SUITE = "standard-2"


def noctuary_audit(
    *arguments: str | Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NOCTUARY_LAB": "/nowhere/lab", **environment},
    )


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


# The command


def test_a_mixer_of_ours_is_accepted_with_a_table_and_nothing_is_left(tmp_path: Path) -> None:
    done = noctuary_audit(HUMAN / "retnet.py", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    verdicts = {row[0]: row[1] for row in rows if row[0] in ("imports", "causal_cut", "parameters")}
    assert verdicts == {"imports": "passed", "causal_cut": "passed", "parameters": "passed"}
    assert rows[-1][0] == "accepted,"
    assert "parameters without embedding and head" in done.stdout
    assert not list(tmp_path.glob("*noctuary*"))


def test_a_foreign_layer_as_json_at_a_width_of_its_own() -> None:
    picky = FOREIGN / "demanding.py"
    done = noctuary_audit(picky, "--class", "Picky", "--width", "24", "--heads", "4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["accepted"]
    assert (found["class"], found["d_model"], found["n_heads"]) == ("Picky", 24, 4)
    assert {"imports", "builds", "causal_change"} <= {check["name"] for check in found["checks"]}
    assert all(check["measured"] is not None for check in found["checks"])
    assert found["parameters"] is None, "the budget is that of another width"


def test_a_rejected_file_is_status_1_with_its_reasons(tmp_path: Path) -> None:
    done = noctuary_audit(FOREIGN / "two_layers.py", "--class", "SelfAttention", "--json")
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("noctuary: ")
    assert "is rejected: causal_change, causal_cut" in one_line(done.stderr)
    found = json.loads(done.stdout)
    assert not found["accepted"]
    wrong = next(check for check in found["checks"] if check["name"] == "causal_change")
    assert wrong["measured"] > wrong["limit"]

    done = noctuary_audit(FOREIGN / "needs_kernels.py")
    assert done.returncode == 1
    assert "is rejected: imports, import_time" in one_line(done.stderr)
    assert "FAILED" in done.stdout


def test_a_file_that_is_no_python_gets_a_verdict_too(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    for content, check in ((b"\xff\xfe", "text"), (b"def (:", "syntax"), (b"#" * 10**6, "size")):
        path.write_bytes(content)
        done = noctuary_audit(path)
        assert done.returncode == 1
        assert one_line(done.stderr).endswith(f"is rejected: {check}")


def test_wrong_usage_is_status_2(tmp_path: Path) -> None:
    assert noctuary_audit(tmp_path / "nothing.py").returncode == 2
    assert noctuary_audit(HUMAN / "retnet.py", "--width", "0").returncode == 2
    os.mkfifo(tmp_path / "pipe.py")
    done = noctuary_audit(tmp_path / "pipe.py")
    assert done.returncode == 2
    assert "is no regular file" in one_line(done.stderr)


def test_the_rules_are_those_of_the_lab(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    path = tmp_path / "mixer.py"
    path.write_text("import json\n", encoding="utf-8")

    def problems() -> str:
        done = noctuary_audit(path, "--json", "--lab", lab.root)
        checks = json.loads(done.stdout)["checks"]
        return next(check["detail"] for check in checks if check["name"] == "imports")

    assert "line 1: json is imported, which the policy does not allow" in problems()
    lab.policy_path.write_text('[code]\nimports = ["json"]\n', encoding="utf-8")
    assert problems() == ""
    lab.policy_path.write_text("[code]\nimport = 3\n", encoding="utf-8")
    done = noctuary_audit(path, "--lab", lab.root)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "import" in one_line(done.stderr)


def test_a_full_disk_is_status_3(small_disk: SmallDisk) -> None:
    small_disk.fill(leaving=MIN_FREE_BYTES // 2)
    done = noctuary_audit(HUMAN / "retnet.py", TMPDIR=str(small_disk.root))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "free some" in one_line(done.stderr)


WITHOUT_NAMESPACES = [
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
]
"""Runs a command where no further namespace can be made."""


def test_a_demanded_layer_that_is_missing_is_status_3(
    tmp_path: Path, missing: Callable[[str], NoReturn]
) -> None:
    tried = [*WITHOUT_NAMESPACES, "true"]
    if shutil.which("unshare") is None or subprocess.run(tried, check=False).returncode:
        missing("this user may not make a namespace to be without namespaces in")
    lab = Lab.create_or_open(tmp_path / "lab")
    lab.policy_path.write_text('[sandbox]\ndemanded = ["namespaces"]\n', encoding="utf-8")
    command = [*WITHOUT_NAMESPACES, *COMMAND, str(HUMAN / "retnet.py"), "--lab", str(lab.root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "the layer namespaces is demanded and missing" in one_line(done.stderr)


# Layers of others, in one launcher


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobRunner]:
    lab = Lab.create_or_open(tmp_path_factory.mktemp("foreign") / "lab")
    with Launcher(1, lab.logs / "launcher.log") as launcher:
        yield JobRunner(lab, launcher)


def audit(jobs: JobRunner, path: Path, policy: Policy = Policy(), **asked: Any) -> Audit:  # noqa: B008
    candidate = audited_candidate(jobs.lab, path)
    settings = TrainingSettings(suite=SUITE, device="cpu")
    return audit_candidate(jobs, candidate, SUITE, settings, policy, 0, **asked)


def failed(audit: Audit) -> dict[str, str]:
    return {check.name: check.detail for check in audit.checks if not check.passed}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("linear_attention", "LinearAttention"),
        ("mamba_block", "MambaBlock"),
        ("two_layers", "Averaging"),
        ("demanding", "LayerOfAStack"),
    ],
)
def test_layers_as_they_are_published_are_accepted(jobs: JobRunner, file: str, name: str) -> None:
    found = audit(jobs, FOREIGN / f"{file}.py", class_name=name)
    assert failed(found) == {}
    assert found.parameters is not None
    assert found.ffn_width is not None


@pytest.mark.parametrize(
    ("name", "check", "detail"),
    [
        ("WithATable", "builds", "WithATable(d_model=64, n_heads=2) lacks rotary_table; give them"),
        ("OfAConfig", "builds", "OfAConfig(config) takes no width; expected it as the first arg"),
        ("Picky", "builds", "Picky(d_model=64, n_heads=2) raised ValueError: three parts a head"),
        ("TwiceAsWide", "shapes", "gives (3, 7, 128), expected (3, 7, 64)"),
    ],
)
def test_what_does_not_fit_is_said(jobs: JobRunner, name: str, check: str, detail: str) -> None:
    problems = failed(audit(jobs, FOREIGN / "demanding.py", class_name=name))
    assert set(problems) == {check}
    assert detail in problems[check]


def test_a_layer_that_needs_a_gpu_is_told_so_where_there_is_none(jobs: JobRunner) -> None:
    problems = failed(audit(jobs, FOREIGN / "demanding.py", class_name="OnAGpu"))
    # with a GPU in the machine it is built there, and cannot take what lies elsewhere
    assert "it needs a GPU" in problems.get("builds", "") or "device" in problems.get("shapes", "")


def test_packages_are_named_that_are_missing_and_that_are_not_allowed(jobs: JobRunner) -> None:
    problems = failed(audit(jobs, FOREIGN / "needs_kernels.py"))
    said = problems["imports"]
    assert "line 3: numpy is imported, which the policy does not allow" in said
    assert "triton is imported, which is not installed here" in said or shutil.which("nvidia-smi")
    assert said.endswith("([code] imports in policy.toml)")


def test_a_class_is_asked_for_where_there_are_several(jobs: JobRunner) -> None:
    problems = failed(audit(jobs, FOREIGN / "two_layers.py"))
    assert set(problems) == {"class"}
    assert problems["class"].endswith("modules here: Averaging, SelfAttention (--class)")
    problems = failed(audit(jobs, FOREIGN / "two_layers.py", class_name="Config"))
    assert "class Config is no torch.nn.Module" in problems["class"]


def test_only_the_reference_may_be_quadratic_unless_the_policy_says_so(
    jobs: JobRunner, tmp_path: Path
) -> None:
    reference = HUMAN / "softmax_attention.py"
    assert failed(audit(jobs, reference)) == {}
    other = tmp_path / "mine.py"
    other.write_text(
        reference.read_text(encoding="utf-8").replace("GENOME", "NOTHING"), encoding="utf-8"
    )
    assert any(name.endswith("_growth") for name in failed(audit(jobs, other)))
    allowing = Policy(code=CodePolicy(quadratic=True))
    assert failed(audit(jobs, other, allowing)) == {}


# Evaluating them


def test_a_foreign_class_becomes_a_mixer_file(jobs: JobRunner, tmp_path: Path) -> None:
    path = FOREIGN / "two_layers.py"
    candidate = file_candidate(jobs.lab, path, "Averaging")
    assert (candidate.kind, candidate.name) == ("foreign", "Averaging")
    assert failed(audit(jobs, Path(candidate.path))) == {}
    assert candidate.candidate_id != file_candidate(jobs.lab, path, "SelfAttention").candidate_id
    with pytest.raises(UsageError, match=r"no class Attention .*one of Config, Averaging, SelfAtt"):
        file_candidate(jobs.lab, path, "Attention")
