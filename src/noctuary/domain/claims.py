"""The values of a claim: its plan, its seeds, and how it was decided."""

from typing import Literal

from pydantic import Field

from noctuary.canonical import content_id
from noctuary.domain.research import Value

Scale = Literal["base", "wide", "long"]
"""How a claim is tried: on the suite as it is, at twice the width, at twice the length."""
ClaimStatus = Literal["registered", "drawn", "verified", "refuted", "inconclusive"]


class Entrant(Value):
    """A mixer in a claim, fixed with all that was ever chosen for it.

    Attributes:
        source: SHA-256 of its file, hexadecimal.
        rates: task -> peak learning rate, chosen in the search, before the claim has seeds.
    """

    candidate_id: str
    name: str
    source: str
    rates: dict[str, float]


class Beacon(Value):
    """A public source of randomness whose value at a round did not exist at the registration."""

    url: str
    round: int = Field(ge=1)


class Plan(Value):
    """What a claim says and how it will be decided, fixed before its seeds exist.

    The claim: on the held-out tasks, and at every scale, the candidate's mean score is above that
    of every baseline.

    Attributes:
        number: of the claims registered in its lab, from 1; decided or not, each takes its
            share of the campaign's alpha.
        suites: scale -> version of the suite.
        held_out: tasks that decide, at every scale.
        seen: tasks of the search; reported at the base scale, and decide nothing.
        seeds: how many are drawn, all used, once: there is no second look.
        smallest_effect: difference in score below which an effect is of no interest.
        spread: standard deviation of a paired difference, as the power calculation took it.
        spread_from: where that number is from.
        power: chance that a true effect of the smallest size, everywhere, verifies the claim.
        campaign_alpha: chance of a false discovery over all claims of the lab together.
        alpha: this claim's share of it.
        trainer: of the trials that decide.
    """

    number: int = Field(ge=1)
    candidate: Entrant
    baselines: tuple[Entrant, ...] = Field(min_length=1)
    suites: dict[Scale, str]
    held_out: tuple[str, ...] = Field(min_length=1)
    seen: tuple[str, ...]
    rung: int = Field(ge=0)
    trainer: str
    seeds: int = Field(ge=2)
    smallest_effect: float = Field(gt=0)
    spread: float = Field(gt=0)
    spread_from: str
    power: float = Field(gt=0, lt=1)
    campaign_alpha: float = Field(gt=0, lt=1)
    alpha: float = Field(gt=0, lt=1)
    beacon: Beacon | None = None

    @property
    def claim_id(self) -> str:
        return content_id({"kind": "claim", **self.model_dump(mode="json")})


class Draw(Value):
    """The seeds of a claim, from the first signed tree head that contains its registration.

    Attributes:
        entry: index of the registration in the ledger.
        head: that tree head, as it is signed.
        randomness: what the beacon said at its round, hexadecimal; empty without a beacon.
    """

    claim_id: str
    entry: int
    head: str
    randomness: str = ""
    seeds: tuple[int, ...]


class Comparison(Value):
    """The candidate against one baseline at one scale.

    Attributes:
        decisive: whether it decides, or is only reported.
        effect, low, high: mean difference in score with its interval of the claim's alpha; the
            bounds are None where there are too few seeds for them.
        p: of no positive difference (one-sided sign flips).
    """

    baseline: str
    scale: Scale
    tasks: tuple[str, ...]
    decisive: bool
    n: int
    effect: float
    low: float | None
    high: float | None
    p: float


class ClaimVerdict(Value):
    """How a claim was decided.

    Attributes:
        trials: trial id -> SHA-256 of its `result.json`, of all trials that were looked at.
    """

    claim_id: str
    status: Literal["verified", "refuted", "inconclusive"]
    reason: str
    comparisons: tuple[Comparison, ...]
    trials: dict[str, str]


class Claim(Value):
    """A registered plan, and what became of it so far; all claims are kept."""

    plan: Plan
    draw: Draw | None = None
    verdict: ClaimVerdict | None = None

    @property
    def claim_id(self) -> str:
        return self.plan.claim_id

    @property
    def status(self) -> ClaimStatus:
        if self.verdict is not None:
            return self.verdict.status
        return "registered" if self.draw is None else "drawn"
