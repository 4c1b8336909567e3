"""What designs scored, as arrays: the trials are aggregated and the axes encoded by DuckDB.

Covers one board for one cycle. A hundred thousand trials become some thousand rows here, and no
Python object each. What the numbers mean is for `effects`.
"""

from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctuary.effects import Observations
from noctuary.space.features import MECHANISMS
from noctuary.space.genome import plainest
from noctuary.space.mechanisms import AXES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Measured(NamedTuple):
    """What was scored on one task, ordered by candidate.

    Attributes:
        candidate_ids: (n,) strings.
        cycles: (n,) the cycle that proposed each; 0 for a human mixer.
        seen: their points and scores, each weighted by its number of seeds.
    """

    candidate_ids: NDArray[np.object_]
    cycles: NDArray[np.int64]
    seen: Observations


def read_observations(
    connection: "DuckDBPyConnection", asked: dict[str, Any]
) -> dict[str, Measured]:
    """Return task -> what was scored on it.

    Args:
        asked: the parameters of `queries/observations.sql`, but for those on mechanisms.
    """
    query = resources.files(__package__) / "queries" / "observations.sql"
    space = {
        "mechanisms": list(MECHANISMS),
        "last": len(MECHANISMS) - 1,
        "axes": list(AXES),
        "plainest": [plainest(axis) for axis in AXES],
    }
    rows = connection.execute(query.read_text(encoding="utf-8"), {**asked, **space}).fetchnumpy()
    characters = np.frombuffer("".join(rows["has"]).encode("ascii"), dtype=np.uint8)
    points = (characters == ord("1")).reshape(-1, len(MECHANISMS)).astype(np.float64)
    tasks, starts, counts = np.unique(
        rows["task"].astype(str), return_index=True, return_counts=True
    )
    return {
        str(task): Measured(
            rows["candidate_id"][start : start + count],
            rows["cycle"][start : start + count].astype(np.int64),
            Observations(
                points[start : start + count],
                rows["score"][start : start + count].astype(np.float64),
                rows["n_seeds"][start : start + count].astype(np.float64),
            ),
        )
        for task, start, count in zip(tasks, starts, counts, strict=True)
    }
