"""The question of a cycle: the mechanism, or pair of them, whose experiment is worth most.

An experiment puts the mechanisms into the best design known so far and trains a few such mixers.
Its value is how much better the choice after it is expected to be than the choice before, in
score: the knowledge gradient (Frazier, Powell and Dayanik 2008) with these two to choose from,
which is the expected improvement (Mockus 1975; Jones, Schonlau and Welch 1998) of what a few
trials can show. What is likely to help and what nobody knows are both worth something, what is
known to hurt or to make no difference is not.

Covers the ranking, which questions are closed, and a gap's account of its evidence. Does not
cover three mechanisms at once, nor what the trials of different tasks cost.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctuary.domain import Axes, Capability, Gap, GapOutcome, Mechanism, Value
from noctuary.effects import Effects, Floats, fit_effects, literature_prior
from noctuary.errors import CheckFailed
from noctuary.gap.account import combine, in_words, plain
from noctuary.gap.evidence import Known, finding_of, papers_with, weightiest
from noctuary.gap.outcome import enough
from noctuary.space.features import COLUMN, MECHANISMS, encoded
from noctuary.space.genome import Genome, repaired
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import MARK
from noctuary.space.operators import as_axes, completed, insert
from noctuary.words import counted

EXPERIMENT = 2
"""Designs that a question is expected to be tried with: half of a cycle's four."""
FEW_PAPERS = 2
"""What more papers' designs have is no gap while there are other questions."""
NEW_DESIGNS = 2
"""Designs with the mechanisms, trained since it was asked, that let an open question come back."""
LOOKED_AT = 60
"""Questions, the best by a guess without repairs, whose mixers are built at a time."""
KEPT = 16_384
"""Mixers that are remembered: most questions come again while the best design stays the best."""

Mechanisms = tuple[str, ...]


class RankedGap(Value):
    """A gap with its value.

    Attributes:
        value: score that the experiment is expected to gain.
        gain: how much higher the mixer with the mechanisms is expected to score than the best
            design known so far.
        gain_sd: what is not known of the mechanisms' part in that.
    """

    gap: Gap
    value: float
    gain: float
    gain_sd: float


class _Question(NamedTuple):
    mechanisms: Mechanisms
    capability: Capability
    value: float
    gain: float
    gain_sd: float
    expected: float


def synthesise_gap(
    known: Known,
    *,
    earlier: Sequence[Gap] = (),
    outcomes: Sequence[GapOutcome] = (),
    cycle: int,
    rng: Random,
    forbidden: Collection[Mechanism] = (),
) -> Gap:
    """Return the question of this cycle: the first of `ranked_gaps`, and what moved it there.

    Raises:
        CheckFailed: no question is left.
    """
    heard, closed = known.before(cycle), _Closed(known, earlier, outcomes, cycle)
    papers, state = papers_with(heard.papers), rng.getstate()
    [chosen] = _best(heard, papers, closed, rng, frozenset(forbidden), count=1)
    gap = _gap(chosen, heard, papers, cycle)
    if not known.measured:
        return gap
    rng.setstate(state)  # the same luck in both, so that only the trials make a difference
    unheard = _best(
        heard._replace(measured={}), papers, closed, rng, frozenset(forbidden), count=1
    )[0]
    if (unheard.mechanisms, unheard.capability) == (chosen.mechanisms, chosen.capability):
        return gap
    moved = (
        f" The papers alone would have asked about {in_words(unheard.mechanisms)} "
        f"for {plain(unheard.capability)}; our own trials moved the question."
    )
    return gap.model_copy(update={"question": gap.question + moved})


