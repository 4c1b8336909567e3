"""Canonical bytes: what counts as the same, and that different programs never share an id.

Covers JSON values and Python source. Does not cover what candidates do with their own comments.
"""

import ast
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.canonical import (
    ID_LENGTH,
    canonical_json,
    canonical_source,
    content_id,
    source_id,
)

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

PLAIN = """
import torch


class Mixer(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        return y
"""

SAME_AS_PLAIN = {
    "docstrings": '''
"""A module."""
import torch
class Mixer(torch.nn.Module):
    """A class.

    With ünïcode and "quotes" in it.
    """
    def forward(self, x):
        'A function.'
        y = x * 2
        return y
''',
    "comments": """
# a comment
import torch  # why

class Mixer(torch.nn.Module):
        # indented otherwise
    def forward(self, x):
        y = x * 2  # (B, T, D)
        return y
# the end""",
    "raw, parenthesised and joined docstrings": '''
r"""A \\module."""
import torch
class Mixer(torch.nn.Module):
    ("A class"  # in two
     " parts.")
    def forward(self, x):
        """A function."""  # and a comment
        y = x * 2
        return y
''',
    "blank lines and trailing spaces": PLAIN.replace("\n", "   \n\n"),
    "windows line ends": PLAIN.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + PLAIN,
    "no final line end": PLAIN.rstrip(),
}


@pytest.mark.parametrize("source", SAME_AS_PLAIN.values(), ids=SAME_AS_PLAIN)
def test_prose_does_not_count(source: str) -> None:
    ast.parse(source.removeprefix("\ufeff"))
    assert canonical_source(source) == canonical_source(PLAIN)


DIFFERENT = {
    "a number": ("x = 1", "x = 2"),
    "a name": ("x = 1", "y = 1"),
    "indentation": ("if a:\n    b\n    c", "if a:\n    b\nc"),
    "a hash in a string": ("x = 'a # b'", "x = 'a # c'"),
    "a hash in a multi-line string": ("x = '''\n# a\n'''", "x = '''\n# b\n'''"),
    "blank lines in a string": ("x = '''a\n\nb'''", "x = '''a\nb'''"),
    "blank lines at a string's end": ("x = '''a\n\n'''", "x = '''a\n'''"),
    "spaces on a string's blank line": ("x = '''a\n \nb'''", "x = '''a\n\nb'''"),
    "trailing spaces in a string": ("x = '''a  \nb'''", "x = '''a\nb'''"),
    "a tab in a string": ("x = '''a\t\nb'''", "x = '''a\nb'''"),
    "blank lines in an f-string": ("x = f'''{a}\n\n{b}'''", "x = f'''{a}\n{b}'''"),
    "blank lines in bytes": ("x = b'''a\n\nb'''", "x = b'''a\nb'''"),
    "code beside a docstring": ("def f(): 'doc'; return 1", "def f(): 'doc'; return 2"),
    "the name beside a docstring": ("def f(): 'doc'", "def g(): 'doc'"),
    "the class beside a docstring": ("class A: 'doc'", "class B: 'doc'"),
    "code after a long docstring": ("'''a\nb'''; x = 1", "'''a\nb'''; x = 2"),
    "a string that is no docstring": ("x = 1\n'a'", "x = 1\n'b'"),
    "a string of a nested function": (
        "def f():\n    'doc'\n    def g():\n        return 'a'",
        "def f():\n    'doc'\n    def g():\n        return 'b'",
    ),
    "a blank line after a backslash": ("x = 1 \\\n\n-y", "x = 1 \\\n-y"),
    "a docstring that the code reads": ("'a'\nx = __doc__", "'b'\nx = __doc__"),
    "a docstring read as an attribute": (
        "class A:\n    'a'\nx = A.__doc__",
        "class A:\n    'b'\nx = A.__doc__",
    ),
    "line separators of other worlds": ("x = 'a\u2028'\n'''b'''", "x = 'c\u2028'\n'''b'''"),
    "the encoding": ("# coding: latin-1\nx = 'ä'", "# coding: cp1250\nx = 'ä'"),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_different_programs_have_different_ids(pair: tuple[str, str]) -> None:
    for source in pair:
        ast.parse(source)
    assert source_id(pair[0]) != source_id(pair[1])


def test_docstrings_of_nested_functions_and_classes_go() -> None:
    source = (
        "class A:\n    '''a'''\n    class B:\n        '''b'''\n"
        "        async def f(self):\n            '''c'''\n            return '''d  '''\n"
    )
    kept = "class A:\n    class B:\n        async def f(self):\n            return '''d  '''\n"
    assert canonical_source(source) == kept


def test_line_separators_within_a_line_do_not_shift_the_docstrings() -> None:
    source = "x = 'a\x0c\u2028\x1c'\ndef f():\n    '''doc'''\n    return 1\n"
    assert canonical_source(source) == "x = 'a\x0c\u2028\x1c'\ndef f():\n    return 1\n"


def test_comments_in_an_utf8_file_go_whatever_they_say() -> None:
    assert source_id("# coding: utf-8\nx = 1") == source_id("# vim: me\nx = 1")


@pytest.mark.parametrize("text", ["x = (", "x = 'a", "a b", "  x = 1", "x = 1\0", "x = '\udc80'"])
def test_what_is_not_python_is_refused(text: str) -> None:
    with pytest.raises(SyntaxError):
        canonical_source(text)


def test_python_nested_deeper_than_python_parses_is_refused() -> None:
    with pytest.raises(SyntaxError):
        canonical_source("x = " + "-" * 100_000 + "1")


texts = st.text(alphabet=" \t\n#'\"ab\\x", max_size=12)


@given(texts, texts)
def test_two_string_constants_share_an_id_only_if_they_are_equal(a: str, b: str) -> None:
    def program(text: str) -> str:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'x = """{quoted}"""\n'

    assert ast.literal_eval(program(a).removeprefix("x = ")) == a
    assert (source_id(program(a)) == source_id(program(b))) == (a == b)


LINES = st.lists(
    st.sampled_from(
        ["x = 1", "", "   ", "# c", "y = '''a", "b'''", "x = 1  # c", "if x:", "    y = 2", "-x \\"]
    ),
    max_size=8,
)


@given(LINES, LINES)
def test_programs_that_share_an_id_have_the_same_syntax_tree(a: list[str], b: list[str]) -> None:
    try:
        trees = [ast.dump(ast.parse("\n".join(lines))) for lines in (a, b)]
    except SyntaxError:
        return
    if source_id("\n".join(a)) == source_id("\n".join(b)):
        assert trees[0] == trees[1]


@given(LINES)
def test_the_canonical_source_is_the_same_program_and_its_own_canonical_form(
    lines: list[str],
) -> None:
    source = "\n".join(lines)
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    canonical = canonical_source(source)
    assert ast.dump(ast.parse(canonical)) == ast.dump(tree)
    assert canonical_source(canonical) == canonical


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text("aü€", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("abc"), json_values, max_size=4))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(turned)
    assert content_id(value) == content_id(turned)


def test_canonical_json_is_compact_sorted_and_utf8() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [math.nan]}])
def test_numbers_that_json_cannot_say_are_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": [{None: 1}]}, {"a": ({True: 1},)}])
def test_keys_that_json_would_turn_into_strings_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="keys are strings"):
        canonical_json(value)


def test_ids_have_a_fixed_length_and_stay_what_they_were() -> None:
    assert len(content_id({})) == len(source_id("x = 1")) == ID_LENGTH
    assert content_id({"kind": "trial", "seed": 1}) == "b6679998eab73f8f"
