"""Reading what a process with candidate code in it left: never more than agreed, never executed.

Covers arrays of floats, the sizes that the header of a safetensors file tells, and curves; files
are opened by `sandbox.reading`. Does not read weights: only the process that runs them does.
Outcomes have schemas of their own (`sandbox.outcome`).
"""

import contextlib
import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from noctuary.sandbox.reading import NotAsAgreed, open_regular, read_bounded
from noctuary.scoring import Floats
from noctuary.training.requests import FLOAT_TYPE

MAX_HEADER_BYTES = 2**20
MAX_CURVE_BYTES = 2**16

_ITEM_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1},
}


def read_floats(path: Path, count: int) -> Floats:
    """Return so many floats, (count,).

    Raises:
        NotAsAgreed: there are more or fewer.
    """
    expected = count * np.dtype(FLOAT_TYPE).itemsize
    content = read_bounded(path, expected)
    if len(content) != expected:
        raise NotAsAgreed(f"{path.name} has {len(content)} bytes; expected {expected}")
    return np.frombuffer(content, dtype=FLOAT_TYPE)


def weights_bytes(path: Path) -> int:
    """Return the bytes of all tensors in a safetensors file, from its header alone.

    Raises:
        NotAsAgreed: it is no such file, or its header does not describe what follows.
    """
    with open_regular(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise NotAsAgreed(f"{path.name} is no safetensors file: a header of {length} bytes")
        header = handle.read(length)
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotAsAgreed(f"{path.name} is no safetensors file: {error}") from error
    ends = [0, *(end for _, end in spans)]
    if [begin for begin, _ in spans] != ends[:-1] or 8 + length + ends[-1] != size:
        raise NotAsAgreed(f"{path.name} holds something else than its header says")
    return ends[-1]


def read_curve(path: Path, losses: Floats | None = None) -> str:
    """Return a curve file written anew from the rows in it that are numbers.

    Args:
        losses: of every step, (steps,), where they are known: then the curve is made of them, and
            the file has the steps and the seconds only.

    Raises:
        NotAsAgreed: it is missing or too large.
    """
    content = read_bounded(path, MAX_CURVE_BYTES).decode("utf-8", errors="replace")
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(("step", "loss", "seconds"))
    before = 0
    for row in csv.DictReader(content.splitlines()):
        with contextlib.suppress(KeyError, TypeError, ValueError, csv.Error):
            step, loss, seconds = int(row["step"]), float(row["loss"]), float(row["seconds"])
            if losses is not None:
                if not before < step <= len(losses):
                    continue
                loss, before = float(losses[before:step].mean(dtype=np.float64)), step
            writer.writerow((step, f"{loss:.6f}", f"{seconds:.3f}"))
    return out.getvalue()


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    """Return where a tensor begins and ends, which its type and shape have to agree with."""
    begin, end = tensor["data_offsets"]
    shape = tensor["shape"]
    if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
        raise ValueError("a shape or an offset that is no whole number")
    if end - begin != math.prod(shape) * _ITEM_BYTES[tensor["dtype"]]:
        raise ValueError("a tensor whose size is not that of its shape")
    return int(begin), int(end)