def ranked_gaps(
    known: Known,
    *,
    earlier: Sequence[Gap] = (),
    outcomes: Sequence[GapOutcome] = (),
    cycle: int,
    rng: Random,
    forbidden: Collection[Mechanism] = (),
    count: int = 10,
) -> tuple[RankedGap, ...]:
    """Return the questions most worth an experiment, best first, at most `count`.

    Only what earlier cycles left counts, so that a resumed cycle asks the same question; the
    order of papers and insights does not matter, and `rng` breaks ties. A question that was
    answered is never asked again, one that stayed open only once `NEW_DESIGNS` designs with its
    mechanisms were trained since.

    Args:
        known: its trials must be of earlier cycles (`Archive.observations` with `max_cycle`).
        earlier, outcomes: gaps that were posed, and what became of them.
        forbidden: mechanisms that no design may have, so no gap asks about them.

    Raises:
        CheckFailed: no question is left.
    """
    heard = known.before(cycle)
    papers = papers_with(heard.papers)
    closed = _Closed(known, earlier, outcomes, cycle)
    questions = _best(heard, papers, closed, rng, frozenset(forbidden), count)
    return tuple(
        RankedGap(
            gap=_gap(question, heard, papers, cycle),
            value=question.value,
            gain=question.gain,
            gain_sd=question.gain_sd,
        )
        for question in questions
    )


def _gap(question: _Question, known: Known, papers: Floats, cycle: int) -> Gap:
    """Return a question with its evidence on both sides and what would refute it."""
    mechanisms, capability = question.mechanisms, question.capability
    about = known.insights, mechanisms, capability
    evidence_for = weightiest(*about, lambda direction: direction > 0)
    evidence_against = weightiest(*about, lambda direction: direction <= 0)
    at = [COLUMN[m] for m in mechanisms]
    covered = int(papers[at[0], at[-1]])
    tried = sum(
        int(known.measured[task].seen.points[:, at].all(axis=1).sum())
        for task in known.capabilities
        if task in known.measured
    )
    which = "" if len(mechanisms) == 1 else "both "
    all_of = "the mechanism" if len(mechanisms) == 1 else "both mechanisms"
    return Gap(
        cycle=cycle,
        question=(
            f"Does a mixer with {which}{in_words(mechanisms)} beat the best human baseline in "
            f"{plain(capability)}? The best design known so far, with this put into it, is "
            f"expected to differ from that baseline by {question.expected:+.3f} in score, and "
            f"from itself as it is by {question.gain:+.3f}, give or take {question.gain_sd:.3f}. "
            f"So far {counted(covered, 'paper')} and {counted(tried, 'trial')} of ours "
            f"{combine(mechanisms)}."
        ),
        mechanisms=mechanisms,
        capability=capability,
        evidence_for=tuple(i.insight_id for i in evidence_for),
        evidence_against=tuple(i.insight_id for i in evidence_against),
        findings=tuple(
            sorted({f for i in (*evidence_for, *evidence_against) if (f := finding_of(i))})
        ),
        papers_covering=covered,
        trials_covering=tried,
        expected_effect=round(question.expected, 4),
        refuted_if=(
            f"for every design with {all_of} that got to the last rung, the 95 % interval of the "
            f"paired difference in {plain(capability)} score to the best human baseline ends "
            f"below {enough(question.expected):+.3f}"
        ),
    )


class _Closed:
    """The questions that are not asked: answered ones, and open ones without new evidence."""

    def __init__(
        self, known: Known, earlier: Iterable[Gap], outcomes: Iterable[GapOutcome], cycle: int
    ) -> None:
        decided = {o.gap_id for o in outcomes if o.cycle < cycle and o.verdict != "open"}
        self._known = known
        self._asked: dict[tuple[frozenset[str], Capability], int | None] = {}
        for gap in sorted((g for g in earlier if g.cycle < cycle), key=lambda g: g.cycle):
            key = frozenset(gap.mechanisms), gap.capability
            answered = gap.gap_id in decided or self._asked.get(key, 0) is None
            self._asked[key] = None if answered else gap.cycle

    def of(self, capability: Capability) -> set[frozenset[str]]:
        """Return the mechanisms of the closed questions about a capability."""
        asked = {key[0]: since for key, since in self._asked.items() if key[1] == capability}
        if not asked:
            return set()
        measured = self._known.scored(capability)
        closed = set()
        for mechanisms, since in asked.items():
            has = measured.seen.points[:, [COLUMN[m] for m in mechanisms if m in COLUMN]].all(
                axis=1
            )
            if since is None or (has & (measured.cycles > since)).sum() < NEW_DESIGNS:
                closed.add(mechanisms)
        return closed


