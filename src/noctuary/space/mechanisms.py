"""The ontology: the axes of the design space, the mechanisms on them, and which rule which out.

Each mechanism is one choice on one axis. Covers what a mechanism is called, where it comes from,
and which choices make a mixer that is defined and bounded. How a mechanism is written in Python
is in `render`; how choices that contradict each other are mended is in `genome`.
"""

from typing import NamedTuple

MARK = "="
"""Between the axis and the value of a mechanism, as in `decay=vector`."""


class MechanismInfo(NamedTuple):
    """What a mechanism does, in a phrase that fits into a sentence, and its sources."""

    phrase: str
    papers: tuple[str, ...] = ()


AXES: dict[str, dict[str, MechanismInfo]] = {
    "update": {
        "additive": MechanismInfo("additive writes", ("2006.16236",)),
        "delta": MechanismInfo("the delta rule", ("2102.11174", "2406.06484")),
        "general_delta": MechanismInfo(
            "the delta rule with a key of its own for what is removed", ("2503.14456",)
        ),
    },
    "delta_steps": {
        "one": MechanismInfo("one write a token"),
        "two": MechanismInfo("two steps of the delta rule a token", ("2502.10297",)),
        "three": MechanismInfo("three steps of the delta rule a token", ("2502.10297",)),
    },
    "beta_range": {
        "none": MechanismInfo("writes of strength one"),
        "unit": MechanismInfo("write strengths in (0, 1)", ("2406.06484",)),
        "double": MechanismInfo("write strengths in (0, 2)", ("2411.12537",)),
    },
    "beta_init": {
        "plain": MechanismInfo("write strengths that start in the middle of their range"),
        "low": MechanismInfo("write strengths that start at a tenth of their range"),
        "high": MechanismInfo("write strengths that start at nine tenths of their range"),
    },
    "input_gate": {
        "none": MechanismInfo("no input gate"),
        "step": MechanismInfo("a step size that scales both write and decay", ("2405.21060",)),
        "complement": MechanismInfo("keys that are what the gate forgets", ("2404.07904",)),
    },
    "decay": {
        "none": MechanismInfo("no forgetting"),
        "fixed": MechanismInfo("a fixed decay per head", ("2307.08621",)),
        "scalar": MechanismInfo(
            "a learned scalar forget gate per head", ("2405.21060", "2412.06464")
        ),
        "vector": MechanismInfo("a learned forget gate per channel", ("2312.06635", "2510.26692")),
    },
    "decay_form": {
        "none": MechanismInfo("no function for a forget gate"),
        "softplus": MechanismInfo("forget gates exp(-rate softplus(.))", ("2405.21060",)),
        "sigmoid16": MechanismInfo("forget gates sigmoid(.)^(1/16)", ("2312.06635",)),
        "exponential": MechanismInfo("forget gates exp(-sigmoid(.) / sqrt(e))", ("2503.14456",)),
        "bounded": MechanismInfo("forget gates above a learned bound", ("2404.07904",)),
    },
    "decay_init": {
        "none": MechanismInfo("no first value for a decay"),
        "spread": MechanismInfo("decays that start spread from slow to fast", ("2405.21060",)),
        "plain": MechanismInfo("decays that start as the linear layer does", ("2312.06635",)),
        "random": MechanismInfo("decays that start at random", ("2405.21060",)),
        "slow": MechanismInfo("decays that all start near 0.999"),
        "medium": MechanismInfo("decays that all start near 0.99"),
        "fast": MechanismInfo("decays that all start near 0.9"),
    },
    "feature_map": {
        "identity": MechanismInfo("raw queries and keys"),
        "elu": MechanismInfo("an elu + 1 feature map", ("2006.16236",)),
        "relu": MechanismInfo("a ReLU feature map", ("2103.13076",)),
        "silu": MechanismInfo("a SiLU feature map", ("2406.06484",)),
        "softmax": MechanismInfo("a softmax over the features", ("2402.04347",)),
        "taylor": MechanismInfo("a second-order Taylor feature map", ("2402.18668",)),
    },
    "qk_norm": {
        "none": MechanismInfo("unnormalised queries and keys"),
        "l2": MechanismInfo("L2-normalised queries and keys", ("2102.11174", "2406.06484")),
    },
    "position": {
        "none": MechanismInfo("no positions"),
        "rotary": MechanismInfo("rotary positions on queries and keys", ("2104.09864",)),
    },
    "short_conv": {
        "none": MechanismInfo("no short convolution"),
        "conv4": MechanismInfo(
            "a causal depthwise convolution of width 4", ("2302.10866", "2312.00752")
        ),
        "conv4_bias": MechanismInfo(
            "a causal depthwise convolution of width 4 with a bias", ("2405.21060",)
        ),
        "multi_scale": MechanismInfo("causal convolutions at two scales", ("2302.10866",)),
    },
    "token_shift": {
        "none": MechanismInfo("no token shift"),
        "blend": MechanismInfo("inputs blended with the token before", ("2503.14456",)),
    },
    "heads": {
        "given": MechanismInfo("the suite's number of heads"),
        "half": MechanismInfo("half as many heads, each with a state four times as large"),
        "twice": MechanismInfo("twice as many heads, each with a quarter of the state"),
    },
    "state_size": {
        "full": MechanismInfo("keys as wide as values"),
        "half": MechanismInfo("keys half as wide as values", ("2312.06635",)),
    },
    "value_skip": {
        "none": MechanismInfo("no skip of the values"),
        "skip": MechanismInfo("a skip of the token's own value", ("2405.21060",)),
        "bonus": MechanismInfo("a bonus for the present token", ("2503.14456",)),
    },
    "output_norm": {
        "none": MechanismInfo("no output norm"),
        "rms": MechanismInfo("an RMS norm per head on the output", ("2307.08621", "1910.07467")),
        "rms_all": MechanismInfo("an RMS norm over all heads on the output", ("2404.07904",)),
        "group": MechanismInfo("a group norm on the output", ("2503.14456",)),
        "sum": MechanismInfo("a division by the sum of the weights", ("2006.16236",)),
    },
    "output_gate": {
        "none": MechanismInfo("no output gate"),
        "sigmoid": MechanismInfo("a sigmoid output gate", ("2505.06708", "2510.26692")),
        "silu": MechanismInfo("a SiLU output gate", ("2307.08621",)),
        "linear": MechanismInfo("a linear output gate", ("2503.14456",)),
    },
    "gate_rank": {
        "full": MechanismInfo("an output gate of full rank, where there is one"),
        "low": MechanismInfo("an output gate of rank 16", ("2510.26692", "2503.14456")),
    },
    "gate_init": {
        "plain": MechanismInfo("an output gate that starts as its linear layer does"),
        "open": MechanismInfo("an output gate that starts as the identity", ("1910.06764",)),
    },
    "gate_place": {
        "after": MechanismInfo("an output gate after the norm, where there is one"),
        "before": MechanismInfo("an output gate before the norm", ("2405.21060",)),
    },
    "local_window": {
        "none": MechanismInfo("no local window"),
        "window32": MechanismInfo("softmax attention over the last 32 tokens", ("2402.18668",)),
    },
    "fusion": {
        "sum": MechanismInfo("branches that are added up, where there are two"),
        "gate": MechanismInfo("a learned gate between the two branches", ("2404.07143",)),
    },
    "layer_pattern": {
        "same": MechanismInfo("the same mixer in each layer"),
        "alternate": MechanismInfo(
            "recurrent and local layers in turn", ("2402.18668", "2402.19427")
        ),
    },
}
"""axis -> value -> what it is. The first value of an axis is its plainest: it is what a genome has
where nothing is said."""

