"""Orderings of mixers that papers report, and whether the panel shows them.

The list was written down before the trials of the page were run, the readings after.
"""

from collections.abc import Mapping
from typing import NamedTuple

from noctuary.evaluation import Evaluated, differences
from noctuary.stats import paired_interval


class Ordering(NamedTuple):
    """A published statement as a comparison of two mixers of the panel.

    Attributes:
        reading: why it does not come out, for those that did not; written after the trials.
    """

    claim: str
    better: str
    worse: str
    tasks: tuple[str, ...]
    reading: str = ""


RECALL, TEXT = ("mqar", "recall"), ("text", "text_packages")

ORDERINGS = (
    Ordering(
        "the delta rule recalls better than additive writes (2406.06484)",
        "delta_net",
        "linear_attention_conv",
        RECALL,
    ),
    Ordering(
        "the gated delta rule recalls better than the scalar gate alone (2412.06464)",
        "gated_delta_net_no_gate",
        "mamba2_no_gate",
        RECALL,
        "the sign is the opposite in all seeds. The additive rival, whose keys are not normalised, "
        "solves MQAR in about half the steps, and at this budget what is learnt fast counts for "
        "more than what can be represented.",
    ),
    Ordering(
        "a short convolution makes additive mixers recall (2312.04927)",
        "linear_attention_conv",
        "linear_attention",
        RECALL,
    ),
    Ordering(
        "negative eigenvalues solve parity (2411.12537)",
        "delta_net_neg",
        "delta_net",
        ("parity",),
        "a phase transition: most seeds solve it and one is still at chance when the training "
        "ends, which makes the interval wide. Trained at half the length (`long_parity`), all "
        "seeds solve it and keep it up to four times that length, and no mixer with write "
        "strengths in (0, 1) ever leaves chance there.",
    ),
    Ordering(
        "and do so with a gate (2411.12537)",
        "gated_delta_net_neg",
        "gated_delta_net",
        ("parity",),
        "the same phase transition, later still behind a SiLU output gate; at half the length all "
        "seeds pass it.",
    ),
    Ordering(
        "more Householder steps track larger groups (2502.10297)",
        "delta_product",
        "delta_net_neg",
        ("s3", "s5"),
        "a phase transition as well: how much of S3 is solved differs between the seeds.",
    ),
    Ordering(
        "a scalar gate helps the delta rule on text (2412.06464)",
        "gated_delta_net_no_gate",
        "delta_net",
        TEXT,
        "five seeds are too few for a difference of this size after the correction.",
    ),
    Ordering(
        "a gate per channel helps additive writes on text (2312.06635)",
        "gla_conv",
        "linear_attention_conv",
        TEXT,
    ),
    Ordering(
        "a learned gate beats a fixed decay on text (2312.06635)",
        "gla_conv",
        "retnet_conv",
        TEXT,
    ),
    Ordering(
        "a gate per channel beats one per head on text (2510.26692)",
        "kimi_delta_no_gate",
        "gated_delta_net_no_gate",
        TEXT,
        "a hundredth either way. The published gain is at a scale and a length at which there is "
        "something to forget selectively; here a window is 128 bytes long.",
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
