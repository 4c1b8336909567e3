"""Writes a genome as Python: one self-contained file by the mixer contract.

Covers the text of a candidate and of its docstring. The code itself is in `templates`, a file for
each part of a mixer; it holds only what the genome asks for. The formulas are in `formulas`. Does
not judge the result (`audit`) and does not run it.
"""

import functools
import textwrap
from collections.abc import Sequence
from typing import Any

import jinja2

from noctuary.space.formulas import formulas
from noctuary.space.genome import Genome

WIDTH = 100
"""Longest line of a rendered file."""

_METHOD = 8
"""Indentation of the body of a method."""

_STEPS = {"one": 1, "two": 2, "three": 3}
_STARTS = {"slow": "1e-3", "medium": "1e-2", "fast": "1e-1"}
"""First -log alpha of decays that all start alike."""


def render(genome: Genome, *, name: str, idea: str, sources: Sequence[str], gap: str = "") -> str:
    """Return the Python source of the mixer that the genome describes.

    Args:
        name: what people call it; the first line of the docstring.
        idea: the motivation, in prose.
        sources: arXiv ids of the mechanisms' papers.
        gap: the research question that it was made for; empty where there was none.
    """
    return _template().render(
        docstring=_docstring(genome, name=name, idea=idea, sources=sources, gap=gap),
        formulas=_wrapped(formulas(genome)),
        genome=genome,
        **_choices(genome),
        **_sizes(genome),
        **_calls(genome),
    )


def _choices(genome: Genome) -> dict[str, Any]:
    """Return what the templates ask for, by the names that they use."""
    return {
        "update": genome.update,
        "general": genome.update == "general_delta",
        "steps": _STEPS[genome.delta_steps],
        "double": genome.beta_range == "double",
        "beta_init": genome.beta_init,
        "beta_bias": {
            "plain": "",
            "low": "-math.log(9)",
            "high": "math.log(9)",
        }[genome.beta_init],
        "input_gate": genome.input_gate,
        "complement": genome.input_gate == "complement",
        "decay": genome.decay,
        "form": genome.decay_form,
        "decay_init": genome.decay_init,
        "start": _STARTS.get(genome.decay_init, ""),
        "bounded_rate": genome.decay_form == "exponential",
        "bias_of_rates": {
            "softplus": "rates.expm1().log()",
            "sigmoid16": "torch.logit(torch.exp(-16 * rates))",
            "exponential": "torch.logit(rates / FASTEST)",
        }.get(genome.decay_form, ""),
        "feature": genome.feature_map,
        "taylor": genome.feature_map == "taylor",
        "l2": genome.qk_norm == "l2",
        "scaled": genome.input_gate == "none" and genome.update != "general_delta",
        "rotary": genome.position == "rotary",
        "conv": genome.short_conv,
        "blend": genome.token_shift == "blend",
        "heads": genome.heads,
        "value_skip": genome.value_skip,
        "norm": genome.output_norm,
        "gate": genome.output_gate,
        "low_rank": genome.gate_rank == "low",
        "open_gate": genome.gate_init == "open",
        "gate_before": genome.gate_place == "before",
        "window": genome.local_window != "none",
        "alternate": genome.layer_pattern == "alternate",
        "beside": _beside(genome),
        "fusion": genome.fusion == "gate",
        "recurrent": "Recurrence" if genome.layer_pattern == "alternate" else "Mixer",
        "needs_math": _needs_math(genome),
    }


def _needs_math(genome: Genome) -> bool:
    return (
        genome.decay_form == "exponential"
        or genome.beta_init != "plain"
        or genome.decay_init == "random"
        or (genome.decay == "fixed" and genome.decay_init != "spread")
    )


def _beside(genome: Genome) -> bool:
    """Whether each layer has both branches, the recurrence and the local window."""
    return genome.local_window != "none" and genome.layer_pattern == "same"


def _sizes(genome: Genome) -> dict[str, Any]:
    """Return widths as they are written in the code, and as they are called in its comments."""
    taylor, half = genome.feature_map == "taylor", genome.state_size == "half"
    steps = _STEPS[genome.delta_steps]
    square = not taylor and not half
    key_width = "n_heads * FEATURES" if taylor else "d_model // 2" if half else "d_model"
    times = "STEPS * " if steps > 1 else ""
    inner = f"{times}({key_width})" if times and half else f"{times}{key_width}"
    widths = f"({key_width}, {inner}, {times}d_model)"
    if square:
        total = "(1 + 2 * STEPS) * d_model" if steps > 1 else "3 * d_model"
    else:
        total = "sum(self.widths)"
    V = "K" if square else "V"
    even_keys = genome.position == "rotary"
    even_values = genome.local_window != "none"
    K_is = "" if square else ", K = 45" if taylor else ", K = V / 2"
    return {
        "chunk": 16 if genome.decay == "vector" or steps > 1 else 32,
        "square": square,
        "V": V,
        "W": f"{V} + 1" if genome.output_norm == "sum" else V,
        "state_shape": f"K x {V} state S per head, {V} = D / H{K_is}",
        "multiple": max(2 if even_values else 1, (2 if half else 1) * (2 if even_keys else 1)),
        "key_width": key_width,
        "widths": "" if square and steps == 1 else widths,
        "total": total,
        "projections": (("q", key_width), ("k", inner), ("v", f"{times}d_model")),
        "head_key": "d_model // n_heads // 2" if half else "d_model // n_heads",
        "names_K": genome.position == "rotary"
        or genome.update == "general_delta"
        or genome.value_skip == "bonus"
        or (genome.decay == "vector" and genome.decay_init == "spread"),
    }


