"""Writes a genome as Python: one self-contained file by the mixer contract.

Covers the text of a candidate and of its docstring. The code itself is in `mixer.py.jinja`; it
holds only what the genome asks for. Does not judge the result (`audit`) and does not run it.
"""

import functools
import textwrap
from collections.abc import Sequence

import jinja2

from noctuary.space.genome import Genome

WIDTH = 100
"""Longest line of a rendered file."""


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
        recurrence=recurrence(genome),
        genome=genome.axes,
        feature=genome.feature_map,
        decay=genome.decay,
        delta=genome.update == "delta",
        double=genome.beta_range == "double",
        conv=genome.short_conv == "conv4",
        l2=genome.qk_norm == "l2",
        gate=genome.output_gate,
        norm=genome.output_norm == "rms",
    )


def recurrence(genome: Genome) -> list[str]:
    """Return the formulas of a genome, one a line; S has a row per key channel."""
    alpha = {
        "none": "",
        "fixed": "gamma ",
        "scalar": "alpha_t ",
        "vector": "diag(alpha_t) ",
    }[genome.decay]
    features = {
        "identity": "",
        "elu": "elu(.) + 1",
        "relu": "relu(.)",
        "silu": "silu(.)",
        "softmax": "softmax(.)",
    }[genome.feature_map]
    if genome.update == "delta":
        lines = [f"S_t = (I - beta_t k_t k_t^T) {alpha}S_(t-1) + beta_t k_t v_t^T"]
    else:
        lines = [f"S_t = {alpha}S_(t-1) + k_t v_t^T"]
    lines.append("o_t = S_t^T q_t / sqrt(K)")
    made_of = ["a causal convolution of width 4"] if genome.short_conv == "conv4" else []
    made_of += [features] if features else []
    made_of += ["an L2 norm"] if genome.qk_norm == "l2" else []
    lines.append(f"q, k: a projection{''.join(f', then {part}' for part in made_of)}")
    if genome.short_conv == "conv4":
        lines.append("v:    a projection, then a causal convolution of width 4, then silu(.)")
    if genome.decay == "fixed":
        lines.append("gamma = 1 - 2^(-5 - h) for head h")
    elif genome.decay == "scalar":
        lines.append("alpha_t = exp(-exp(log_rate) softplus(W_a x_t + decay_bias)), one per head")
    elif genome.decay == "vector":
        lines.append("alpha_t = sigmoid(W_2 W_1 x_t + b)^(1/16), one per channel of k")
    if genome.update == "delta":
        twice = "2 " if genome.beta_range == "double" else ""
        lines.append(f"beta_t = {twice}sigmoid(W_b x_t), one per head")
    read = "rms(o_t)" if genome.output_norm == "rms" else "o_t"
    gated = {
        "none": read,
        "sigmoid": f"({read} * sigmoid(W_g x_t))",
        "silu": f"({read} * silu(W_g x_t))",
        "identity": f"({read} * 2 sigmoid(W_g x_t)), where W_g is 0 at first",
    }[genome.output_gate]
    lines.append(f"y_t = W_o {gated}")
    return lines


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noctuary", "space"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # the output is Python; what comes from outside goes through _quoted
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("mixer.py.jinja")


def _docstring(genome: Genome, *, name: str, idea: str, sources: Sequence[str], gap: str) -> str:
    known = ", ".join(f"arXiv:{source.removeprefix('arxiv:')}" for source in sources) or "none"
    step = "the state and three tokens" if genome.short_conv == "conv4" else "the state"
    paragraphs = [
        name,
        idea,
        f"Made for the gap: {gap}" if gap else "",
        f"Sources: {known}",
        "Cost: O(T) time and memory. Tokens are worked on in parallel in chunks, which cost "
        f"T * CHUNK * D; only a state per head goes from chunk to chunk. `step` keeps {step}, "
        "O(1) a token.",
    ]
    lines = [textwrap.fill(_quoted(part), WIDTH - len('"""')) for part in paragraphs if part]
    text = "\n\n".join(lines)
    return f'"""{text}\n"""'


def _quoted(text: str) -> str:
    """Return prose that cannot end the docstring or escape anything, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split()).replace("\\", "/").replace('"', "'")
