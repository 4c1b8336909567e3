"""The published mixers as points of the design space.

Every human baseline of `architectures/human` is here but softmax attention, which is quadratic
in T and no recurrence. A test holds the files, their genomes and their renderings together.
"""

from noctuary.space.genome import Genome

_DELTA_NET = Genome(
    update="delta",
    beta_range="unit",
    feature_map="silu",
    qk_norm="l2",
    short_conv="conv4",
    output_norm="rms",
)
_GATED_DELTA_NET = _DELTA_NET.model_copy(
    update={
        "decay": "scalar",
        "decay_form": "softplus",
        "decay_init": "spread",
        "output_gate": "silu",
    }
)

HUMAN: dict[str, Genome] = {
    "linear_attention": Genome(feature_map="elu", output_norm="rms"),
    "retnet": Genome(decay="fixed", decay_init="spread", output_norm="rms", output_gate="silu"),
    "gla": Genome(
        decay="vector",
        decay_form="sigmoid16",
        decay_init="plain",
        output_norm="rms",
        output_gate="silu",
    ),
    "hgrn2": Genome(
        input_gate="complement",
        decay="vector",
        decay_form="bounded",
        decay_init="spread",
        feature_map="silu",
        output_norm="rms_all",
    ),
    "mamba2": Genome(
        input_gate="step",
        decay="scalar",
        decay_form="softplus",
        decay_init="random",
        feature_map="silu",
        short_conv="conv4_bias",
        value_skip="skip",
        output_norm="rms",
        output_gate="silu",
        gate_place="before",
    ),
    "delta_net": _DELTA_NET,
    "delta_net_neg": _DELTA_NET.model_copy(update={"beta_range": "double"}),
    "gated_delta_net": _GATED_DELTA_NET,
    "gated_delta_net_neg": _GATED_DELTA_NET.model_copy(update={"beta_range": "double"}),
    "delta_product": _DELTA_NET.model_copy(update={"beta_range": "double", "delta_steps": "two"}),
    "kimi_delta": _GATED_DELTA_NET.model_copy(
        update={"decay": "vector", "output_gate": "sigmoid", "gate_rank": "low"}
    ),
    "rwkv7": Genome(
        update="general_delta",
        beta_range="unit",
        decay="vector",
        decay_form="exponential",
        decay_init="spread",
        token_shift="blend",
        value_skip="bonus",
        output_norm="group",
        output_gate="linear",
        gate_rank="low",
    ),
    "based": Genome(feature_map="taylor", output_norm="sum", local_window="window32"),
}
"""name of the file in `architectures/human` -> its genome."""
