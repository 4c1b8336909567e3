"""Files that are no proper candidates: what cannot be parsed, what is no file, what changes.

Covers what the trusted process reads itself. It has to say no in words, and to live on.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import write_candidate
from surroundings import MARKER
from trial_process import FFN_WIDTH, make_spec, make_workshop

from noctuary.bench.suite import TINY
from noctuary.candidates import file_candidate
from noctuary.errors import UsageError
from noctuary.lab import Lab
from noctuary.sandbox.launcher import Launcher

GOOD = """
import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        return self.project(x)
"""

BOMBS = {
    "parentheses": "(" * 90_000,
    "closed parentheses": "(" * 45_000 + ")" * 45_000,
    "brackets": "[" * 45_000 + "]" * 45_000,
    "minus signs": "-" * 90_000 + "1",
    "negations": "not " * 20_000 + "1",
    "sums": "x = " + "+".join(["1"] * 45_000),
    "attributes": "x" + ".y" * 40_000,
    "calls": "x" + "()" * 40_000,
    "lambdas": "lambda: " * 11_000 + "1",
    "conditions": "1 if 1 else " * 7_000 + "1",
    "nested functions": "".join(f"{' ' * n}def f():\n" for n in range(400)),
    "nested loops": "".join(f"{' ' * n}for x in y:\n" for n in range(99)) + " " * 99 + "pass",
    "decorators": "@x\n" * 30_000 + "def f(): pass",
    "a number of a mile": "x = " + "9" * 90_000,
    "a power": "x = " + "**".join(["9"] * 100),
    "a long string": "x = 'a' * 10**10",
    "f-strings in f-strings": 'f"' + "{f'" * 3 + "}" * 3,
    "a null byte": "x = 1\0",
    "half a surrogate": "x = '\ud800'",
    "a mark that turns the line round": "x = 1  # \u202e } \u2066",
    "letters that look the same": "\uff4f\uff53 = __import__('os')",  # fullwidth o, s
    "a form feed and a tab": "if 1:\n\tx = 1\n        \f  y = 2\n    z = 3",
    "an encoding of its own": "# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0-",
    "nothing": "",
    "more than is read": "x = 1\n" * 200_000,
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab.create_or_open(tmp_path_factory.mktemp("files") / "lab")


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(1, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_hard_to_parse_is_rejected_in_words(
    name: str, lab: Lab, launcher: Launcher
) -> None:
    candidate = write_candidate(lab, BOMBS[name], name)
    audit = make_workshop(lab, launcher).audit(candidate, TINY.version, seed=0)
    assert not audit.accepted
    assert 0 < len(audit.reason) < 2000
    assert audit.reason.isprintable()


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_hard_to_parse_is_hard_for_its_own_process_alone(
    name: str, lab: Lab, launcher: Launcher
) -> None:
    """Where it comes to training nevertheless."""
    candidate = write_candidate(lab, BOMBS[name] + f"\n# {name}", name)
    workshop, spec = make_workshop(lab, launcher, timeout=10), make_spec(candidate)
    workshop.train(candidate, FFN_WIDTH, [spec])
    trial = workshop.read(spec)
    assert trial.status in ("crashed", "oom", "timeout"), trial.reason
    assert 0 < len(trial.reason) < 400


def test_after_all_of_them_an_honest_candidate_runs(lab: Lab, launcher: Launcher) -> None:
    candidate = write_candidate(lab, GOOD, "good")
    workshop, spec = make_workshop(lab, launcher), make_spec(candidate)
    workshop.train(candidate, FFN_WIDTH, [spec])
    assert workshop.read(spec).status == "ok"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def socket_file(path: Path) -> None:
    os.mknod(path, 0o140600)


def link_to_a_secret(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text(f"{MARKER} = (")
    path.symlink_to(secret)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**34)


def other_bytes(path: Path) -> None:
    path.write_bytes(b"class Mixer: pass\n# \xff\xfe")


NO_FILES = (pipe, folder, socket_file, link_to_a_secret, link_to_itself, endless_device)
NO_FILES += (huge, other_bytes)


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_of_text_is_refused_in_one_line(
    make: object, lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "mixer.py"
    assert callable(make)
    make(path)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            file_candidate(lab, path)
        except BaseException as error:
            raised.append(error)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(30)
    assert not reading.is_alive()
    assert [type(error) for error in raised] == [UsageError]
    assert len(str(raised[0]).splitlines()) == 1
    assert MARKER not in str(raised[0])


def test_a_file_that_changes_later_is_the_candidate_that_was_read(
    lab: Lab, launcher: Launcher, tmp_path: Path
) -> None:
    path = tmp_path / "mixer.py"
    path.write_text(GOOD)
    candidate = file_candidate(lab, path)
    path.write_text("raise ValueError('another file')")
    workshop, spec = make_workshop(lab, launcher), make_spec(candidate, seed=1)
    workshop.train(candidate, FFN_WIDTH, [spec])
    assert workshop.read(spec).status == "ok"
    assert "another" not in Path(candidate.path).read_text()
