"""Moves in the design space: mutate, cross, insert; and the space itself, listed.

Every move ends in `genome.repaired`, so its result is always a valid genome, and comes with the
words for what really changed, repairs included. Does not cover which genomes deserve a move
(`selection`) or whether the result is new (`selection.is_known`).
"""

from functools import cache
from itertools import product
from random import Random

from noctuary.domain import Axes
from noctuary.space.genome import Genome, contradictions, repaired
from noctuary.space.mechanisms import AXES


@cache
def every_genome(forbidden: frozenset[str] = frozenset()) -> tuple[Genome, ...]:
    """Return all valid genomes without these mechanisms, in the order of the axes and values."""
    points = (dict(zip(AXES, values, strict=True)) for values in product(*AXES.values()))
    genomes = (Genome.model_validate(axes) for axes in points if not contradictions(axes))
    return tuple(genome for genome in genomes if forbidden.isdisjoint(genome.mechanisms))


def distance(a: Genome, b: Genome) -> int:
    """Return the number of axes on which two genomes differ."""
    return sum(getattr(a, axis) != getattr(b, axis) for axis in AXES)


def mutate(genome: Genome, rng: Random, n: int = 1) -> tuple[Genome, str]:
    """Change `n` random axes to another value, then repair; the result always differs.

    Fewer axes change where the others leave no choice (additive writes have no beta range).

    Raises:
        ValueError: `n` is below one.
    """
    if n < 1:
        raise ValueError(f"a mutation of {n} axes changes nothing; n must be at least 1")
    child, untouched = genome, list(AXES)
    for _ in range(n):
        open_axes = {axis: moves for axis in untouched if (moves := _moves(child, axis))}
        if not open_axes:
            break
        axis = rng.choice(list(open_axes))
        child = rng.choice(open_axes[axis])
        untouched.remove(axis)
    return child, f"mutated {_changes(genome.axes, child.axes)}"


def cross(a: Genome, b: Genome, rng: Random) -> tuple[Genome, str]:
    """Take each axis from one of two parents, at random and from both, then repair.

    Parents that differ on fewer than two axes have nothing to recombine: the child is `a`.
    """
    differing = [axis for axis in AXES if getattr(a, axis) != getattr(b, axis)]
    if len(differing) < 2:
        return a, "crossed parents that differ on fewer than two axes; the child is the first"
    taken = rng.sample(differing, rng.randint(1, len(differing) - 1))
    mixed = a.axes | {axis: getattr(b, axis) for axis in taken}
    child = repaired(mixed)
    from_second = ", ".join(f"{axis}={getattr(b, axis)}" for axis in AXES if axis in taken)
    words = f"crossed, with {from_second} from the second parent"
    if child.axes != mixed:
        words += f"; repaired {_changes(mixed, child.axes)}"
    return child, words


def insert(genome: Genome, *mechanisms: str) -> tuple[Genome, str]:
    """Set these mechanisms, written `axis=value`; the rest of the genome gives way.

    The update rule stays where it can: `beta_range=double` turns additive writes into the delta
    rule, because there is no other way to have it.

    Raises:
        ValueError: an unknown mechanism, or mechanisms that no genome combines.
    """
    wanted = _wanted(mechanisms)
    updates = [wanted["update"]] if "update" in wanted else [genome.update, *AXES["update"]]
    for update in updates:
        child = repaired(genome.axes | wanted | {"update": update})
        if contains(child, mechanisms):
            if child == genome:
                return child, f"inserted nothing: {', '.join(mechanisms)} is there already"
            return child, f"inserted {', '.join(mechanisms)}: {_changes(genome.axes, child.axes)}"
    raise ValueError(f"no mixer combines {' and '.join(mechanisms)}; drop one of them")


def contains(genome: Genome, mechanisms: tuple[str, ...]) -> bool:
    """Tell whether the genome makes all of these choices."""
    return set(mechanisms) <= set(genome.mechanisms)


def neighbours(genome: Genome) -> tuple[Genome, ...]:
    """Return the genomes that one change of an axis (and its repair) leads to, each once."""
    found = [child for axis in AXES for child in _moves(genome, axis)]
    return tuple(dict.fromkeys(found))


def _moves(genome: Genome, axis: str) -> list[Genome]:
    """Return the genomes with another value on this axis, where the repair lets it stand."""
    others = [value for value in AXES[axis] if value != getattr(genome, axis)]
    children = {value: repaired(genome.axes | {axis: value}) for value in others}
    return [child for value, child in children.items() if getattr(child, axis) == value]


def _wanted(mechanisms: tuple[str, ...]) -> Axes:
    wanted: Axes = {}
    for mechanism in mechanisms:
        axis, _, value = mechanism.partition("=")
        if value not in AXES.get(axis, {}):
            raise ValueError(f"{mechanism!r} is no mechanism; expected axis=value from AXES")
        if wanted.setdefault(axis, value) != value:
            raise ValueError(f"{axis} cannot be both {wanted[axis]} and {value}")
    return wanted


def _changes(before: Axes, after: Axes) -> str:
    return ", ".join(
        f"{axis} {before[axis]} -> {after[axis]}" for axis in AXES if before[axis] != after[axis]
    )
