"""What is read of the files that untrusted processes leave, and what is not."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from noctuary.handover import (
    MAX_HEADER_BYTES,
    read_curve,
    read_floats,
    weights_bytes,
)
from noctuary.sandbox.outcome import MAX_LINE, LogitsOutcome, Outcome, TrainOutcome, as_line
from noctuary.sandbox.reading import NotAsAgreed, read_bounded

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def test_a_file_of_the_agreed_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"abc")
    assert read_bounded(path, 3) == b"abc"
    with pytest.raises(NotAsAgreed, match="larger than 2 bytes"):
        read_bounded(path, 2)


@pytest.mark.parametrize("kind", ["nothing", "link", "folder", "pipe", "device"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some"
    if kind == "link":
        (tmp_path / "other").write_bytes(b"secret")
        path.symlink_to(tmp_path / "other")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(NotAsAgreed):
        read_bounded(path, 100)


def test_floats_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "some"
    values = np.arange(5, dtype="<f4")
    path.write_bytes(values.tobytes())
    assert (read_floats(path, 5) == values).all()
    for count in (0, 4, 6):
        with pytest.raises(NotAsAgreed):
            read_floats(path, count)


@given(
    st.lists(st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=3)), max_size=6)
)
def test_sizes_of_weights(
    tmp_path_factory: pytest.TempPathFactory, tensors: list[tuple[torch.dtype, list[int]]]
) -> None:
    path = tmp_path_factory.mktemp("weights") / "some.safetensors"
    made = {f"t{n}": torch.zeros(shape, dtype=kind) for n, (kind, shape) in enumerate(tensors)}
    save_file(made, path)
    expected = sum(tensor.numel() * tensor.element_size() for tensor in made.values())
    assert weights_bytes(path) == expected


def weights_file(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def entry(shape: Any = (2,), offsets: Any = (0, 8), kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(shape=(3,))},
        {"a": entry(kind="F99")},
        {"a": entry(offsets=(0, 4))},
        {"a": entry(offsets=(-8, 0))},
        {"a": entry(offsets=(0.0, 8.0))},
        {"a": entry(shape=(True, 2))},
        {"a": entry(shape=("2",))},
        {"a": entry(shape=2)},
        {"a": {"dtype": "F32"}},
        {"a": []},
        [],
        {"a": entry(), "b": entry()},  # twice the same bytes
        {"a": entry(offsets=(8, 16))},  # bytes before it
        {},  # bytes that nothing describes
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any) -> None:
    path = tmp_path / "some.safetensors"
    weights_file(path, json.dumps(header).encode(), bytes(8))
    with pytest.raises(NotAsAgreed):
        weights_bytes(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little"),
        (9).to_bytes(8, "little") + b"\x80\x04\x95pickle",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(content)
    with pytest.raises(NotAsAgreed):
        weights_bytes(path)


def test_of_a_curve_only_numbers_remain(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    rows = "step,loss,seconds\r\n1,2.5,0.1\r\n"
    path.write_bytes(
        rows.encode() + b"x,1,1\r\n2,\x1b[2J,1\r\n3\r\n" + b"4,nan,0.5,left over\r\n\xff\xff"
    )
    found = list(csv.reader(io.StringIO(read_curve(path), newline="")))
    assert found == [
        ["step", "loss", "seconds"],
        ["1", "2.500000", "0.100"],
        ["4", "nan", "0.500"],
    ]
    path.write_bytes(b"1" * 2**20)
    with pytest.raises(NotAsAgreed):
        read_curve(path)


def test_a_curve_is_made_of_the_losses_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("step,loss,seconds\n2,0.0,0.1\n2,0,0.1\n1,0,0.1\n4,0.0,0.2\n9,0.0,0.3\n")
    losses = np.array([4, 3, 2, 1, 0.5], dtype=np.float32)
    assert read_curve(path, losses).split() == [
        "step,loss,seconds",
        "2,3.500000,0.100",
        "4,1.500000,0.200",
    ]


@given(st.text())
def test_a_reason_is_one_short_line_that_steers_no_terminal(text: str) -> None:
    line = as_line(text)
    assert len(line) <= MAX_LINE
    assert line.isprintable()
    assert Outcome(status="crashed", reason=text).reason == line
    assert not text.isprintable() or len(text) > MAX_LINE or line == text


@pytest.mark.parametrize(
    "said",
    [
        {"score": 1.0},
        {"metrics": {"loss": 0.0}},
        {"seconds": {"train": -1.0}},
        {"seconds": {"train": float("nan")}},
        {"seconds": {"total": 0.0}},
        {"environment": {f"fact{n}": 1 for n in range(1000)}},
        {"environment": {"nested": {"a": 1}}},
        {"gpu_memory_mb": float("inf")},
    ],
)
def test_a_training_says_nothing_but_what_it_is_asked(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        TrainOutcome.model_validate({"status": "ok", **said})


@pytest.mark.parametrize(
    "said",
    [{"loss": 0.0}, {"costs": {"loss": 0.0}}, {"costs": {"state_size": -1}}, {"parameters": 2**60}],
)
def test_a_model_says_nothing_but_its_costs(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        LogitsOutcome.model_validate({"status": "ok", **said})
