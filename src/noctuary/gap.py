"""From insights, findings and what was tried, to one question worth a cycle.

First version: a gap is a pair of mechanisms that can go together and hardly ever have, with the
highest expected value for a capability that the suite measures. Covers the evidence table, the
choice and the account of it. Does not cover interactions that nobody has reported: the effects
of two mechanisms are taken to add, and a well supported claim to be worth `EFFECT_SCALE`.
Nor does it know that the best baseline may have one of the two mechanisms already.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from math import fsum, sqrt
from random import Random
from typing import Literal, NamedTuple, Self

from noctuary.domain import Axes, Capability, Gap, Insight, Mechanism, Paper, Value
from noctuary.errors import CheckFailed
from noctuary.space.mechanisms import AXES, phrase
from noctuary.space.operators import every_genome
from noctuary.words import counted

EFFECT_SCALE = 0.05
"""Difference in score that a mechanism is expected to make once nobody doubts that it helps."""
PRIOR_COUNT = 2.0
"""Full-strength insights without an effect that every mean is shrunk by."""
OWN_WEIGHT = 4.0
"""Papers' insights that one of our own counts for: it was measured on this suite, at this size."""
EXPLORATION = 0.02
"""Score that a pair nobody has combined is worth beyond its expected effect."""
FEW_PAPERS = 2
FEW_TRIALS = 12
"""A pair with more papers or more tasks tried is no gap while there are others."""
TRIALS_A_PAPER = 4
"""Tasks on which designs were tried (four a design) that tell as much about a pair as a paper."""
LEAST_EFFECT = 0.005
"""No difference below this counts as help, whatever was expected."""
NAMED = 12
"""Insights that a gap names for each side, the weightiest; after many nights there are hundreds."""
FINDING = "finding:"


class Tried(Value):
    """A candidate that was trained, as far as gaps and novelty need to know it.

    Attributes:
        axes: its point in the design space; None for a mixer outside it.
        cycle: the cycle that trained it first.
        trials: tasks with a score on the first rung.
    """

    name: str
    kind: Literal["human", "design"]
    axes: Axes | None
    cycle: int
    trials: int


class Evidence(Value):
    """What is known of one mechanism and one capability: a cell of the evidence table.

    Attributes:
        literature, own, expected: mean direction of the papers' insights, of our own, and of
            both together, each weighted by strength and shrunk towards 0; in (-1, 1).
        harmful: our own findings about this mechanism alone, on balance, speak against it.
        papers: papers whose design has the mechanism.
        trials: `ok` trials of candidates that have it.
    """

    mechanism: Mechanism
    capability: Capability
    literature: float
    own: float
    expected: float
    harmful: bool
    papers: int
    trials: int


class _Coverage(NamedTuple):
    """Who has combined what: the mechanisms of each paper's design, and of each candidate."""

    papers: list[set[str]]
    trials: list[tuple[set[str], int]]

    @classmethod
    def over(cls, papers: Iterable[Paper], tried: Iterable[Tried]) -> Self:
        return cls(
            [_mechanisms(p.axes) | set(p.mechanisms) for p in papers],
            [(_mechanisms(t.axes), t.trials) for t in tried],
        )

    def of(self, *mechanisms: str) -> dict[str, int]:
        wanted = set(mechanisms)
        return {
            "papers": sum(wanted <= has for has in self.papers),
            "trials": sum(trials for has, trials in self.trials if wanted <= has),
        }


class _Pair(NamedTuple):
    mechanisms: tuple[str, str]
    capability: Capability
    expected: float
    harmful: bool
    papers: int
    trials: int

    @property
    def value(self) -> float:
        covered = self.papers + self.trials / TRIALS_A_PAPER
        return self.expected + EXPLORATION / sqrt(1 + covered)

    @property
    def open(self) -> bool:
        return self.papers <= FEW_PAPERS and self.trials <= FEW_TRIALS