ORDERED: dict[str, tuple[str, ...]] = {
    "delta_steps": ("one", "two", "three"),
    "beta_init": ("low", "plain", "high"),
    "decay_init": ("slow", "medium", "fast"),
    "heads": ("half", "given", "twice"),
}
"""Axes, or parts of axes, whose values lie on a line, so that one lies between two others."""


class Rule(NamedTuple):
    """Where the first axis has one of these values, the second must have one of those.

    Attributes:
        allowed: the first one is what a repair chooses.
        reason: why, in words.
    """

    axis: str
    values: tuple[str, ...]
    other: str
    allowed: tuple[str, ...]
    reason: str

    def broken(self, axes: dict[str, str]) -> bool:
        return axes[self.axis] in self.values and axes[self.other] not in self.allowed


def _but(axis: str, *values: str) -> tuple[str, ...]:
    """Return the values of an axis except these."""
    return tuple(value for value in AXES[axis] if value not in values)


def _rules(
    axis: str, values: str, reason: str, **others: str | tuple[str, ...]
) -> tuple[Rule, ...]:
    """Return one rule for each of the other axes; values are written `a|b`."""
    return tuple(
        Rule(
            axis,
            tuple(values.split("|")),
            other,
            tuple(allowed.split("|")) if isinstance(allowed, str) else allowed,
            reason,
        )
        for other, allowed in others.items()
    )


