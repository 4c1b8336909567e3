"""The standings of the candidates, kept up to date in the transaction that changes them.

Covers the tables `tuned`, `boards` and `standings`, which the view `leaderboard` and the queries
over scores read: after each call they are what a count over all trials of the search would give.
Those that decide a claim are left out: nothing may be chosen by them. What depends on one
candidate is counted anew for the candidates that were touched; ranks, for their boards; and the
differences of a whole board only where its baseline or its tasks have changed.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from noctuary.bench.rungs import FIRST_HELD_OUT_SEED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class _Board(NamedTuple):
    suite: str
    trainer: str
    rung: int


def refresh(connection: "DuckDBPyConnection", candidate_ids: Collection[str]) -> None:
    """Count the trials of these candidates anew, on all their boards."""
    touched = {"ids": sorted(candidate_ids)}
    for table, filled in (("tuned", _TUNED), ("standings", _STANDINGS)):
        connection.execute(f"DELETE FROM {table} WHERE {_TOUCHED}", touched)
        connection.execute(filled, touched)
    settle(connection, candidate_ids)


def settle(connection: "DuckDBPyConnection", candidate_ids: Collection[str]) -> None:
    """Rank and compare anew where these candidates stand; their trials are the same as before."""
    touched = {"ids": sorted(candidate_ids)}
    connection.execute(_NAMES, touched)
    boards = connection.execute(
        f"SELECT DISTINCT suite, trainer, rung FROM standings WHERE {_TOUCHED}", touched
    ).fetchall()
    for board in boards:
        _settle(connection, _Board(*board), sorted(candidate_ids))


def rebuild(connection: "DuckDBPyConnection") -> None:
    """Count everything anew; for an archive whose shape has changed."""
    everybody = connection.execute("SELECT DISTINCT candidate_id FROM trials").fetchall()
    refresh(connection, [identity for (identity,) in everybody])


def _settle(connection: "DuckDBPyConnection", board: _Board, touched: list[str]) -> None:
    place = board._asdict()
    before = connection.execute(_BAR, place).fetchone()
    connection.execute(f"DELETE FROM boards WHERE {_HERE}", place)
    for statement in (_BOARD, _SCORE, _RANK, _BASELINE):
        connection.execute(statement, place)
    n_tasks, baseline = after = connection.execute(_BAR, place).fetchall()[0]
    bar = {"n_tasks": n_tasks, "baseline": baseline}
    connection.execute(_DIFFERENCE, {**place, **bar, "ids": touched if before == after else None})


_TOUCHED = "candidate_id IN (SELECT unnest($ids::VARCHAR[]))"
_HERE = "suite = $suite AND trainer = $trainer AND rung = $rung"
_BAR = f"SELECT n_tasks, baseline_id FROM boards WHERE {_HERE}"

_TUNED = f"""
INSERT INTO tuned BY NAME
SELECT suite, trainer, rung, candidate_id, task, seed,
    max(score) FILTER (WHERE status = 'ok' AND isfinite(score)) AS score,
    arg_max(learning_rate, score ORDER BY learning_rate)
        FILTER (WHERE status = 'ok' AND isfinite(score)) AS learning_rate,
    count(*) AS n_trials,
    bool_or(status NOT IN ('ok', 'diverged')) AS broken,
    max(parameters) AS parameters,
    max(recorded_at) AS recorded_at
FROM trials
WHERE {_TOUCHED} AND seed < {FIRST_HELD_OUT_SEED}
GROUP BY suite, trainer, rung, candidate_id, task, seed
"""

_STANDINGS = f"""
INSERT INTO standings BY NAME
WITH by_task AS (
    SELECT suite, trainer, rung, candidate_id, task,
        avg(score ORDER BY seed) AS score,
        count(score) AS n_seeds,
        count(*) FILTER (WHERE score IS NULL OR broken) AS failed,
        max(parameters) AS parameters,
        max(recorded_at) AS recorded_at
    FROM tuned
    WHERE {_TOUCHED}
    GROUP BY suite, trainer, rung, candidate_id, task
)
SELECT suite, trainer, rung, candidate_id,
    candidate_id AS name, 'unknown' AS kind, false AS reference,
    avg(score ORDER BY task) AS mean,
    count(score) AS n_tasks,
    coalesce(min(n_seeds) FILTER (WHERE n_seeds > 0), 0) AS n_seeds,
    sum(failed)::BIGINT AS failed,
    max(parameters) AS parameters,
    map_from_entries(list((task, score) ORDER BY task) FILTER (WHERE score IS NOT NULL)) AS tasks,
    max(recorded_at) AS recorded_at,
    0 AS n_pairs
