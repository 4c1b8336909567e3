"""Orderings of mixers that papers report, and whether the panel shows them.

The list was written down before the trials of the page were run.
"""

from collections.abc import Mapping
from typing import NamedTuple

from noctuary.evaluation import Evaluated, differences
from noctuary.stats import paired_interval


class Ordering(NamedTuple):
    """A published statement as a comparison of two mixers of the panel.

    Attributes:
        if_not: what to think where it does not come out.
    """

    claim: str
    better: str
    worse: str
    tasks: tuple[str, ...]
    if_not: str


_BUDGET = (
    "at this budget what is learnt fast counts for more than what can be represented; the "
    "published runs are longer by three orders of magnitude"
)

ORDERINGS = (
    Ordering(
        "the delta rule recalls better than additive writes (2406.06484)",
        "delta_net",
        "linear_attention_conv",
        ("mqar", "recall"),
        _BUDGET,
    ),
    Ordering(
        "the gated delta rule recalls better than the scalar gate alone (2412.06464)",
        "gated_delta_net_no_gate",
        "mamba2_no_gate",
        ("mqar", "recall"),
        _BUDGET,
    ),
    Ordering(
        "a short convolution makes additive mixers recall (2312.04927)",
        "linear_attention_conv",
        "linear_attention",
        ("mqar", "recall"),
        _BUDGET,
    ),
    Ordering(
        "negative eigenvalues solve parity (2411.12537)",
        "delta_net_neg",
        "delta_net",
        ("parity",),
        _BUDGET,
    ),
    Ordering(
        "and do so with a gate (2411.12537)",
        "gated_delta_net_neg",
        "gated_delta_net",
        ("parity",),
        _BUDGET,
    ),
    Ordering(
        "more Householder steps track larger groups (2502.10297)",
        "delta_product",
        "delta_net_neg",
        ("s3", "s5"),
        _BUDGET,
    ),
    Ordering(
        "a scalar gate helps the delta rule on text (2412.06464)",
        "gated_delta_net_no_gate",
        "delta_net",
        ("text", "text_packages"),
        _BUDGET,
    ),
    Ordering(
        "a gate per channel helps additive writes on text (2312.06635)",
        "gla_conv",
        "linear_attention_conv",
        ("text", "text_packages"),
        _BUDGET,
    ),
    Ordering(
        "a learned gate beats a fixed decay on text (2312.06635)",
        "gla_conv",
        "retnet_conv",
        ("text", "text_packages"),
        _BUDGET,
    ),
    Ordering(
        "a gate per channel beats one per head on text (2510.26692)",
        "kimi_delta_no_gate",
        "gated_delta_net_no_gate",
        ("text", "text_packages"),
        _BUDGET,
    ),
)


class Outcome(NamedTuple):
    """An ordering with its paired differences in score, and the interval of their mean."""

    ordering: Ordering
    differences: tuple[float, ...]
    effect: float
    low: float
    high: float

    @property
    def seeds_for_it(self) -> int:
        return sum(difference > 0 for difference in self.differences)

    @property
    def words(self) -> str:
        if self.low > 0:
            return "comes out"
        if self.high < 0:
            return "reversed"
        every = self.seeds_for_it == len(self.differences)
        return "in every seed" if every else "not distinguishable"


def outcome(ordering: Ordering, mixers: Mapping[str, Evaluated]) -> Outcome | None:
    """Return how an ordering came out; None where a mixer is missing or seeds are too few."""
    if ordering.better not in mixers or ordering.worse not in mixers:
        return None
    found = differences(
        mixers[ordering.better].scores, mixers[ordering.worse].scores, ordering.tasks
    )
    if not found:
        return None
    interval = paired_interval(found, 1 - 0.05 / len(ORDERINGS))
    if interval.low is None or interval.high is None:
        return None
    return Outcome(ordering, tuple(found), interval.effect, interval.low, interval.high)
