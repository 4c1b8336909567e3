"""Two ways to compute on a CPU: as fast as this processor can, or so that others agree to the bit.

Kernels are chosen by what a processor knows, and differ in the last bits. `portable` fixes what
was found to decide that: the instruction set of torch, the code paths of MKL and oneDNN, and
deterministic algorithms; one thread and the fused optimiser are fixed either way. Covers x86-64
with AVX2 on Linux; on anything else portable is refused. Says nothing of GPUs. Imports no torch.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

from noctuary.config import Arithmetic
from noctuary.errors import EnvironmentRefused

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}

NUMERIC_PREFIXES = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("ATEN_", "PYTORCH_", "ONEDNN_", "DNNL_"),
)
"""Variables that may change the bits of a result."""

LIBRARIES = ("torch", "lightning", "numpy")

VECTOR_FLAGS = ("avx", "fma", "amx", "asimd", "sve")
"""How the names of what kernels choose by begin, among all that a processor says it has."""

CPU_INFO = Path("/proc/cpuinfo")


def computing_variables(given: Mapping[str, str], arithmetic: Arithmetic) -> dict[str, str]:
    """Return variables with those in place that decide how numbers are computed.

    Args:
        given: for `fast`, the owner's choices in it stand, threads excepted; for `portable`, none.
    """
    if arithmetic == "fast":
        return {**given, **ONE_THREAD}
    kept = {name: value for name, value in given.items() if not name.startswith(NUMERIC_PREFIXES)}
    return kept | ONE_THREAD | PORTABLE


def require_arithmetic(arithmetic: Arithmetic, info: Path = CPU_INFO) -> None:
    """Refuse portable arithmetic where the processor cannot do it: it would die of it.

    Raises:
        EnvironmentRefused: the processor has no AVX2, or does not say so.
    """
    if arithmetic == "portable" and "avx2" not in _fact("flags", info).split():
        raise EnvironmentRefused(
            f"portable arithmetic needs AVX2, and this processor ({processor(info)}) does not say "
            "that it has it; expected an x86-64 processor under Linux: use another machine"
        )


def what_computes(variables: Mapping[str, str], arithmetic: Arithmetic) -> dict[str, str]:
    """Return what decides the bits of a training on a CPU: where all is equal, so are they.

    Args:
        variables: of the processes that compute.
    """
    flags = (_fact("flags", CPU_INFO) or _fact("Features", CPU_INFO)).split()
    numeric = sorted(name for name in variables if name.startswith(NUMERIC_PREFIXES))
    return {
        "arithmetic": arithmetic,
        "processor": processor(),
        "instructions": " ".join(sorted(flag for flag in flags if flag.startswith(VECTOR_FLAGS))),
        "variables": " ".join(f"{name}={variables[name]}" for name in numeric),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def processor(info: Path = CPU_INFO) -> str:
    """Return the processor's model, as exactly as the system says it; else its architecture."""
    name = _fact("model name", info) or platform.machine()
    numbers = [_fact(number, info) for number in ("cpu family", "model")]
    return f"{name} (family {numbers[0]}, model {numbers[1]})" if all(numbers) else name


def _fact(name: str, info: Path) -> str:
    """Return what the system says of its first processor; empty where it does not."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in said if key.strip() == name), "")