RULES: tuple[Rule, ...] = (
    *_rules(
        "update",
        "additive",
        "additive writes have no strength and are made once a token",
        beta_range="none",
        beta_init="plain",
        delta_steps="one",
    ),
    *_rules(
        "update",
        "additive",
        "the output of an additive state grows with T without an output norm",
        output_norm=("rms", *_but("output_norm", "none", "rms")),
    ),
    *_rules("update", "delta", "the delta rule needs a beta range", beta_range="unit|double"),
    *_rules(
        "update", "delta", "the delta rule is bounded only for L2-normalised keys", qk_norm="l2"
    ),
    *_rules(
        "update",
        "delta|general_delta",
        "an input gate, a sum of weights and Taylor features belong to additive writes",
        input_gate="none",
        output_norm=_but("output_norm", "sum"),
        feature_map=_but("feature_map", "taylor"),
    ),
    *_rules(
        "update",
        "general_delta",
        "the general delta rule normalises the removed key alone, and needs gates per channel "
        "that are bounded below",
        beta_range="unit",
        delta_steps="one",
        qk_norm="none",
        position="none",
        state_size="full",
        decay="vector",
        decay_form="exponential",
        output_norm=("rms", *_but("output_norm", "none", "sum", "rms")),
    ),
    *_rules(
        "input_gate",
        "step",
        "a step size is one number per head",
        decay="scalar",
        decay_form="softplus",
    ),
    *_rules(
        "input_gate",
        "complement",
        "keys that are what a gate forgets have one gate per channel, above a bound",
        decay="vector",
        decay_form="bounded",
        qk_norm="none",
        position="none",
        state_size="full",
        feature_map=("silu", "identity", "elu", "relu"),
        output_norm=("rms_all", "rms", "group"),
    ),
    *_rules("decay", "none", "there is no decay to start", decay_form="none", decay_init="none"),
    *_rules(
        "decay",
        "fixed",
        "a fixed decay is a number and no function",
        decay_form="none",
        decay_init="spread|slow|medium|fast",
    ),
    *_rules(
        "decay",
        "scalar",
        "a gate per head needs a function",
        decay_form="softplus|sigmoid16|exponential",
        decay_init=("spread", *_but("decay_init", "none", "spread")),
    ),
    *_rules(
        "decay",
        "vector",
        "a gate per channel needs a function",
        decay_form="softplus|sigmoid16|exponential|bounded",
        decay_init=("spread", *_but("decay_init", "none", "spread")),
    ),
    *_rules(
        "feature_map",
        "taylor",
        "Taylor features replace the exponential of raw products, with 45 channels a head",
        qk_norm="none",
        position="none",
        state_size="full",
        decay="none|fixed|scalar",
        value_skip="none|skip",
    ),
    *_rules(
        "output_norm",
        "sum",
        "a sum of weights must be positive",
        feature_map="elu|softmax|taylor",
        position="none",
        gate_place="after",
    ),
    *_rules("output_norm", "none", "there is no norm to come before", gate_place="after"),
    *_rules(
        "output_gate",
        "none",
        "there is no output gate",
        gate_rank="full",
        gate_init="plain",
        gate_place="after",
    ),
    *_rules("output_gate", "linear", "a linear gate is of low rank", gate_rank="low"),
    *_rules("output_gate", "silu|linear", "only a sigmoid can start open", gate_init="plain"),
    *_rules(
        "delta_steps",
        "two|three",
        "a token with several values has none of its own",
        value_skip="none",
    ),
    *_rules(
        "local_window",
        "none",
        "there is one branch",
        fusion="sum",
        layer_pattern="same",
    ),
    *_rules("layer_pattern", "alternate", "branches in different layers do not meet", fusion="sum"),
)
"""What makes a genome valid. Each rule is about two axes; a repair goes through them in order."""


_RULES_ABOUT: dict[str, dict[str, list[int]]] = {}
"""axis -> value -> numbers of the rules that speak where it is chosen; most axes have none."""
for _number, _rule in enumerate(RULES):
    for _value in _rule.values:
        _RULES_ABOUT.setdefault(_rule.axis, {}).setdefault(_value, []).append(_number)


def broken_rules(axes: dict[str, str]) -> list[Rule]:
    """Return the rules that these choices break, one choice on each axis, in order."""
    numbers = [
        number
        for axis, about in _RULES_ABOUT.items()
        for number in about.get(axes[axis], ())
        if axes[RULES[number].other] not in RULES[number].allowed
    ]
    return [RULES[number] for number in sorted(numbers)]


def mechanism(axis: str, value: str) -> str:
    """Return how a mechanism is written."""
    return f"{axis}{MARK}{value}"


def phrase(name: str) -> str:
    """Return the words for a mechanism written `axis=value`."""
    axis, value = name.split(MARK)
    return AXES[axis][value].phrase
