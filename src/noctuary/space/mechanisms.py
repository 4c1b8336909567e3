"""The axes of the design space and the mechanisms on them, with their sources.

Each mechanism is one choice on one axis. Covers what a mechanism is called and where it comes
from; how it is written in Python is in `render`, which combinations make sense in `genome`.
"""

from typing import NamedTuple


class MechanismInfo(NamedTuple):
    """What a mechanism does, in a phrase that fits into a sentence, and its sources."""

    phrase: str
    papers: tuple[str, ...] = ()


AXES: dict[str, dict[str, MechanismInfo]] = {
    "feature_map": {
        "identity": MechanismInfo("raw queries and keys"),
        "elu": MechanismInfo("an elu + 1 feature map", ("2006.16236",)),
        "relu": MechanismInfo("a ReLU feature map", ("2103.13076",)),
        "silu": MechanismInfo("a SiLU feature map", ("2406.06484",)),
        "softmax": MechanismInfo("a softmax over the features", ("2402.04347",)),
    },
    "decay": {
        "none": MechanismInfo("no forgetting"),
        "fixed": MechanismInfo("a fixed decay per head", ("2307.08621",)),
        "scalar": MechanismInfo(
            "a learned scalar forget gate per head", ("2405.21060", "2412.06464")
        ),
        "vector": MechanismInfo("a learned forget gate per channel", ("2312.06635", "2510.26692")),
    },
    "update": {
        "additive": MechanismInfo("additive writes", ("2006.16236",)),
        "delta": MechanismInfo("the delta rule", ("2102.11174", "2406.06484")),
    },
    "beta_range": {
        "none": MechanismInfo("writes of strength one"),
        "unit": MechanismInfo("write strengths in (0, 1)", ("2406.06484",)),
        "double": MechanismInfo("write strengths in (0, 2)", ("2411.12537",)),
    },
    "short_conv": {
        "none": MechanismInfo("no short convolution"),
        "conv4": MechanismInfo(
            "a causal depthwise convolution of width 4", ("2302.10866", "2312.00752")
        ),
    },
    "qk_norm": {
        "none": MechanismInfo("unnormalised queries and keys"),
        "l2": MechanismInfo("L2-normalised queries and keys", ("2102.11174", "2406.06484")),
    },
    "output_gate": {
        "none": MechanismInfo("no output gate"),
        "sigmoid": MechanismInfo("a sigmoid output gate", ("2505.06708", "2510.26692")),
        "silu": MechanismInfo("a SiLU output gate", ("2307.08621",)),
        "identity": MechanismInfo("an output gate that starts as the identity", ("1910.06764",)),
    },
    "output_norm": {
        "none": MechanismInfo("no output norm"),
        "rms": MechanismInfo("an RMS norm per head on the output", ("2307.08621", "1910.07467")),
    },
}
"""axis -> value -> what it is. The first value of an axis is its plainest."""


def phrase(mechanism: str) -> str:
    """Return the words for a mechanism written `axis=value`."""
    axis, value = mechanism.split("=")
    return AXES[axis][value].phrase
