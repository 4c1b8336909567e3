"""What a mixer's constructor is given: by the contract, and by the customs of published layers.

Covers the names that width, heads, layer and the like go by, and values for arguments that a class
demands beside them. Does not know what a module does with them, and tries each class once: what
does not fit is said, with what was given, and is mended by a small `class Mixer` around it.
"""

import inspect
from typing import Any

WIDTHS = ("d_model", "hidden_size", "dim", "embed_dim", "n_embd")
"""Names of the width; where a class has none of them, its first argument is the width."""
HEADS = ("n_heads", "num_heads", "heads", "n_head", "nheads", "nhead", "num_attention_heads")
HEAD_WIDTHS = ("head_dim", "dim_head", "d_head", "headdim", "head_size")
"""Given as D / H, so that heads of a published size do not outgrow a small model."""
LAYER = "layer_idx"
"""Given wherever a class has it: by it the mixers of a model may differ from layer to layer."""
LAYERS = ("layer_id", "layer_index", "layer")
"""Other names of the same, given where a class demands them."""
SWITCHES: dict[str, Any] = {"causal": True, "is_causal": True, "batch_first": True}
"""Given wherever a class has them: these say what a mixer is here."""
LONGEST = 4096

DEMANDED: dict[str, Any] = {
    **dict.fromkeys(("n_layers", "num_layers", "n_layer", "num_hidden_layers"), 2),
    **dict.fromkeys(("dropout", "attn_dropout", "dropout_p", "drop", "drop_path"), 0.0),
    **dict.fromkeys(("bias", "use_bias", "qkv_bias", "conv_bias"), False),
    **dict.fromkeys(
        ("max_seq_len", "max_length", "max_len", "seq_len", "block_size", "context_length"),
        LONGEST,
    ),
    **dict.fromkeys(("max_position_embeddings", "l_max"), LONGEST),
    **dict.fromkeys(("eps", "norm_eps", "layer_norm_eps"), 1e-5),
    **dict.fromkeys(("d_state", "state_size", "d_conv_state"), 16),
    **dict.fromkeys(("d_conv", "conv_size", "conv_kernel", "kernel_size"), 4),
    **dict.fromkeys(("expand", "expand_k", "expand_v", "expand_ratio"), 1),
    **dict.fromkeys(("chunk_size", "chunk_len"), 64),
    "mode": "chunk",
}
"""Values for arguments that have no default; those that have one keep it."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_IN_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


class DoesNotFit(TypeError):
    """A class cannot be built as a mixer of that width; the message says what it was given."""


def mixer_arguments(
    mixer_class: type, d_model: int, n_heads: int, layer_idx: int = 0
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the positional and the named arguments of a layer's mixer, of width D with H heads.

    Raises:
        DoesNotFit: it takes no width, or demands arguments that nobody here knows.
    """
    try:
        known = inspect.signature(mixer_class).parameters
    except ValueError:  # written in C
        return (d_model,), {}
    named: dict[str, Any] = {}
    for names, value in ((WIDTHS, d_model), (HEADS, n_heads), (HEAD_WIDTHS, d_model // n_heads)):
        chosen = next((name for name in names if _takes(known, name)), None)
        if chosen is not None:
            named[chosen] = value
    fixed = {**SWITCHES, LAYER: layer_idx}
    named |= {name: value for name, value in fixed.items() if _takes(known, name)}
    values = {**DEMANDED, **dict.fromkeys(LAYERS, layer_idx)}
    in_place: tuple[int, ...] = ()
    first = next(iter(known.values()), None)
    if not any(name in named for name in WIDTHS):
        if first is None or first.name in {*named, *values} or not _may_come_first(first):
            raise DoesNotFit(
                f"{mixer_class.__name__}{inspect.signature(mixer_class)} takes no width; expected "
                f"it as the first argument, or as one of {', '.join(WIDTHS)}"
            )
        in_place = (d_model,)
    given = {first.name} if in_place and first is not None else set()
    demanded = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty
        and parameter.kind in (*_NAMED, inspect.Parameter.POSITIONAL_ONLY)
        and name not in {*named, *given}
    ]
    unknown = [name for name in demanded if name not in values]
    if unknown:
        shown = said(mixer_class, in_place, named)
        raise DoesNotFit(
            f"{shown} lacks {', '.join(unknown)}; give them defaults, or write a class "
            "Mixer(d_model, n_heads) around it"
        )
    return in_place, named | {name: values[name] for name in demanded}


def takes_layer(mixer_class: type) -> bool:
    """Whether the mixers of a model may differ: the class is told its layer."""
    try:
        return _takes(inspect.signature(mixer_class).parameters, LAYER)
    except ValueError:  # written in C
        return False


def said(mixer_class: type, in_place: tuple[int, ...], named: dict[str, Any]) -> str:
    """Return the call of a constructor as it would be written."""
    parts = [*map(repr, in_place), *(f"{name}={value!r}" for name, value in named.items())]
    return f"{mixer_class.__name__}({', '.join(parts)})"


def _takes(known: Any, name: str) -> bool:
    return name in known and known[name].kind in _NAMED


def _may_come_first(parameter: inspect.Parameter) -> bool:
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return parameter.kind in (*_IN_PLACE, plain) and parameter.name not in ("config", "cfg")