def synthesise_gap(
    *,
    papers: Sequence[Paper],
    insights: Sequence[Insight],
    tried: Sequence[Tried],
    earlier: Sequence[Gap],
    cycle: int,
    rng: Random,
    capabilities: tuple[Capability, ...],
    forbidden: Collection[Mechanism] = (),
) -> Gap:
    """Return the question of this cycle. The order of the papers and insights does not matter.

    Only what earlier cycles left counts, so that a resumed cycle asks the same question. A pair
    that was posed before, or is covered well, comes back only when no other is left; one that
    our own findings call harmful never does. `rng` breaks ties.

    Args:
        capabilities: what the suite measures; a gap about anything else could not be refuted.
        forbidden: mechanisms that no design may have, so no gap asks about them.

    Raises:
        CheckFailed: our own findings speak against every pair.
    """
    known = _current([i for i in insights if i.cycle is None or i.cycle < cycle])
    trained = [t for t in tried if t.cycle < cycle]
    posed = {(frozenset(g.mechanisms), g.capability) for g in earlier if g.cycle < cycle}
    coverage = _Coverage.over(papers, trained)
    covered = {pair: coverage.of(*pair) for pair in combinable_pairs(frozenset(forbidden))}
    order = [(pair, capability) for capability in capabilities for pair in covered]
    rng.shuffle(order)

    def best(heard: Sequence[Insight]) -> _Pair:
        table = evidence_table(papers, heard, trained, capabilities)
        harmful = _harmful_together(heard)
        pairs = []
        for pair, capability in order:
            cells = [table[mechanism, capability] for mechanism in pair]
            against = any(c.harmful for c in cells) or (frozenset(pair), capability) in harmful
            expected = EFFECT_SCALE * fsum(cell.expected for cell in cells)
            pairs.append(_Pair(pair, capability, expected, against, **covered[pair]))
        return _best(pairs, posed)

    chosen = best(known)
    evidence_for = _weightiest(known, chosen, lambda direction: direction > 0)
    evidence_against = _weightiest(known, chosen, lambda direction: direction <= 0)
    named, moved = [*evidence_for, *evidence_against], ""
    if any(map(finding_of, known)):
        unheard = best([i for i in known if not finding_of(i)])
        if unheard[:2] != chosen[:2]:
            own = [i for i in known if finding_of(i)]
            named += _weightiest(own, unheard, lambda direction: direction <= 0)
            moved = (
                f" The papers alone would have asked about {_words(unheard.mechanisms)} "
                f"for {_plain(unheard.capability)}; our own findings moved the question."
            )
    enough = max(chosen.expected / 2, LEAST_EFFECT)
    return Gap(
        cycle=cycle,
        question=_question(chosen) + moved,
        mechanisms=chosen.mechanisms,
        capability=chosen.capability,
        evidence_for=tuple(i.insight_id for i in evidence_for),
        evidence_against=tuple(i.insight_id for i in evidence_against),
        findings=tuple(sorted({f for i in named if (f := finding_of(i))})),
        papers_covering=chosen.papers,
        trials_covering=chosen.trials,
        expected_effect=round(chosen.expected, 4),
        refuted_if=(
            f"for every design with both mechanisms that got to the last rung, the 95 % interval "
            f"of the paired difference in {_plain(chosen.capability)} score to the best human "
            f"baseline ends below {enough:+.3f}"
        ),
    )


def evidence_table(
    papers: Sequence[Paper],
    insights: Sequence[Insight],
    tried: Sequence[Tried],
    capabilities: tuple[Capability, ...],
) -> dict[tuple[str, Capability], Evidence]:
    """Return what is known of each mechanism and each of these capabilities."""
    coverage, table = _Coverage.over(papers, tried), {}
    for capability in capabilities:
        heard = [i for i in insights if i.capability == capability]
        for mechanism in (f"{axis}={value}" for axis, values in AXES.items() for value in values):
            about = [i for i in heard if mechanism in i.mechanisms]
            own = [i for i in about if finding_of(i)]
            table[mechanism, capability] = Evidence(
                mechanism=mechanism,
                capability=capability,
                literature=_shrunk_mean([i for i in about if not finding_of(i)]),
                own=_shrunk_mean(own),
                expected=_shrunk_mean(about),
                harmful=_shrunk_mean([i for i in own if set(i.mechanisms) == {mechanism}]) < 0,
                **coverage.of(mechanism),
            )
    return table


