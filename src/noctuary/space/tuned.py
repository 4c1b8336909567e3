"""The published mixers in the forms that do best at a small scale, as points of the design space.

A rival that was never tuned is no rival: at these sizes a short convolution makes additive
mixers recall, and an output gate slows recall down. The files in `architectures/human/tuned`
are rendered from this list by `python -m noctuary.space.tuned`; a test holds the two together.
"""

from pathlib import Path
from typing import NamedTuple

from noctuary.lab import shipped, write_atomically
from noctuary.space.genome import Genome
from noctuary.space.render import render


class TunedForm(NamedTuple):
    """A variant of a published mixer.

    Attributes:
        published: name of the file in `architectures/human` that it is a form of.
        change: what differs from the published form, in words.
    """

    name: str
    published: str
    change: str
    source: str
    genome: Genome


def _form(
    name: str, published: str, change: str, source: str, base: dict[str, str], **axes: str
) -> TunedForm:
    return TunedForm(name, published, change, source, Genome.model_validate({**base, **axes}))


_ADDITIVE = {"short_conv": "conv4", "output_norm": "rms"}
_DELTA = {
    **_ADDITIVE,
    "feature_map": "silu",
    "update": "delta",
    "beta_range": "unit",
    "qk_norm": "l2",
}
_SCALAR = {"decay": "scalar", "decay_form": "softplus", "decay_init": "spread"}
_VECTOR = {"decay": "vector", "decay_form": "sigmoid16", "decay_init": "plain"}

TUNED: tuple[TunedForm, ...] = (
    _form(
        "linear_attention_conv",
        "linear_attention",
        "with a short convolution",
        "2006.16236",
        _ADDITIVE,
        feature_map="elu",
    ),
    _form(
        "retnet_conv",
        "retnet",
        "with a short convolution and without its output gate",
        "2307.08621",
        _ADDITIVE,
        decay="fixed",
        decay_init="spread",
    ),
    _form(
        "gla_conv",
        "gla",
        "with a short convolution and without its output gate",
        "2312.06635",
        {**_ADDITIVE, **_VECTOR},
    ),
    _form(
        "mamba2_no_gate",
        "mamba2",
        "reduced to its recurrence: a scalar gate per head, no output gate, no skip",
        "2405.21060",
        {**_ADDITIVE, **_SCALAR},
        feature_map="silu",
    ),
    _form(
        "delta_net_no_conv",
        "delta_net",
        "without its short convolution",
        "2406.06484",
        _DELTA,
        short_conv="none",
    ),
    _form(
        "gated_delta_net_no_gate",
        "gated_delta_net",
        "without its output gate",
        "2412.06464",
        {**_DELTA, **_SCALAR},
    ),
    _form(
        "gated_delta_net_identity_gate",
        "gated_delta_net",
        "with an output gate that starts as the identity",
        "2412.06464",
        {**_DELTA, **_SCALAR},
        output_gate="sigmoid",
        gate_init="open",
    ),
    _form(
        "gated_delta_net_neg_no_gate",
        "gated_delta_net_neg",
        "without its output gate",
        "2411.12537",
        {**_DELTA, **_SCALAR},
        beta_range="double",
    ),
    _form(
        "kimi_delta_no_gate",
        "kimi_delta",
        "reduced to its recurrence: gates per channel as in GLA, no output gate",
        "2510.26692",
        {**_DELTA, **_VECTOR},
    ),
)


def tuned_source(form: TunedForm) -> str:
    """Return the Python source of a tuned form."""
    return render(
        form.genome,
        name=f"{form.name}: {form.published} {form.change}.",
        idea=(
            "A human baseline in a form that suits small models and short training, so that a "
            "new design is not held against a rival that was never tuned."
        ),
        sources=[form.source],
    )


def write_tuned(folder: Path) -> None:
    for form in TUNED:
        write_atomically(folder / f"{form.name}.py", tuned_source(form))


if __name__ == "__main__":
    write_tuned(shipped("architectures") / "human" / "tuned")