FROM by_task
GROUP BY suite, trainer, rung, candidate_id
"""

_NAMES = f"""
UPDATE standings SET name = k.name, kind = k.kind, reference = k.reference
FROM candidates k
WHERE standings.{_TOUCHED} AND k.candidate_id = standings.candidate_id
"""

_BOARD = f"""
INSERT INTO boards BY NAME
SELECT $suite AS suite, $trainer AS trainer, $rung AS rung,
    (SELECT count(DISTINCT task) FROM tuned WHERE {_HERE}) AS n_tasks,
    max(recorded_at) AS latest
FROM standings
WHERE {_HERE}
"""

_SCORE = f"""
UPDATE standings SET score = mine.score
FROM (
    SELECT candidate_id, CASE WHEN n_tasks = (SELECT n_tasks FROM boards WHERE {_HERE})
        AND failed = 0 THEN mean END AS score
    FROM standings
    WHERE {_HERE}
) mine
WHERE {_HERE} AND standings.candidate_id = mine.candidate_id
    AND standings.score IS DISTINCT FROM mine.score
"""

_RANK = f"""
UPDATE standings SET rank = mine.rank
FROM (
    SELECT candidate_id, CASE WHEN score IS NOT NULL THEN
        row_number() OVER (ORDER BY score DESC NULLS LAST, name, candidate_id) END AS rank
    FROM standings
    WHERE {_HERE}
) mine
WHERE {_HERE} AND standings.candidate_id = mine.candidate_id
    AND standings.rank IS DISTINCT FROM mine.rank
"""

_BASELINE = f"""
UPDATE boards SET baseline_id = best.candidate_id, baseline = best.name
FROM (
    SELECT candidate_id, name
    FROM standings
    WHERE {_HERE} AND kind = 'human' AND NOT reference AND rank IS NOT NULL
    ORDER BY rank
    LIMIT 1
) best
WHERE {_HERE}
"""

_DIFFERENCE = f"""
WITH wanted AS (
    SELECT candidate_id
    FROM standings
    WHERE {_HERE} AND ($ids::VARCHAR[] IS NULL OR {_TOUCHED})
),
here AS (
    SELECT candidate_id, task, seed, score FROM tuned WHERE {_HERE} AND score IS NOT NULL
),
baseline AS (
    SELECT task, seed, score FROM here WHERE candidate_id = $baseline
),
by_seed AS (
    SELECT c.candidate_id, c.seed, avg(c.score - h.score ORDER BY c.task) AS difference
    FROM here c
    JOIN baseline h USING (task, seed)
    WHERE c.candidate_id <> $baseline AND c.candidate_id IN (SELECT candidate_id FROM wanted)
    GROUP BY c.candidate_id, c.seed
    HAVING count(*) = $n_tasks
),
compared AS (
    SELECT candidate_id, count(*) AS n_pairs,
        avg(difference ORDER BY seed) AS difference,
        stddev_samp(difference ORDER BY seed) / sqrt(count(*)) AS standard_error
    FROM by_seed
    GROUP BY candidate_id
)
UPDATE standings SET difference = mine.difference, n_pairs = mine.n_pairs,
    low = mine.difference - mine.half, high = mine.difference + mine.half
FROM (
    SELECT candidate_id, c.difference, coalesce(c.n_pairs, 0) AS n_pairs,
        q.t975 * c.standard_error AS half
    FROM wanted
    LEFT JOIN compared c USING (candidate_id)
    ASOF LEFT JOIN student_t q ON c.n_pairs - 1 >= q.df
) mine
WHERE {_HERE} AND standings.candidate_id = mine.candidate_id
"""