@cache
def combinable_pairs(forbidden: frozenset[str] = frozenset()) -> tuple[tuple[str, str], ...]:
    """Return the pairs of mechanisms on different axes that make a question.

    Some genome has both and nothing forbidden, and neither entails the other: the delta rule has
    L2-normalised keys anyway, so that pair asks about the delta rule alone.
    """
    having: dict[str, set[int]] = {}
    for number, genome in enumerate(every_genome(forbidden)):
        for mechanism in genome.mechanisms:
            having.setdefault(mechanism, set()).add(number)
    pairs = []
    for a, b in combinations(sorted(having, key=_rank), 2):
        both = having[a] & having[b]
        if both and both != having[a] and both != having[b]:
            pairs.append((a, b))
    return tuple(pairs)


def finding_of(insight: Insight) -> str | None:
    """Return the id of our own finding that an insight rests on, or None for a paper's."""
    own = insight.evidence.startswith(FINDING)
    return insight.evidence.removeprefix(FINDING) if own else None


def gap_markdown(
    gap: Gap, insights_by_id: Mapping[str, Insight], papers_by_id: Mapping[str, Paper]
) -> str:
    """Return the gap and its evidence as markdown, for a person."""
    lines = [
        f"# Gap of cycle {gap.cycle}: {gap_title(gap)}",
        "",
        gap.question,
        "",
        f"- **Capability**: {_plain(gap.capability)}",
        f"- **Expected effect**: {gap.expected_effect:+.3f} in score "
        "(0 is chance, 1 is perfect) against the best human baseline",
        f"- **Refuted if** {gap.refuted_if}.",
        f"- **Coverage so far**: {counted(gap.papers_covering, 'paper')} and "
        f"{counted(gap.trials_covering, 'finished trial')} combine the mechanisms",
        f"- **Own findings that led here**: {', '.join(gap.findings) or 'none yet'}",
    ]
    for title, ids in (("for", gap.evidence_for), ("against", gap.evidence_against)):
        lines += ["", f"## Evidence {title}", ""]
        if not ids:
            lines.append("None.")
            continue
        # a list and no table: the Prefect UI wraps the one and cuts the other off
        lines += [_item(i, insights_by_id.get(i), papers_by_id) for i in ids]
    return "\n".join(lines) + "\n"


def gap_title(gap: Gap) -> str:
    """Return mechanisms and capability of a gap, as markdown."""
    return f"{' with '.join(f'`{m}`' for m in gap.mechanisms)} for {_plain(gap.capability)}"


def _item(insight_id: str, insight: Insight | None, papers: Mapping[str, Paper]) -> str:
    if insight is None:
        return f"- insight {insight_id} is not at hand"
    finding, paper = finding_of(insight), papers.get(insight.evidence)
    if finding is not None:
        source = f"our finding {finding}, cycle {insight.cycle}"
    elif paper is None:
        source = _text(insight.evidence)
    else:
        source = f"{_text(paper.title)}, {paper.year}"
        if paper.arxiv_id:
            source += f" (arXiv [{paper.arxiv_id}](https://arxiv.org/abs/{paper.arxiv_id}))"
    sign = {1: "helps", 0: "no clear effect", -1: "hurts"}[insight.direction]
    names = ", ".join(f"`{m}`" for m in insight.mechanisms)
    statement = _text(insight.statement).rstrip(".")
    return f"- {names}: {statement}. **{sign}, {insight.strength:.2f}** ({source})"


def _text(words: str) -> str:
    """Return words of others on one line and as plain text: no link, picture or HTML in them."""
    return re.sub(r"([\\*\[\]<|])", r"\\\1", " ".join(words.split()))


