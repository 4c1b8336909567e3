"""A small language model around one token mixer: embedding, pre-norm blocks, head.

The forward pass works on all tokens in parallel. `generate` goes token by token where the mixer
has `step`, from a state whose size is the mixer's own (for recurrent mixers it does not grow with
the text); where it has none, every new token is computed from the whole text before it.

Padding on either side is told apart by `attention_mask` and has no influence on the rest. Beam
search and assisted generation need states that can be taken apart: use them with
`use_cache=False`. Needs torch, einops and transformers 5.24 or newer, and nothing else.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_noctuary import NoctuaryConfig
from .mixer import Mixer
from .mixer_arguments import mixer_arguments


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: NoctuaryConfig, layer: int) -> None:
        super().__init__()
        D, W = config.d_model, config.ffn_width
        in_place, named = mixer_arguments(Mixer, D, config.n_heads, layer)
        self.mixer_norm = nn.RMSNorm(D)
        self.mixer = Mixer(*in_place, **named)
        self.mlp_norm = nn.RMSNorm(D)
        self.mlp = nn.Sequential(
            nn.Linear(D, W, bias=False), nn.GELU(), nn.Linear(W, D, bias=False)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map all tokens, and return the mixer's auxiliary loss: (B, T, D) -> (B, T, D), ()."""
        mixed = self.mixer(self.mixer_norm(x))
        auxiliary = x.new_zeros(())
        if isinstance(mixed, tuple):
            if len(mixed) > 1 and _is_scalar(mixed[1]):
                auxiliary = mixed[1].reshape(())
            mixed = mixed[0]
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), auxiliary

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map one token and the mixer's state: (B, D) -> (B, D)."""
        mixed, state = self.mixer.step(self.mixer_norm(x_t), state)
        x_t = x_t + mixed
        return x_t + self.mlp(self.mlp_norm(x_t)), state


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()


@dataclass
class Rows:
    """Rows of a batch whose text begins at the same place, and the states of their layers.

    What is in a state is the mixer's own affair, positions for example: so rows that begin at
    different places are stepped through apart.
    """

    begin: int
    index: Tensor
    states: list[Any]


class MixerStates(Cache):
    """What the mixers carry from token to token, in the place of keys and values.

    Attributes:
        length: tokens so far, padding included.
    """

    def __init__(self, begins: Tensor, n_layers: int) -> None:
        super().__init__(layers=[])
        self.length = 0
        self.rows = [
            Rows(int(begin), (begins == begin).nonzero().squeeze(1), [None] * n_layers)
            for begin in begins.unique()
        ]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    @property
    def is_linear(self) -> list[bool]:
        """Say that what the cache has seen is not to be given again."""
        return [False]

    @property
    def is_croppable(self) -> bool:
        return False

    def _refuse(self, *_arguments: Any, **_named: Any) -> None:
        raise ValueError(
            "the states of a mixer cannot be cropped, or moved between rows; expected greedy "
            "search or sampling: use generate(..., use_cache=False) for what else there is"
        )

    crop = reorder_cache = batch_repeat_interleave = batch_select_indices = _refuse


