"""The values of a research cycle, from papers to findings."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from noctuary.canonical import content_id

Capability = Literal[
    "recall",
    "state_tracking",
    "compression",
    "language_modelling",
    "length_extrapolation",
    "speed",
]
Status = Literal["ok", "rejected", "diverged", "crashed", "timeout", "oom"]
Move = Literal["insert", "mutate", "cross", "simplify", "interpolate", "draw", "ablate"]
"""How a design came out of its parents; `space.operators` makes the moves."""
Verdict = Literal["supported", "refuted", "open"]
Axes = dict[str, str]
"""A point in the design space, as axis -> value; `space.genome.Genome` checks it."""

Mechanism = Annotated[str, Field(pattern=r"^[a-z_]+=[a-z0-9_]+$")]
"""One axis and its value, written `decay=vector`."""


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Paper(Value):
    """Bibliographic facts, and an account of the paper in our own words.

    Attributes:
        paper_id: `arxiv:2406.06484` where there is an arXiv id, else the first that there is of
            `doi:`, `s2:` (Semantic Scholar), `corpus:` and `title:`.
        identifiers: all names of the paper, written in the same way; they can be none for a paper
            that has its arXiv id alone.
        account: what the paper does and finds; for fetched papers, empty (the abstract of
            somebody else is not ours to ship).
        axes: the design the paper proposes, where it is a point in our design space.
    """

    paper_id: str
    title: str
    authors: tuple[str, ...]
    year: int
    venue: str
    arxiv_id: str | None
    account: str
    mechanisms: tuple[Mechanism, ...] = ()
    axes: Axes | None = None
    source: Literal["snapshot", "import", "semantic_scholar", "arxiv"]
    identifiers: tuple[str, ...] = ()


class Insight(Value):
    """One statement about mechanisms and a capability, with its evidence.

    Attributes:
        direction: +1 the mechanisms help the capability, -1 they hurt it, 0 no clear effect.
        strength: how strongly the evidence speaks, 0 to 1.
        conditions: where it holds, as far as is known: scale, data, length of training.
        evidence: a `paper_id`, or `finding:<finding_id>` for our own trials.
        cycle: number of the cycle whose trials it comes from; None for papers.
    """

    statement: str
    mechanisms: tuple[Mechanism, ...]
    capability: Capability
    direction: Literal[-1, 0, 1]
    strength: float = Field(ge=0, le=1)
    conditions: str = ""
    evidence: str
    cycle: int | None = None

    @property
    def insight_id(self) -> str:
        return content_id(self.model_dump(mode="json"))


class Gap(Value):
    """A falsifiable research question: would these mechanisms together help that capability?

    Attributes:
        cycle: number of the cycle that asks.
        evidence_for: insight ids that make an effect plausible.
        evidence_against: insight ids that speak against it.
        findings: ids of our own findings that led here.
        papers_covering: papers whose design combines the mechanisms.
        trials_covering: tasks on which designs that combine them were tried, before this cycle.
        expected_effect: difference in score against the best human baseline.
        refuted_if: the result that would answer the question with no.
    """

    cycle: int
    question: str
    mechanisms: tuple[Mechanism, ...]
    capability: Capability
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]
    findings: tuple[str, ...]
    papers_covering: int
    trials_covering: int
    expected_effect: float
    refuted_if: str

    @property
    def gap_id(self) -> str:
        return content_id({"kind": "gap", **self.model_dump(mode="json")})


class GapOutcome(Value):
    """What became of a gap once the designs that take it up were trained.

    Attributes:
        cycle: number of the cycle whose trials decide.
        effect, low, high: of the design that speaks most for the gap, difference in score to the
            best human baseline with its 95 % interval; None where nothing was measured.
        n: independent observations behind the interval.
    """

    gap_id: str
    cycle: int
    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    n: int
    statement: str


class Candidate(Value):
    """One mixer file that can be audited and trained: a human baseline or a design.

    Attributes:
        candidate_id: hash of the canonical source.
        name: for people; unique among the human baselines.
        kind: `foreign` for a file that somebody had evaluated; it takes no part in the search.
        axes: the point in the design space, or None for a mixer outside it.
        path: where the file lies.
    """

    candidate_id: str
    name: str
    kind: Literal["human", "design", "foreign"]
    axes: Axes | None
    path: str


class Design(Value):
    """A proposed mixer, with the reason for it and where it came from.

    Attributes:
        design_id: hash of the canonical source; the candidate's id as well.
        move: the operator that made it from its parents.
        operator: the same in words, with what it changed.
        parents: design ids or human candidate ids.
        findings: ids of the findings that steered the choice of gap or parents.
    """

    design_id: str
    name: str
    axes: Axes
    source: str
    motivation: str
    move: Move
    operator: str
    parents: tuple[str, ...]
    gap_id: str
    findings: tuple[str, ...]
    cycle: int


class Check(Value):
    """One check of an audit: what was measured, and the limit it was held against."""

    name: str
    passed: bool
    measured: float | None = None
    limit: float | None = None
    detail: str = ""


class Audit(Value):
    """The verdict on a candidate, before a second of training is spent.

    Attributes:
        ffn_width: the feed-forward width at which the model meets the parameter budget.
        parameters: backbone parameters of the model at that width.
    """

    candidate_id: str
    suite: str
    checks: tuple[Check, ...]
    ffn_width: int | None = None
    parameters: int | None = None

    @property
    def accepted(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """The failed checks in words; empty where the audit accepted."""
        return "; ".join(f"{c.name}: {c.detail}" for c in self.checks if not c.passed)


class TrialSpec(Value):
    """What fixes one training run completely; its hash is the trial's id.

    Attributes:
        learning_rate: peak of the schedule.
    """

    candidate_id: str
    suite: str
    task: str
    rung: int = Field(ge=0)
    seed: int = Field(ge=0)
    learning_rate: float = Field(gt=0)
    trainer: str

    @property
    def trial_id(self) -> str:
        return content_id({"kind": "trial", **self.model_dump(mode="json")})


class Trial(Value):
    """One training run and its outcome; a score exists only where the status is `ok`.

    Attributes:
        reason: why the status is not `ok`, one line.
        score: 0 chance, 1 perfect and learnt at once; its parts are in `bench.suite.ScoreWeights`.
        metrics: what the score is made of and what stands beside it; the names and units are in
            `scoring`.
        parameters: trainable parameters, embedding included.
        steps, tokens: what was trained.
        seconds: wall seconds by part: `setup`, `train`, `evaluate`, `check`, `total`; the first
            two as the training says. `cpu` is that of all jobs.
        environment: what else decides the numbers: how, by what and with which versions it was
            computed, and SHA-256 of the source and of the sequences; and under which layers of
            the sandbox, and whether after a quarantine, they came to be.
    """

    spec: TrialSpec
    status: Status
    reason: str = ""
    score: float | None = None
    metrics: dict[str, float] = {}
    parameters: int | None = None
    steps: int = 0
    tokens: int = 0
    seconds: dict[str, float] = {}
    peak_memory_mb: float | None = None
    environment: dict[str, Any] = {}


class Finding(Value):
    """What the trials say, in one number with its interval, and in words.

    Attributes:
        kind: `comparison` of a design with a baseline; `mechanism` effect; `interaction` of two
            mechanisms, written `a+b`; `ablation` of a design that lost one of its parts.
        subject: a candidate id, or mechanisms.
        baseline: the candidate id or mechanism compared against.
        task: a task, or `all` for the mean over the tasks of the suite.
        rung: where the trials were run.
        effect, low, high: difference in score with its 95 % interval; the bounds are None
            where there are too few observations for one.
        n: independent observations behind the interval.
    """

    cycle: int
    kind: Literal["comparison", "mechanism", "interaction", "ablation"]
    subject: str
    baseline: str
    task: str
    rung: int
    effect: float
    low: float | None
    high: float | None
    n: int
    statement: str

    @property
    def finding_id(self) -> str:
        return content_id({"record": "finding", **self.model_dump(mode="json")})


class Cycle(Value):
    """One pass from papers to findings. Its id is fixed by number, seed and settings."""

    number: int = Field(ge=1)
    seed: int = Field(ge=0)
    settings: str
    """Hash of the settings that decide what a cycle does."""

    @property
    def cycle_id(self) -> str:
        return f"c{self.number:04d}-{content_id(self.model_dump(mode='json'))[:8]}"