def _best(
    known: Known,
    papers: Floats,
    closed: _Closed,
    rng: Random,
    forbidden: frozenset[str],
    count: int,
) -> list[_Question]:
    """Return the best questions over all capabilities, best first; at least one.

    Args:
        papers: (M, M) from `papers_with`.
    """
    for few in (papers <= FEW_PAPERS, np.full_like(papers, True, dtype=bool)):
        found = []
        for capability in known.asked_about():
            desk = _Desk(known, capability, forbidden)
            found += desk.questions(few, closed.of(capability), rng, count)
        if found:
            # ties go to whom the generator favours
            ranked = sorted(((-round(q.value, 9), rng.random(), q) for q in found), key=_first_two)
            return [question for _, _, question in ranked[:count]]
    raise CheckFailed(
        "no gap is left: every question about a mechanism or a pair of them was answered, or is "
        "forbidden by the policy; allow more mechanisms, or let the suite measure another "
        "capability"
    )


def _first_two(item: tuple[float, float, _Question]) -> tuple[float, float]:
    return item[:2]


class _Desk:
    """The questions about one capability, around the best design known for it.

    Which is best is the model's opinion, over what was scored and the human mixers, so that one
    lucky score does not make a design the best. M mechanisms.
    """

    def __init__(self, known: Known, capability: Capability, forbidden: frozenset[str]) -> None:
        seen = known.scored(capability).seen
        self.capability, self.forbidden = capability, forbidden
        self.effects = fit_effects(seen, literature_prior(known.insights, capability))
        humans = encoded(list(HUMAN.values()))
        self.human = humans[self.effects.expected(humans).argmax()]
        everybody = np.vstack([humans, seen.points])
        self.best = everybody[self.effects.expected(everybody).argmax()]
        base = _nearest(repaired(_axes(self.best)), (), forbidden)
        if base is None:
            raise CheckFailed("no mixer is left without the forbidden mechanisms; allow some")
        self.base = base
        self.swap_gain, self.swap_sd = _swaps(self.effects, encoded([base])[0])

    def questions(
        self, few: NDArray[np.bool_], closed: set[frozenset[str]], rng: Random, count: int
    ) -> list[_Question]:
        """Return the questions most worth an experiment, at least `count` if there are.

        Args:
            few: (M, M) which pairs, and on the diagonal which mechanisms, may be asked about.
        """
        found: list[_Question] = []
        guessed = self._guessed(few, closed, rng)
        at_once = max(LOOKED_AT, 2 * count)
        while some := list(islice(guessed, at_once)):
            asked = [
                (mechanisms, mixer)
                for mechanisms in some
                if (mixer := self._mixer(mechanisms)) is not None
                # nothing to ask: one of the two brings the other, or people have built it
                and not (
                    len(mechanisms) == 2 and any(self._mixer((m,)) == mixer for m in mechanisms)
                )
                and mixer != self.base
                and mixer not in _PUBLISHED
            ]
            found += self._valued(asked)
            if len(found) >= count:
                break
        # what differs in the last digits alone is equal: its order is luck's, as it came
        return sorted(found, key=lambda q: -round(q.value, 9))[: max(count, 1)]

    def _guessed(
        self, few: NDArray[np.bool_], closed: set[frozenset[str]], rng: Random
    ) -> Iterator[Mechanisms]:
        """Yield what may be asked, best first as long as no repair costs anything."""
        value = _value(self.swap_gain, self.swap_sd, self.effects.noise)
        able = few & (~_ON_ONE_AXIS | np.eye(len(MECHANISMS), dtype=bool))
        left_out = encoded([self.base])[0].astype(bool) | np.isin(
            MECHANISMS, sorted(self.forbidden)
        )
        able &= ~(left_out[:, None] | left_out)
        rows, columns = np.nonzero(np.triu(able))
        luck = np.array([rng.random() for _ in rows])
        order = np.lexsort((luck, -np.round(value[rows, columns], 9)))
        for a, b in zip(rows[order], columns[order], strict=True):
            mechanisms = (MECHANISMS[a],) if a == b else (MECHANISMS[a], MECHANISMS[b])
            if frozenset(mechanisms) not in closed:
                yield mechanisms

    def _mixer(self, mechanisms: Mechanisms) -> Genome | None:
        return _nearest(self.base, mechanisms, self.forbidden)

    def _valued(self, asked: Sequence[tuple[Mechanisms, Genome]]) -> list[_Question]:
        if not asked:
            return []
        points = encoded([mixer for _, mixer in asked])
        gain, _ = self.effects.difference(points, self.best)
        expected, _ = self.effects.difference(points, self.human)
        # a repair beside the mechanisms counts for what it is likely to cost; that it is itself
        # uncertain is another question
        gain_sd = np.array([self.swap_sd[COLUMN[m[0]], COLUMN[m[-1]]] for m, _ in asked])
        value = _value(gain, gain_sd, self.effects.noise)
        return [
            _Question(mechanisms, self.capability, *map(float, numbers))
            for (mechanisms, _), *numbers in zip(asked, value, gain, gain_sd, expected, strict=True)
        ]


