"""The tokenizer of exported language models, read by transformers: a token is a byte of UTF-8."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from noctuary.export.tokenizer import letters, tokenizer_files


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("tokenizer")
    for name, content in tokenizer_files().items():
        (folder / name).write_text(content, encoding="utf-8")
    return PreTrainedTokenizerFast.from_pretrained(folder)


@given(text=st.text())
def test_any_text_is_its_bytes_and_comes_back(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids == list(text.encode("utf-8"))
    assert tokenizer.decode(ids) == text


@given(text=st.text(st.sampled_from(letters())))
def test_what_the_file_calls_a_token_is_text_like_any_other(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids == list(text.encode("utf-8"))
    assert tokenizer.decode(ids) == text


def test_every_byte_has_the_token_of_its_value(tokenizer: PreTrainedTokenizerFast) -> None:
    assert sorted(tokenizer.get_vocab().values()) == list(range(256))
    assert tokenizer.decode(list("café".encode())) == "café"
    assert tokenizer.decode([0xC3]) == "\ufffd"


def test_texts_are_padded_before_their_beginning(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    padded = tokenizer(["abc", "d"], padding=True)
    assert padded["input_ids"] == [[97, 98, 99], [0, 0, 100]]
    assert padded["attention_mask"] == [[1, 1, 1], [0, 0, 1]]


def test_it_is_the_same_when_it_was_saved(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = f"{letters()[0]} is no NUL, \0 is one"
    assert again(text)["input_ids"] == list(text.encode("utf-8"))
