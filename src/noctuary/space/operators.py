"""Moves in the design space: draw, mutate, cross, insert, simplify, interpolate.

Every move ends in `genome.repaired`, so its result is always a valid genome, and comes with the
words for what really changed, repairs included. The space has some 10^9 points, so nothing here
lists it. Does not cover which genomes deserve a move (`search.parents`) or whether the result is
new (`search.novelty`).
"""

from collections.abc import Collection, Iterator, Mapping
from random import Random

from noctuary.domain import Axes
from noctuary.space.genome import Genome, plainest, repaired
from noctuary.space.mechanisms import AXES, MARK, ORDERED, RULES, mechanism

Move = tuple[Genome, str]
"""What an operator returns: the child, and what was done in words."""


def distance(a: Genome, b: Genome) -> int:
    """Return the number of axes on which two genomes differ."""
    return sum(getattr(a, axis) != getattr(b, axis) for axis in AXES)


def contains(genome: Genome, mechanisms: Collection[str]) -> bool:
    """Tell whether the genome makes all of these choices."""
    return all(getattr(genome, axis) == value for axis, value in as_axes(mechanisms).items())


def completed(
    wanted: Axes, prefer: Axes, forbidden: Collection[str] = frozenset()
) -> Genome | None:
    """Return a genome with the wanted values and without the forbidden mechanisms, or None.

    A complete search: None means that there is no such genome. On each axis that is not wanted
    the preferred value is tried first. The axis with the fewest values left is decided next, and
    each decision strikes out what the rules forbid beside it, so dead ends are short.
    """
    left = {
        axis: tuple(
            value
            for value in sorted(values, key=lambda value, axis=axis: value != prefer.get(axis))  # type: ignore[misc]
            if wanted.get(axis, value) == value and mechanism(axis, value) not in forbidden
        )
        for axis, values in AXES.items()
    }
    found = _decided({}, left)
    return None if found is None else Genome.model_validate(found)


def draw(rng: Random) -> Move:
    """Draw a value for each axis, all alike likely, then repair."""
    axes = {axis: rng.choice(list(values)) for axis, values in AXES.items()}
    return repaired(axes), "drawn from the design space"


def mutate(genome: Genome, rng: Random, n: int = 1) -> Move:
    """Change `n` random axes to another value, then repair; the result always differs.

    Fewer axes change where the others leave no choice (additive writes have no beta range).

    Raises:
        ValueError: `n` is below one.
    """
    if n < 1:
        raise ValueError(f"a mutation of {n} axes changes nothing; n must be at least 1")
    child, changed = genome, 0
    for axis in rng.sample(list(AXES), len(AXES)):
        if changed == n:
            break
        moved = next((m for m in _moves(child, axis, rng) if m != genome), None)
        if moved is not None:
            child, changed = moved, changed + 1
    return child, f"mutated {changes(genome, child)}"


def cross(a: Genome, b: Genome, rng: Random) -> Move:
    """Take each axis from one of two parents, at random and from both, then repair.

    Parents that differ on fewer than two axes have nothing to recombine: the child is `a`.
    """
    differing = [axis for axis in AXES if getattr(a, axis) != getattr(b, axis)]
    if len(differing) < 2:
        return a, "crossed parents that differ on fewer than two axes; the child is the first"
    taken = rng.sample(differing, rng.randint(1, len(differing) - 1))
    mixed = a.axes | {axis: getattr(b, axis) for axis in taken}
    child = repaired(mixed)
    from_second = ", ".join(mechanism(axis, getattr(b, axis)) for axis in AXES if axis in taken)
    words = f"crossed, with {from_second} from the second parent"
    if child.axes != mixed:
        words += f"; repaired {_changes(mixed, child.axes)}"
    return child, words


def insert(genome: Genome, *mechanisms: str) -> Move:
    """Set these mechanisms, written `axis=value`; the rest of the genome gives way.

    What does not contradict them stays: `beta_range=double` turns additive writes into the delta
    rule, because there is no other way to have it.

    Raises:
        ValueError: an unknown mechanism, or mechanisms that no genome combines.
    """
    wanted = as_axes(mechanisms)
    child: Genome | None
    try:
        child = repaired(genome.axes | wanted, keep=wanted)
    except ValueError:  # the repair goes one way round; there may be another
        child = completed(wanted, genome.axes)
    if child is None:
        raise ValueError(f"no mixer combines {' and '.join(mechanisms)}; drop one of them")
    if child == genome:
        return child, f"inserted nothing: {', '.join(mechanisms)} is there already"
    return child, f"inserted {', '.join(mechanisms)}: {changes(genome, child)}"


