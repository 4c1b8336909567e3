"""Genomes as numbers: one column for each mechanism of the space, one where a genome has it.

Covers the order of the columns, which everything that learns from designs shares.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES, mechanism

MECHANISMS: tuple[str, ...] = tuple(
    mechanism(axis, value) for axis, values in AXES.items() for value in values
)
"""All mechanisms, in the order of the axes and their values."""

COLUMN: dict[str, int] = {name: column for column, name in enumerate(MECHANISMS)}
"""mechanism -> its column."""

_COLUMN_OF = [
    {value: COLUMN[mechanism(axis, value)] for value in values} for axis, values in AXES.items()
]
"""For each axis, value -> its column."""


def encoded(genomes: Sequence[Genome]) -> NDArray[np.float64]:
    """Return the mechanisms of each genome, (n, mechanisms): 1 where it has one, else 0."""
    points = np.zeros((len(genomes), len(MECHANISMS)))
    columns = [
        column_of[value]
        for genome in genomes
        for column_of, value in zip(_COLUMN_OF, genome.axes.values(), strict=True)
    ]
    rows = np.repeat(np.arange(len(genomes)), len(AXES))
    points[rows, np.array(columns, dtype=int)] = 1.0
    return points