def _current(insights: Sequence[Insight]) -> list[Insight]:
    """Return the insights in a fixed order, without those that a later cycle measured anew.

    The effect of a single mechanism is measured over all candidates, in every cycle again, so
    only the latest counts; otherwise the same trials would be heard many times.
    """
    latest: dict[tuple[str, Capability], int] = {}
    for i in insights:
        if len(i.mechanisms) == 1 and i.cycle is not None:
            key = (i.mechanisms[0], i.capability)
            latest[key] = max(latest.get(key, 0), i.cycle)
    current = {
        i.insight_id: i
        for i in insights
        if len(i.mechanisms) != 1
        or i.cycle is None
        or i.cycle == latest[i.mechanisms[0], i.capability]
    }
    return [current[insight_id] for insight_id in sorted(current)]


def _harmful_together(insights: Sequence[Insight]) -> set[tuple[frozenset[str], Capability]]:
    """Return the pairs that our own findings about just these two, on balance, speak against."""
    about: dict[tuple[frozenset[str], Capability], list[Insight]] = {}
    for i in insights:
        if len(i.mechanisms) == 2 and finding_of(i):
            about.setdefault((frozenset(i.mechanisms), i.capability), []).append(i)
    return {key for key, own in about.items() if _shrunk_mean(own) < 0}


def _best(pairs: Sequence[_Pair], posed: set[tuple[frozenset[str], Capability]]) -> _Pair:
    """Return the most valuable pair; the first of equals, so the order decides ties."""
    harmless = [p for p in pairs if not p.harmful]
    new = [p for p in harmless if (frozenset(p.mechanisms), p.capability) not in posed]
    for choices in ([p for p in new if p.open], new, harmless):
        if choices:
            return max(choices, key=lambda p: round(p.value, 9))
    raise CheckFailed(
        "no gap is left: our own findings speak against every pair of mechanisms; add literature "
        "(noctuary literature import) or let the suite measure another capability"
    )


def _shrunk_mean(insights: Sequence[Insight]) -> float:
    """Return the mean direction, weighted by strength, shrunk towards 0; in (-1, 1).

    An insight about k mechanisms says 1/k of itself about each of them.
    """
    weights = [
        i.strength * (OWN_WEIGHT if finding_of(i) else 1.0) / len(i.mechanisms) for i in insights
    ]
    signed = fsum(w * i.direction for w, i in zip(weights, insights, strict=True))
    return signed / (fsum(weights) + PRIOR_COUNT)


def _mechanisms(axes: Axes | None) -> set[str]:
    return {f"{axis}={value}" for axis, value in (axes or {}).items()}


def _weightiest(
    insights: Sequence[Insight], pair: _Pair, wanted: Callable[[int], bool]
) -> list[Insight]:
    """Return the insights of the wanted direction that say most about a pair."""

    def weight(insight: Insight) -> float:
        named = set(pair.mechanisms) & set(insight.mechanisms)
        return insight.strength * len(named) / len(insight.mechanisms) if named else 0.0

    about = [i for i in insights if i.capability == pair.capability and wanted(i.direction)]
    weighty = [i for i in about if weight(i) > 0]
    return sorted(weighty, key=lambda i: (-weight(i), i.insight_id))[:NAMED]


def _question(pair: _Pair) -> str:
    return (
        f"Does a mixer with both {_words(pair.mechanisms)} beat the best human baseline in "
        f"{_plain(pair.capability)}? The expected difference in score is {pair.expected:+.3f}. "
        f"So far {counted(pair.papers, 'paper')} and {counted(pair.trials, 'trial')} of ours "
        f"combine the two."
    )


def _words(mechanisms: tuple[str, ...]) -> str:
    return " and ".join(f"{phrase(m)} ({m})" for m in mechanisms)


def _plain(capability: str) -> str:
    return capability.replace("_", " ")


def _rank(mechanism: str) -> tuple[int, int]:
    axis, value = mechanism.split("=")
    return list(AXES).index(axis), list(AXES[axis]).index(value)