def simplify(genome: Genome, rng: Random) -> Move:
    """Take one telling choice back to the plainest; a genome with nothing to lose stays."""
    telling = list(genome.telling)
    rng.shuffle(telling)
    simpler = next(filter(None, (_without(genome, axis) for axis in telling)), None)
    if simpler is None:
        return genome, "simplified nothing: no part of it can go alone"
    return simpler, f"simplified {changes(genome, simpler)}"


def simplifications(genome: Genome) -> tuple[Move, ...]:
    """Return the genomes that lack one of the telling choices, each once: what ablations try.

    A part that others need (the write strength of the delta rule) goes with those alone.
    """
    simpler = filter(None, (_without(genome, axis) for axis in genome.telling))
    return tuple(
        (child, f"simplified {changes(genome, child)}") for child in dict.fromkeys(simpler)
    )


def interpolate(a: Genome, b: Genome) -> Move:
    """Go half the way from `a` to `b` on the axes whose values lie on a line, the rest is `a`.

    Between neighbours on the line half the way is `b`. Parents that agree on all those axes, or
    whose values are not on the line, have nothing between them: the child is `a`.
    """
    between = {}
    for axis, line in ORDERED.items():
        start, end = getattr(a, axis), getattr(b, axis)
        if start != end and start in line and end in line:
            path = line[line.index(start) :: 1 if line.index(end) > line.index(start) else -1]
            between[axis] = path[(path.index(end) + 1) // 2]
    child = repaired(a.axes | between)
    if child == a:
        return a, "interpolated parents with nothing between them; the child is the first"
    return child, f"interpolated towards the second parent: {changes(a, child)}"


def neighbours(genome: Genome) -> tuple[Genome, ...]:
    """Return the genomes that one change of an axis (and its repair) leads to, each once."""
    found = [child for axis in AXES for child in _moves(genome, axis)]
    return tuple(dict.fromkeys(found))


def changes(before: Genome, after: Genome) -> str:
    """Return the words for what differs between two genomes."""
    return _changes(before.axes, after.axes)


def _moves(genome: Genome, axis: str, rng: Random | None = None) -> Iterator[Genome]:
    """Yield the genomes with another value on this axis, where the repair lets it stand."""
    others = [value for value in AXES[axis] if value != getattr(genome, axis)]
    if rng is not None:
        rng.shuffle(others)
    for value in others:
        child = repaired(genome.axes | {axis: value})
        if getattr(child, axis) == value:
            yield child


def _without(genome: Genome, axis: str) -> Genome | None:
    """Return the genome with an axis at its plainest, or None where that makes it no simpler."""
    child = repaired(genome.axes | {axis: plainest(axis)})
    simpler = len(child.telling) < len(genome.telling)
    return child if simpler and getattr(child, axis) == plainest(axis) else None


def _decided(axes: Axes, left: Mapping[str, tuple[str, ...]]) -> Axes | None:
    """Return the axes with a value for each of those left that breaks no rule, or None."""
    if not left:
        return axes
    axis = min(left, key=lambda one: len(left[one]))
    for value in left[axis]:
        beside = {
            other: tuple(v for v in values if _go_together(axis, value, other, v))
            for other, values in left.items()
            if other != axis
        }
        if all(beside.values()):
            found = _decided({**axes, axis: value}, beside)
            if found is not None:
                return found
    return None


def _clashing() -> frozenset[tuple[str, str]]:
    """Return the pairs of mechanisms that a rule keeps apart, each in both orders."""
    pairs = {
        (mechanism(rule.axis, value), mechanism(rule.other, other))
        for rule in RULES
        for value in rule.values
        for other in AXES[rule.other]
        if other not in rule.allowed
    }
    return frozenset(pairs | {(b, a) for a, b in pairs})


_CLASHING = _clashing()


def _go_together(axis: str, value: str, other: str, its_value: str) -> bool:
    return (mechanism(axis, value), mechanism(other, its_value)) not in _CLASHING


def as_axes(mechanisms: Collection[str]) -> Axes:
    """Return axis -> value of mechanisms written `axis=value`.

    Raises:
        ValueError: an unknown mechanism, or two of one axis.
    """
    wanted: Axes = {}
    for name in mechanisms:
        axis, _, value = name.partition(MARK)
        if value not in AXES.get(axis, {}):
            raise ValueError(f"{name!r} is no mechanism; expected axis=value from AXES")
        if wanted.setdefault(axis, value) != value:
            raise ValueError(f"{axis} cannot be both {wanted[axis]} and {value}")
    return wanted


def _changes(before: Axes, after: Axes) -> str:
    return ", ".join(
        f"{axis} {before[axis]} -> {after[axis]}" for axis in AXES if before[axis] != after[axis]
    )
