"""Who climbs: successive halving over the rungs of a suite (ASHA, arXiv 1810.05934).

The first rung tries every learning rate with one seed. What it promotes trains again from the
start on the next rung, longer, at the learning rate that was best for each task, and with seeds
that nothing was chosen by: a lucky seed can promote a mixer, never flatter its result. A mixer
is compared with all that ever stood on its rung, not only with those of its cycle, so a night
spends its time on what is good and not on the best of a bad lot. Covers seeds and promotion;
does not train and does not read the archive.
"""

import math
from collections.abc import Collection, Mapping

SEEDS_A_RUNG = 1000
"""Seeds that belong to one rung of the search."""

FIRST_HELD_OUT_SEED = 1_000_000
"""Seeds from here on are for verification alone; no search trial may use one."""


def search_seeds(rung: int, count: int) -> tuple[int, ...]:
    """Return the first `count` seeds of a rung; no seed belongs to two rungs.

    Raises:
        ValueError: more seeds than a rung has.
    """
    if not 0 < count <= SEEDS_A_RUNG:
        raise ValueError(f"{count} seeds on a rung; expected 1 to {SEEDS_A_RUNG}")
    first = rung * SEEDS_A_RUNG
    return tuple(range(first, first + count))


def promoted(
    scores: Mapping[str, float], keep: float, contenders: Collection[str]
) -> tuple[str, ...]:
    """Return the contenders that go on to the next rung, best first.

    A contender goes on where it is among the best `keep` of all that have a score on the rung,
    rounded up; ties are broken by id.

    Args:
        scores: id -> score on the rung, of every design that ever finished it.
        contenders: the ids to decide about; one without a score stays behind.
    """
    ranked = sorted(scores, key=lambda one: (-scores[one], one))
    best = ranked[: math.ceil(keep * len(ranked))]
    return tuple(one for one in best if one in contenders)
