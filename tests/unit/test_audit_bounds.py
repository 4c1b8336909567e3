"""What of a mixer file is read at all: its bytes and characters, its size, bombs for the parser."""

import pickle
import subprocess
import sys

import pytest
from mixer_texts import GOOD, below, failed

from noctuary.audit.bounds import MAX_DEPTH, MAX_LINE, MAX_LITERAL, MAX_LITERALS
from noctuary.audit.static import static_checks
from noctuary.canonical import MAX_BYTES, parsed


@pytest.mark.parametrize(
    ("data", "name", "detail"),
    [
        (b"#" * (MAX_BYTES + 1), "size", f"at least {MAX_BYTES + 1} bytes"),
        (b"x = '\xff'\n", "text", "line 1: byte 0xff is not UTF-8"),
        (GOOD.encode("utf-16"), "text", "line 1: byte 0xff is not UTF-8"),
        (b"# coding: utf-7\nx = 1\n", "text", "line 1: the file calls itself utf-7"),
        (b"#!python\n# vim: fileencoding=latin-1\n", "text", "line 2: the file calls itself lat"),
        (b"x = 1\0", "text", "line 1: character U+0000 cannot be seen"),
        ("x = 1\n# \u202e\n".encode(), "text", "line 2: character U+202E cannot be seen"),
        ("x = 'a\u200bb'\n".encode(), "text", "line 1: character U+200B cannot be seen"),
        (b"import torch\ndef f(:\n", "syntax", "line 2: invalid syntax"),
    ],
)
def test_text_that_cannot_be_read(data: bytes, name: str, detail: str) -> None:
    problems = failed(static_checks(data))
    assert set(problems) == {name}
    assert detail in problems[name]


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode() + b"#\n" * (MAX_BYTES // 2 - len(GOOD)),
        b"# coding: utf-8\n" + GOOD.encode(),
        b"\n\n# coding: utf-7 in the third line says nothing\n" + GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        (GOOD + "\u03b2 = '\u00e9, \u4e2d, \U0001f600, \\u202e, \\0'\n").encode(),
        GOOD.replace("\n\n", "\n\t\x0c\n").encode(),
    ],
)
def test_text_that_can_be_read(data: bytes) -> None:
    assert failed(static_checks(data)) == {}


BOMBS = {
    "brackets": "x = " + "(" * 90_000,
    "closed brackets": "x = " + "[" * 199 + "]" * 199,
    "signs": "x = " + "-" * 90_000 + "1",
    "negations": "x = " + "not " * 22_000 + "1",
    "lambdas": "x = " + "lambda: " * 12_000 + "1",
    "defaults": "x = " + "(lambda a=" * 9_000 + "1" + ":1)" * 9_000,
    "calls": "x = " + "f(" * 45_000,
    "calls of calls": "x = f" + "()" * 45_000,
    "attributes": "x = f" + ".a" * 45_000,
    "sum": "x = " + "1+" * 45_000 + "1",
    "conditions": "x = " + "1 if 1 else " * 8_000 + "1",
    "powers": "x = " + "2**" * 30_000 + "2",
    "f-strings": "x = f'" + "{1}" * 30_000 + "'",
    "nested f-strings": "x = " + 'f"{' + "f'{1}'" * 10_000 + '}"',
    "decorators": "@f\n" * 30_000 + "def g(): pass",
    "blocks": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "pass",
    "deeper blocks": "".join(" " * i + "if 1:\n" for i in range(400)),
    "statements": "x;" * 49_000,
    "lines": "a = 1\n" * 16_000,
    "comparisons": "x = " + "1<" * 45_000 + "1",
    "generators": "x = " + "[a for a in " * 190 + "b" + "]" * 190,
    "digits": "x = " + "9" * 90_000,
    "strings": "x = " + "'a' " * 22_000,
    "escapes": "x = '" + "\\d" * 45_000 + "'",
    "names": "x = [" + ",".join(f"a{i}" for i in range(14_000)) + "]",
    "arguments": "def f(" + ",".join(f"a{i}" for i in range(14_000)) + "): pass",
    "functions": "def f(): pass\n" * 7_000,
    "classes in classes": "".join(" " * i + "class A:\n" for i in range(99)) + " " * 99 + "x = 1",
    "lines that cannot be seen": "\u202e\n" * 20_000,
    "aliases": "import torch\n" + "".join(f"a{i + 1} = a{i}\n" for i in range(6_000)),
}


def test_no_text_keeps_the_reader_busy_or_ends_the_process() -> None:
    """In a process of its own, with little memory and on a small stack as threads have it."""
    code = """
import resource, threading, pickle, sys
from noctuary.audit.static import static_checks
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
bombs = pickle.load(sys.stdin.buffer)
def read():
    for name, text in bombs.items():
        print(name, all(check.passed for check in static_checks(text)), sep=": ", flush=True)
threading.stack_size(2**21)
thread = threading.Thread(target=read)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(BOMBS), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [f"{name}: False" for name in BOMBS]


def test_more_than_is_parsed_is_not_given_to_the_parser() -> None:
    assert parsed("#" * MAX_BYTES).body == []
    with pytest.raises(SyntaxError, match=f"at most {MAX_BYTES}"):
        parsed("\u00e9" * (MAX_BYTES // 2 + 1))


def grown(unit: str, count: int, before: str = "x = ", after: str = "") -> str:
    return below(before + unit * count + after)


@pytest.mark.parametrize(
    ("bad", "good", "detail"),
    [
        (
            grown("(", MAX_DEPTH, "x = 1", ")" * MAX_DEPTH).replace("1(", "f("),
            grown("-", MAX_DEPTH - 10, after="1"),
            "",
        ),
        (grown("-", MAX_DEPTH, after="1"), grown("-", MAX_DEPTH - 10, after="1"), "nested more"),
        (grown("#", MAX_LINE + 1, ""), grown("#", MAX_LINE, ""), "line 7: the line has 1001"),
        (grown("x = 1\n", 10_000, ""), grown("x = 1\n", 5_000, ""), "nodes of syntax"),
        (grown("def f(): pass\n", 399, ""), grown("def f(): pass\n", 390, ""), "401 functions"),
        (below(f"x = {2**64}"), below(f"x = {2**64 - 1}", "y = 1e300"), "line 7: an integer of 65"),
        (below(f"x = {'0x' + 'f' * 40}"), below("x = 0xffffffff"), "line 7: an integer of 160"),
        (
            grown("b'a'\\\n", MAX_LITERAL + 1, "x = "),
            grown("b'a'\\\n", MAX_LITERAL - 1, "x = "),
            "literal of 2001",
        ),
        (
            grown("1,\n", MAX_LITERAL + 1, "x = [", "]"),
            grown("1,\n", 1999, "x = [", "]"),
            "of 2001",
        ),
        (
            grown(f"x = '{'a' * 900}'\n", MAX_LITERALS // 900 + 1, ""),
            grown(f"'{'a' * 900}'\n", MAX_LITERALS // 900 + 1, ""),  # stand for themselves
            "characters in all",
        ),
    ],
)
def test_what_is_too_much(bad: str, good: str, detail: str) -> None:
    problems = failed(static_checks(bad))
    assert "complexity" in problems or detail == ""
    assert detail in problems.get("complexity", "")
    assert "complexity" not in failed(static_checks(good))
    assert "import_time" not in failed(static_checks(good))
