"""The model around a mixer: embedding, pre-norm blocks, head; and its parameter budget.

Covers loading a mixer from its file, holding its outputs to their shape in every forward pass,
and solving for the feed-forward width that makes models with different mixers equally large.
Does not judge the mixer (`audit`).
"""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from noctuary.bench.suite import ModelShape
from noctuary.training.arguments import DoesNotFit, mixer_arguments, said

MISFITS = (TypeError, ValueError, AssertionError, AttributeError, LookupError, ImportError)
"""What constructors raise where their arguments do not suit them; what is about memory or disk is
left alone."""


class SizeMismatch(ValueError):
    """No feed-forward width brings the model to the parameter budget."""


class WrongOutput(RuntimeError):
    """A mixer returned something else than its input's shape in floating point."""


def load_mixer(path: Path, class_name: str = "Mixer") -> type[nn.Module]:
    """Execute a mixer file and return its class. For sandboxed processes only.

    Raises:
        AttributeError: the file defines no such class.
        Exception: whatever the file raises while it is executed.
    """
    name = f"noctuary_candidate_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    found = getattr(module, class_name, None)
    if found is None:
        raise AttributeError(
            f"the file defines no class {class_name}; its modules: {_modules_of(module)}"
        )
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise TypeError(
            f"{class_name} is not a torch.nn.Module; those of the file: {_modules_of(module)}"
        )
    return found


def _modules_of(module: ModuleType) -> str:
    """Name the mixers that a file could mean: the modules that it defines itself."""
    found = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    ]
    return ", ".join(found) or "none"


def build_mixer(
    mixer_class: type[nn.Module], d_model: int, n_heads: int, layer_idx: int = 0
) -> nn.Module:
    """Return a layer's mixer by the contract, or by the layer interface of foreign modules.

    Raises:
        DoesNotFit: the class cannot be built so; the message says what it was given.
    """
    in_place, named = mixer_arguments(mixer_class, d_model, n_heads, layer_idx)
    try:
        mixer = mixer_class(*in_place, **named)
    except MISFITS as error:
        needs = "; it needs a GPU" if any(word in str(error) for word in ("CUDA", "NVIDIA")) else ""
        raise DoesNotFit(
            f"{said(mixer_class, in_place, named)} raised {type(error).__name__}: {error}{needs}"
        ) from error
    if not isinstance(mixer, nn.Module):
        raise TypeError(f"{mixer_class.__name__} is not a torch.nn.Module")
    return mixer


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)); also adds up the mixers' auxiliary losses."""

    def __init__(self, mixer: nn.Module, d_model: int, ffn_width: int) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(d_model)
        self.mixer = mixer
        self.mlp_norm = nn.RMSNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, ffn_width, bias=False),
            nn.GELU(),
            nn.Linear(ffn_width, d_model, bias=False),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (B, T, D) -> (B, T, D), ()
        mixed = self.mixer(self.mixer_norm(x))
        auxiliary = x.new_zeros(())
        if isinstance(mixed, tuple):
            # the layers of others return caches or nothing in the second place
            if len(mixed) > 1 and _is_scalar(mixed[1]):
                auxiliary = mixed[1].reshape(())
            mixed = mixed[0] if mixed else None
        _require_like(x, mixed)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), auxiliary


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()


def _require_like(x: Tensor, mixed: object) -> None:
    """Raise WrongOutput unless the mixer's output adds to the stream x: (B, T, D)."""
    if isinstance(mixed, Tensor) and mixed.shape == x.shape:
        if mixed.dtype == x.dtype:
            return
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and mixed.dtype == torch.get_autocast_dtype(kind):
            return
    seen = type(mixed).__name__
    if isinstance(mixed, Tensor):
        seen = f"{tuple(mixed.shape)} {mixed.dtype}"
    raise WrongOutput(f"the mixer returned {seen}; expected {tuple(x.shape)} {x.dtype}")


class SequenceModel(nn.Module):
    """A small language model: maps tokens (B, T) to logits (B, T, V) and an auxiliary loss ()."""

    def __init__(
        self, mixer_class: type[nn.Module], shape: ModelShape, vocab_size: int, ffn_width: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, shape.d_model)
        self.blocks = nn.ModuleList(
            Block(mixer, shape.d_model, ffn_width) for mixer in _mixers(mixer_class, shape)
        )
        self.norm = nn.RMSNorm(shape.d_model)
        self.head = nn.Linear(shape.d_model, vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(tokens)  # (B, T, D)
        auxiliary = x.new_zeros(())
        for block in self.blocks:
            x, extra = block(x)
            auxiliary = auxiliary + extra
        return self.head(self.norm(x)), auxiliary


def _mixers(mixer_class: type[nn.Module], shape: ModelShape) -> Iterator[nn.Module]:
    """Build the mixer of each layer in turn."""
    for layer in range(shape.n_layers):
        yield build_mixer(mixer_class, shape.d_model, shape.n_heads, layer)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def solve_ffn_width(mixer_class: type[nn.Module], shape: ModelShape) -> tuple[int, int]:
    """Return the feed-forward width at which the backbone meets the budget, and its parameters.

    Raises:
        SizeMismatch: the mixer leaves no room, or no width comes within the tolerance.
    """
    mixers = sum(count_parameters(mixer) for mixer in _mixers(mixer_class, shape))
    # a block has its mixer, two norms of D, and two matrices of D x width; plus the last norm
    fixed = mixers + (2 * shape.n_layers + 1) * shape.d_model
    per_width = shape.n_layers * 2 * shape.d_model
    width = round((shape.parameter_budget - fixed) / per_width)
    if width < 1:
        raise SizeMismatch(
            f"the mixers of {shape.n_layers} layers have {mixers} parameters, which leaves no room "
            f"for feed-forward layers in a budget of {shape.parameter_budget}"
        )
    total = fixed + per_width * width
    if abs(total - shape.parameter_budget) > shape.tolerance * shape.parameter_budget:
        raise SizeMismatch(
            f"the nearest width gives {total} parameters; expected {shape.parameter_budget} "
            f"within {shape.tolerance:.0%}"
        )
    return width, total


def build_model(
    mixer_class: type[nn.Module], shape: ModelShape, vocab_size: int, ffn_width: int, seed: int
) -> SequenceModel:
    """Return the model with parameters drawn from the seed."""
    torch.manual_seed(seed)
    return SequenceModel(mixer_class, shape, vocab_size, ffn_width)
