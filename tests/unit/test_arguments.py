"""What constructors of foreign layers are given, and what is said where that is not enough."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from noctuary.lab import shipped
from noctuary.training.arguments import DoesNotFit, mixer_arguments
from noctuary.training.model import build_mixer, load_mixer


def given(constructor: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the arguments of a class with that constructor, at D = 64 with 4 heads."""
    return mixer_arguments(type("Layer", (nn.Module,), {"__init__": constructor}), 64, 4)


@pytest.mark.parametrize(
    ("constructor", "in_place", "named"),
    [
        (lambda self, d_model, n_heads=2: None, (), {"d_model": 64, "n_heads": 4}),
        (lambda self, d_model, n_heads=2, **knobs: None, (), {"d_model": 64, "n_heads": 4}),
        (lambda self, mode="chunk", hidden_size=9: None, (), {"hidden_size": 64}),
        (lambda self, width, expand=2: None, (64,), {}),
        (lambda self, width, /: None, (64,), {}),
        (lambda self, *args, **kwargs: None, (64,), {}),
        (lambda self, dim, heads, dim_head=9: None, (), {"dim": 64, "heads": 4, "dim_head": 16}),
        (lambda self, d_model, causal=False: None, (), {"d_model": 64, "causal": True}),
        (lambda self, d_model, layer_idx: None, (), {"d_model": 64, "layer_idx": 0}),
        (lambda self, d_model, layer_idx=None: None, (), {"d_model": 64, "layer_idx": 0}),
        (lambda self, d_model, layer_id: None, (), {"d_model": 64, "layer_id": 0}),
        (lambda self, d_model, layer=None: None, (), {"d_model": 64}),
        (lambda self, d_model, *, mode: None, (), {"d_model": 64, "mode": "chunk"}),
        (lambda self, width, num_heads, dropout: None, (64,), {"num_heads": 4, "dropout": 0.0}),
    ],
)
def test_arguments_by_contract_and_by_custom(
    constructor: Any, in_place: tuple[int, ...], named: dict[str, Any]
) -> None:
    assert given(constructor) == (in_place, named)


@pytest.mark.parametrize(
    ("constructor", "said"),
    [
        (lambda self, d_model, table, key: None, r"Layer\(d_model=64\) lacks table, key;"),
        (lambda self, d_model, *, table: None, "lacks table; give them defaults, or write a class"),
        (lambda self, config: None, r"Layer\(config\) takes no width; expected it as the first"),
        (lambda self, n_heads, head_dim: None, "takes no width"),
        (lambda self, layer_idx, width: None, "takes no width"),
        (lambda self: None, "takes no width"),
        (lambda self, **kwargs: None, "takes no width"),
    ],
)
def test_what_does_not_fit_is_said(constructor: Any, said: str) -> None:
    with pytest.raises(DoesNotFit, match=said):
        given(constructor)


class Picky(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % 3:
            raise ValueError("three parts")
        if d_model % 2:
            raise MemoryError


def test_a_constructor_that_objects_is_quoted_with_what_it_was_given() -> None:
    with pytest.raises(DoesNotFit, match=r"Picky\(d_model=64, n_heads=4\) raised ValueError: thr"):
        build_mixer(Picky, 64, 4)
    assert isinstance(build_mixer(Picky, 66, 4), Picky)
    with pytest.raises(MemoryError):  # is no matter of arguments
        build_mixer(Picky, 63, 4)


def test_the_mixers_that_ship_are_built_as_before() -> None:
    for path in sorted((shipped("architectures") / "human").glob("*.py")):
        mixer = load_mixer(path)
        assert mixer_arguments(mixer, 64, 2) == ((), {"d_model": 64, "n_heads": 2})


def test_layers_of_torch_are_built_as_causal_as_they_can_be() -> None:
    attention = build_mixer(nn.MultiheadAttention, 8, 2)
    assert isinstance(attention, nn.MultiheadAttention)
    assert attention.batch_first
    with pytest.raises(DoesNotFit, match="lacks out_features"):
        build_mixer(nn.Linear, 8, 2)


def test_a_missing_class_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        "from torch import nn\nfrom torch.nn import Linear\nclass A(nn.Module): ...\n"
        "class B(A): ...\nclass C: ...\n",
        encoding="utf-8",
    )
    assert issubclass(load_mixer(path, "B"), nn.Module)
    with pytest.raises(AttributeError, match=r"no class Mixer; its modules: A, B$"):
        load_mixer(path)
    with pytest.raises(TypeError, match=r"C is not a torch.nn.Module; those of the file: A, B$"):
        load_mixer(path, "C")
