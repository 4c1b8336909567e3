"""A genome: one point in the design space, typed and checked.

Covers which combinations of mechanisms make a mixer that is defined and bounded. A genome says
nothing about sizes: widths and heads belong to the suite.
"""

from typing import Literal, Self

from pydantic import model_validator

from noctuary.domain import Axes, Value
from noctuary.space.mechanisms import AXES


class Genome(Value):
    """One choice on each axis of `mechanisms.AXES`.

    Raises:
        pydantic.ValidationError: an unknown axis or value, or choices that contradict each other.
    """

    feature_map: Literal["identity", "elu", "relu", "silu", "softmax"]
    decay: Literal["none", "fixed", "scalar", "vector"]
    update: Literal["additive", "delta"]
    beta_range: Literal["none", "unit", "double"]
    short_conv: Literal["none", "conv4"]
    qk_norm: Literal["none", "l2"]
    output_gate: Literal["none", "sigmoid", "silu", "identity"]
    output_norm: Literal["none", "rms"]

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        problems = contradictions(self.axes)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def axes(self) -> Axes:
        return {axis: getattr(self, axis) for axis in AXES}

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """All choices, written `axis=value`, in the order of the axes."""
        return tuple(f"{axis}={value}" for axis, value in self.axes.items())


def contradictions(axes: Axes) -> list[str]:
    """Return the reasons why these choices do not make a mixer; empty if they do."""
    problems = []
    if axes["update"] == "delta" and axes["beta_range"] == "none":
        problems.append("the delta rule needs a beta range (unit or double)")
    if axes["update"] == "additive" and axes["beta_range"] != "none":
        problems.append("additive writes have no beta range (none)")
    if axes["update"] == "delta" and axes["qk_norm"] == "none":
        problems.append("the delta rule is bounded only for L2-normalised keys (qk_norm=l2)")
    if axes["update"] == "additive" and axes["output_norm"] == "none":
        problems.append("the output of an additive state grows with T without an output norm")
    return problems


def repaired(axes: Axes) -> Genome:
    """Return the nearest genome: the update rule and the decay stand, the rest gives way."""
    fixed = dict(axes)
    if fixed["update"] == "delta":
        fixed["qk_norm"] = "l2"
        if fixed["beta_range"] == "none":
            fixed["beta_range"] = "unit"
    else:
        fixed["beta_range"] = "none"
        fixed["output_norm"] = "rms"
    return Genome.model_validate(fixed)