@lru_cache(maxsize=KEPT)
def _nearest(base: Genome, mechanisms: Mechanisms, forbidden: frozenset[str]) -> Genome | None:
    """Return the mixer with the mechanisms that is nearest to the base, if there is any."""
    try:
        child = insert(base, *mechanisms)[0]
    except ValueError:
        return None
    if forbidden.isdisjoint(child.mechanisms):
        return child
    return completed(as_axes(mechanisms), base.axes, forbidden)


_PUBLISHED = frozenset(HUMAN.values())
_ON_ONE_AXIS: NDArray[np.bool_] = np.equal.outer(*[[m.split(MARK)[0] for m in MECHANISMS]] * 2)


def _swaps(effects: Effects, base: Floats) -> tuple[Floats, Floats]:
    """Return mean and sd of what it adds to swap one or two choices of a base, (M, M) and (M, M).

    On the diagonal for one mechanism, elsewhere for two; repairs are left out.

    Args:
        base: (M,) a point.
    """
    swap = np.eye(len(MECHANISMS)) - _ON_ONE_AXIS * base  # (M, M) a row for each choice
    one = swap @ effects.mean + swap @ effects.pair_mean @ base
    gain = one[:, None] + one + swap @ effects.pair_mean @ swap.T
    covariance = swap @ effects.covariance @ swap.T
    one_var = covariance.diagonal() + np.abs(swap) @ effects.pair_sd**2 @ base
    variance = one_var[:, None] + one_var + 2 * covariance
    np.fill_diagonal(gain, one)
    np.fill_diagonal(variance, one_var)
    return gain, np.sqrt(np.maximum(variance, 0.0))


def _value(gain: Floats, sd: Floats, noise: float) -> Floats:
    """Return the expected gain of the better of two choices after an experiment with one.

    Args:
        gain, sd: belief about how much better it is than the other choice.
        noise: sd of the score of one design; the experiment takes `EXPERIMENT` of them.
    """
    from scipy.special import ndtr

    variance = np.maximum(sd, 1e-12) ** 2
    # sd of what the experiment moves the belief by
    moves = variance / np.sqrt(variance + noise**2 / EXPERIMENT)
    z = gain / moves
    value: Floats = moves * (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) + z * ndtr(z))
    return value


def _axes(point: Floats) -> Axes:
    return dict(name.split(MARK) for name, has in zip(MECHANISMS, point, strict=True) if has)
