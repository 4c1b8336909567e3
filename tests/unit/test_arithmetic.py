"""How a launcher's processes compute: what it tells them, and what it refuses to promise."""

from pathlib import Path

import pytest
from trial_process import FFN_WIDTH, make_candidate, make_spec, make_workshop

from noctuary.config import TrainingSettings
from noctuary.errors import EnvironmentRefused
from noctuary.lab import Lab
from noctuary.plan import TRAINER_VERSION, arithmetic_of, trainer_of
from noctuary.sandbox.arithmetic import (
    PORTABLE,
    computing_variables,
    processor,
    require_arithmetic,
    what_computes,
)
from noctuary.sandbox.launcher import Launcher

OWNERS = {
    "PATH": "/bin",
    "OMP_NUM_THREADS": "7",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "AVX512",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "DNNL_MAX_CPU_ISA": "SSE41",
}
CPU = """processor\t: 0
cpu family\t: 6
model\t\t: 85
model name\t: A Processor @ 2.00GHz
flags\t\t: fpu sse4_2 {flags}

processor\t: 1
model name\t: Another
flags\t\t: avx2
"""


def test_portable_heeds_nothing_of_what_the_owner_set() -> None:
    given = computing_variables(OWNERS, "portable")
    assert given.pop("PATH") == "/bin"
    threads = {name: given.pop(name) for name in list(given) if name.endswith("_NUM_THREADS")}
    assert set(threads.values()) == {"1"}
    assert given == PORTABLE


def test_fast_heeds_all_but_the_threads() -> None:
    given = computing_variables(OWNERS, "fast")
    assert {**given, "OMP_NUM_THREADS": "7"} == {**given, **OWNERS}
    assert given["OMP_NUM_THREADS"] == given["MKL_NUM_THREADS"] == "1"


def test_what_computes_names_the_variables_and_no_others() -> None:
    found = what_computes({"PATH": "/bin", "MKL_CBWR": "AVX2", "ATEN_X": "1"}, "fast")
    assert found["variables"] == "ATEN_X=1 MKL_CBWR=AVX2"
    assert {"arithmetic", "processor", "instructions", "torch", "lightning", "numpy"} < set(found)


@pytest.mark.parametrize("flags", ["avx", "", None])
def test_portable_is_refused_without_avx2(tmp_path: Path, flags: str | None) -> None:
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(CPU.format(flags=flags))
    require_arithmetic("fast", info)
    with pytest.raises(EnvironmentRefused, match="needs AVX2") as refused:
        require_arithmetic("portable", info)
    assert len(str(refused.value).splitlines()) == 1


def test_a_processor_is_called_by_its_name_and_numbers(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(CPU.format(flags="avx avx2"))
    require_arithmetic("portable", info)
    assert processor(info) == "A Processor @ 2.00GHz (family 6, model 85)"
    assert processor(tmp_path / "none")


def test_a_trainer_says_how_it_computes() -> None:
    for salt in ("", "public"):
        settings = TrainingSettings(device="cpu", test_salt=salt)
        fast, portable = trainer_of(settings), trainer_of(settings, "portable")
        assert portable == f"{fast}-portable"
        assert (arithmetic_of(fast), arithmetic_of(portable)) == ("fast", "portable")
        assert trainer_of(TrainingSettings(device="cuda", test_salt=salt), "portable") == portable


def test_no_trial_is_computed_in_another_way_than_its_spec_says(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    candidate = make_candidate(lab)
    spec = make_spec(candidate).model_copy(update={"trainer": f"{TRAINER_VERSION}-portable"})
    with (
        Launcher(1, tmp_path / "log") as launcher,
        pytest.raises(ValueError, match="computes fast"),
    ):
        make_workshop(lab, launcher).train(candidate, FFN_WIDTH, [spec])
    assert list(lab.trials.iterdir()) == []
