"""A genome: one point in the design space, typed and checked; and the repair of what is none.

Covers validity by `mechanisms.RULES`. A genome says nothing about sizes: widths and heads belong
to the suite, and `heads` and `state_size` are relative to it.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Literal, Self

from pydantic import model_validator

from noctuary.domain import Axes, Value
from noctuary.space.mechanisms import AXES, RULES, broken_rules, mechanism

_PLAINEST: Axes = {axis: next(iter(values)) for axis, values in AXES.items()}

_PATIENCE = 4 * len(RULES)
"""Steps of a repair; one that takes longer runs in a circle, and a test shows that none does."""

KEPT = 8192
"""Repairs that are remembered: the moves around a few parents come again and again."""


class Genome(Value):
    """One choice on each axis of `mechanisms.AXES`; what is not said is the plainest.

    Raises:
        pydantic.ValidationError: an unknown axis or value, or choices that contradict each other.
    """

    update: Literal["additive", "delta", "general_delta"] = "additive"
    delta_steps: Literal["one", "two", "three"] = "one"
    beta_range: Literal["none", "unit", "double"] = "none"
    beta_init: Literal["plain", "low", "high"] = "plain"
    input_gate: Literal["none", "step", "complement"] = "none"
    decay: Literal["none", "fixed", "scalar", "vector"] = "none"
    decay_form: Literal["none", "softplus", "sigmoid16", "exponential", "bounded"] = "none"
    decay_init: Literal["none", "spread", "plain", "random", "slow", "medium", "fast"] = "none"
    feature_map: Literal["identity", "elu", "relu", "silu", "softmax", "taylor"] = "identity"
    qk_norm: Literal["none", "l2"] = "none"
    position: Literal["none", "rotary"] = "none"
    short_conv: Literal["none", "conv4", "conv4_bias", "multi_scale"] = "none"
    token_shift: Literal["none", "blend"] = "none"
    heads: Literal["given", "half", "twice"] = "given"
    state_size: Literal["full", "half"] = "full"
    value_skip: Literal["none", "skip", "bonus"] = "none"
    output_norm: Literal["none", "rms", "rms_all", "group", "sum"] = "none"
    output_gate: Literal["none", "sigmoid", "silu", "linear"] = "none"
    gate_rank: Literal["full", "low"] = "full"
    gate_init: Literal["plain", "open"] = "plain"
    gate_place: Literal["after", "before"] = "after"
    local_window: Literal["none", "window32"] = "none"
    fusion: Literal["sum", "gate"] = "sum"
    layer_pattern: Literal["same", "alternate"] = "same"

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        problems = contradictions(self.axes)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def axes(self) -> Axes:
        return dict(self.__dict__)  # pydantic keeps the fields there, in their order

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """All choices, written `axis=value`, in the order of the axes."""
        return tuple(mechanism(axis, value) for axis, value in self.axes.items())

    @property
    def telling(self) -> Axes:
        """The choices that are not the plainest of their axis: they fix the genome."""
        return {axis: value for axis, value in self.axes.items() if value != plainest(axis)}


def plainest(axis: str) -> str:
    """Return the value that a genome has on an axis where nothing is said."""
    return _PLAINEST[axis]


def contradictions(axes: Axes) -> list[str]:
    """Return the reasons why these choices do not make a mixer; empty if they do."""
    return list(
        dict.fromkeys(
            f"{rule.axis}={axes[rule.axis]} needs {rule.other}={' or '.join(rule.allowed)}, "
            f"not {axes[rule.other]}: {rule.reason}"
            for rule in broken_rules(axes)
        )
    )


def repaired(axes: Axes, keep: Collection[str] = ()) -> Genome:
    """Return a near genome in which the axes in `keep` have the values that they have here.

    Of two axes that contradict each other the later in a rule gives way, unless it is kept: then
    the first one does. Missing axes are the plainest.

    Raises:
        ValueError: the kept axes contradict each other, whatever the others are.
    """
    complete = tuple(axes.get(axis, plain) for axis, plain in _PLAINEST.items())
    return _repaired(complete, frozenset(keep))


@lru_cache(maxsize=KEPT)
def _repaired(values: tuple[str, ...], keep: frozenset[str]) -> Genome:
    axes = dict(zip(AXES, values, strict=True))
    fixed, held = dict(axes), set(keep)
    for _ in range(_PATIENCE):
        broken = broken_rules(fixed)
        if not broken:
            return Genome.model_validate(fixed)
        rule = broken[0]
        if rule.other not in held:
            fixed[rule.other] = rule.allowed[0]
        elif rule.axis not in held:
            fixed[rule.axis] = _way_out(fixed, rule.axis, held)
            held.add(rule.axis)
        else:
            break
    raise ValueError(
        f"no mixer combines {' and '.join(mechanism(a, axes[a]) for a in AXES if a in keep)}"
    )


def _way_out(axes: Axes, axis: str, held: Collection[str]) -> str:
    """Return the first value of an axis that breaks no rule with the axes that are held."""
    others = {*held, axis}
    for value in AXES[axis]:
        tried = {**axes, axis: value}
        if not any(r.broken(tried) for r in RULES if r.axis in others and r.other in others):
            return value
    return axes[axis]