class NoctuaryForCausalLM(PreTrainedModel, GenerationMixin):
    """Maps tokens (B, T) to logits (B, T, V); the names of its weights are those of the trial."""

    config_class = NoctuaryConfig
    _no_split_modules = ["Block"]  # noqa: RUF012 - as transformers has it
    _is_stateful = True

    def __init__(self, config: NoctuaryConfig) -> None:
        super().__init__(config)
        # transformers builds models without memory and fills in what was saved. A mixer may
        # compute what is not saved, so it is built where numbers exist.
        with torch.device("cpu"):
            self.embedding = nn.Embedding(config.vocab_size, config.d_model)
            self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
            self.norm = nn.RMSNorm(config.d_model)
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        for module in self.modules():
            module._unsaved = {
                name: module.get_buffer(name).clone()
                for name in module._non_persistent_buffers_set
                if module._buffers[name] is not None
            }
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Put back the buffers that are not saved, which loading empties; the rest is as built."""
        for name, values in getattr(module, "_unsaved", {}).items():
            module.get_buffer(name).copy_(values)

    @property
    def has_step(self) -> bool:
        """Whether every layer can go from token to token."""
        return all(callable(getattr(block.mixer, "step", None)) for block in self.blocks)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embedding = value

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.head = new_embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        cache: MixerStates | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast | tuple:
        """Return logits (B, T, V) and, where labels (B, T) are given, the loss.

        Args:
            attention_mask: (B, T), or (B, tokens so far + T); 1 for text, 0 for padding.
            use_cache: go token by token and return the states; in parallel unless asked to.
            labels: the tokens again, -100 where a token is not to be learnt.
            logits_to_keep: of the last tokens; 0 for all.
        """
        auxiliary = None
        if cache is not None or (use_cache and self.has_step):
            if cache is None:
                cache = MixerStates(_begins(input_ids, attention_mask), self.config.n_layers)
            _require_text_at_the_end(input_ids, attention_mask, cache)
            x = self._step_by_step(input_ids, cache)
        else:
            x, auxiliary = self._in_parallel(input_ids, _begins(input_ids, attention_mask))
        logits = self.head(self.norm(x[:, -logits_to_keep:]))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            loss = loss if auxiliary is None else loss + auxiliary
        output = CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)
        return output.to_tuple() if return_dict is False else output

    def _in_parallel(self, tokens: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T, D), and the auxiliary loss: each row is turned until its text comes first.

        What then follows the text has no influence on it, since mixers are causal.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        turned = (places + begins[:, None]) % len(places)  # (B, T)
        x = self.embedding(tokens.gather(1, turned))
        auxiliary = x.new_zeros(())
        for block in self.blocks:
            x, extra = block(x)
            auxiliary = auxiliary + extra
        back = (places - begins[:, None]) % len(places)
        return x.gather(1, back[:, :, None].expand_as(x)), auxiliary

    def _step_by_step(self, tokens: Tensor, cache: MixerStates) -> Tensor:
        """Return (B, T, D), zero where there is padding, and take the states along."""
        x = self.embedding(tokens)
        mapped = torch.zeros_like(x)
        for rows in cache.rows:
            for t in range(max(0, rows.begin - cache.length), tokens.shape[1]):
                x_t = x[rows.index, t]
                for layer, block in enumerate(self.blocks):
                    x_t, rows.states[layer] = block.step(x_t, rows.states[layer])
                mapped[rows.index, t] = x_t
        cache.length += tokens.shape[1]
        return mapped

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        cache: MixerStates | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Give the model the new tokens where it has states, else all of them."""
        if cache is None:
            next_sequence_length = None
        return super().prepare_inputs_for_generation(
            input_ids, next_sequence_length=next_sequence_length, cache=cache, **kwargs
        )

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """Say that no keys and values are kept: the first forward pass makes the states."""
        return False


def _begins(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return where the text of each row begins: (B,).

    Raises:
        ValueError: the mask is of another shape, or a row has padding inside its text.
    """
    if mask is None:
        return tokens.new_zeros(len(tokens))
    if mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask is {tuple(mask.shape)}; expected {tuple(tokens.shape)}, 1 for text "
            "and 0 for padding"
        )
    text = mask.bool()
    begins, places = text.int().argmax(1), torch.arange(text.shape[1], device=mask.device)
    inside = (places >= begins[:, None]) & (places < (begins + text.sum(1))[:, None])
    if not torch.equal(inside, text):
        rows = (inside != text).any(1).nonzero().flatten().tolist()
        raise ValueError(
            f"attention_mask has padding inside the text of rows {rows}; expected it before or "
            "behind the text alone"
        )
    return begins


def _require_text_at_the_end(tokens: Tensor, mask: Tensor | None, cache: MixerStates) -> None:
    """Refuse padding behind the text: it would be stepped through like text."""
    new = None if mask is None else mask[:, -tokens.shape[1] :]
    late = new is not None and not new[:, -1].all()
    if late or (new is not None and cache.length and not new.all()):
        raise ValueError(
            "attention_mask has padding behind the text; expected it before the text where states "
            "are carried on: set padding_side='left' in the tokenizer"
        )