def _calls(genome: Genome) -> dict[str, Any]:
    """Return what the methods of the mixer hand to each other."""
    learnt = genome.decay in ("scalar", "vector") and genome.input_gate == "none"
    gated, blend = genome.output_gate != "none", genome.token_shift == "blend"
    own, beside = genome.value_skip != "none", _beside(genome)
    streams = ["q", "k", "v", *(["decay"] if learnt else [])]
    streams += {"additive": [], "delta": ["beta"], "general_delta": ["rate"]}[genome.update]
    streams += ["dt"] if genome.input_gate == "step" else []
    streams += ["gate"] if gated else []

    parameters, arguments, step_arguments = ["o"], ["o"], ["o"]
    if own:
        parameters, arguments = [*parameters, "own"], [*arguments, "own[:, :T]"]
        step_arguments.append("own")
    if gated and blend:
        parameters, arguments = [*parameters, "for_gate"], [*arguments, "for_gate[:, :T]"]
        step_arguments.append("for_gate")
    if (gated and not blend) or genome.fusion == "gate":
        parameters, arguments = [*parameters, "x"], [*arguments, "x"]
        step_arguments.append("x_t")
    if beside:
        parameters, arguments = [*parameters, "local"], [*arguments, "self.window(x)"]
        step_arguments.append("local")

    conv = genome.short_conv
    taps = {"multi_scale": "twelve"}.get(conv, "three")
    state = [("S", "S", "S")]
    if conv != "none":
        state.append(("recent", "window[:, 1:]", f"the last {taps} qkv"))
    if blend:
        state.append(("before", "x_t", "the token"))
    if genome.position == "rotary":
        state.append(("position", "position + 1", "the next position"))
    if beside:
        state.append(("local", "last", "what the window keeps"))
    words = [word for _, _, word in state]
    return {
        "streams": streams,
        "stream_names": ", ".join(f"for_{stream}" for stream in streams),
        "merge_parameters": ", ".join(f"{name}: Tensor" for name in parameters),
        "merge_arguments": ", ".join(arguments),
        "step_merge_arguments": ", ".join(step_arguments),
        "state_parts": [part for part, _, _ in state],
        "next_state": ", ".join(value for _, value, _ in state),
        "step_docstring": _step_docstring(words),
        "direct": not own
        and genome.update != "general_delta"
        and genome.output_norm != "sum"
        and genome.input_gate != "step",
        "chunked": "q, k, v, log_alpha" if genome.input_gate == "complement" else "q, k, v",
        "chunked_shapes": _chunked_shapes(genome),
    }


def _step_docstring(words: list[str]) -> list[str]:
    """Return the docstring of `step`, which names the parts of the state, on as few lines."""
    listed = _listed(words)
    line = f'"""Mix one token, (B, D) -> (B, D); the state is {listed}."""'
    if len(line) <= WIDTH - _METHOD:
        return [line]
    said = textwrap.wrap(f"The state is {listed}.", WIDTH - _METHOD)
    return ['"""Mix one token, (B, D) -> (B, D).', "", *said, '"""']


def _chunked_shapes(genome: Genome) -> str:
    square = genome.feature_map != "taylor" and genome.state_size == "full"
    if genome.delta_steps != "one":
        return f"(B, H, N, C, K), k and v (B, H, N, C n, {'K' if square else 'K or V'})"
    return f"(B, H, N, C, {'K' if square else 'K or V'})"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noctuary.space"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # the output is Python; what comes from outside goes through _quoted
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("mixer.py.jinja")


def _docstring(genome: Genome, *, name: str, idea: str, sources: Sequence[str], gap: str) -> str:
    known = ", ".join(f"arXiv:{source.removeprefix('arxiv:')}" for source in sources) or "none"
    kept = ["the state"]
    if genome.short_conv != "none":
        kept.append("twelve tokens" if genome.short_conv == "multi_scale" else "three tokens")
    elif genome.token_shift != "none":
        kept.append("one token")
    if genome.local_window != "none":
        kept.append("the keys and values of the window")
    paragraphs = [
        name,
        idea,
        f"Made for the gap: {gap}" if gap else "",
        f"Sources: {known}",
        "Cost: O(T) time and memory. Tokens are worked on in parallel in chunks, which cost "
        f"T * CHUNK * D; only a state per head goes from chunk to chunk. `step` keeps "
        f"{_listed(kept)}, O(1) a token.",
    ]
    lines = [
        textwrap.fill(_quoted(part), WIDTH - len('"""'), break_on_hyphens=False)
        for part in paragraphs
        if part
    ]
    text = "\n\n".join(lines)
    return f'"""{text}\n"""'


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Return the lines of a class docstring, the long ones broken."""
    fit = functools.partial(textwrap.wrap, width=WIDTH - 4, subsequent_indent="    ")
    return [part for line in lines for part in fit(line)]


def _quoted(text: str) -> str:
    """Return prose that cannot end the docstring or escape anything, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split()).replace("\\", "/").replace('"', "'")
