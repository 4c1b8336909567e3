"""The byte-level tokenizer of a language model on bytes: a token is a byte of UTF-8.

Any text comes back from its tokens exactly, and any bytes have tokens: their values. Byte 0, which
is in no text to speak of, pads, and ends a text; in a text it is a byte like any other. The files
are in the form of Hugging Face's `tokenizers`; that package is not needed to write them.
"""

import json
from typing import Any

FILES = ("tokenizer.json", "tokenizer_config.json")
SPECIAL_BYTE = 0


def letters() -> tuple[str, ...]:
    """Return the printable letter that stands for each byte in `tokenizers`, as GPT-2 has them.

    Printable bytes of Latin-1 stand for themselves, the others for the letters from 256 on.
    """
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in own else next(others)) for byte in range(256))


def tokenizer_files() -> dict[str, str]:
    """Return file name -> content."""
    special = letters()[SPECIAL_BYTE]
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": SPECIAL_BYTE,
                "content": special,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "normalizer": None,
        "pre_tokenizer": {**by_bytes, "use_regex": False},
        "post_processor": None,
        "decoder": {**by_bytes, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {letter: byte for byte, letter in enumerate(letters())},
            "merges": [],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left",
        "pad_token": special,
        "eos_token": special,
        "split_special_tokens": True,  # that letter in a text is not byte 0
        "clean_up_tokenization_spaces": False,
    }
    return {name: _json(value) for name, value in zip(FILES, (tokenizer, config), strict=True)}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
