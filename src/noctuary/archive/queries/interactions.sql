-- Pairs of mechanisms on different axes: what the candidates score that have both, the first
-- alone, the second alone, or neither: number, mean and variance of each of the four cells; a row
-- a pair and task, where every cell has $least candidates or more. The three other cells are
-- differences of sums, so that only pairs that somebody has are ever counted.
-- Sums are Kahan's, which do not depend on the order of the rows, within what is ever shown.
-- Says what goes together, not what causes what: the other axes are not held fixed.
--
-- $mechanisms: the ones looked at; a candidate that names none on an axis has none of them.
-- $suite, $rung, $trainer, $seeds, $max_cycle: as in paired_differences.sql.
WITH eligible AS (
    SELECT t.candidate_id, k.axes, t.trainer, t.task, t.seed, t.score
    FROM tuned t
    JOIN candidates k USING (candidate_id)
    LEFT JOIN designs d ON d.design_id = t.candidate_id
    WHERE t.score IS NOT NULL AND t.suite = $suite AND t.rung = $rung
        -- what broke on one task was not tried at every rate on the others
        AND t.candidate_id NOT IN (
            SELECT candidate_id FROM tuned WHERE broken AND suite = $suite AND rung = $rung
        )
        AND k.kind <> 'foreign'
        AND ($trainer::VARCHAR IS NULL OR t.trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], t.seed))
        AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
),
by_task AS (
    SELECT candidate_id, task, avg(score ORDER BY trainer, seed) AS score
    FROM eligible
    GROUP BY candidate_id, task
),
scores AS (
    SELECT candidate_id, task, score FROM by_task
    UNION ALL
    SELECT candidate_id, 'all', avg(score ORDER BY task)
    FROM by_task
    GROUP BY candidate_id
    HAVING count(*) = (SELECT count(DISTINCT task) FROM eligible)
),
choices AS (
    SELECT candidate_id, axis, axis || '=' || (axes ->> axis) AS mechanism
    FROM (
        SELECT candidate_id, axes, unnest(json_keys(axes)) AS axis
        FROM candidates
        WHERE axes IS NOT NULL
    )
    WHERE list_contains($mechanisms::VARCHAR[], mechanism)
),
centres AS (
    SELECT task, favg(score) AS centre
    FROM scores
    GROUP BY task
),
centred AS (
    -- distances to the mean of the task, so that the squares keep their digits
    SELECT candidate_id, task, centre, score - centre AS distance
    FROM scores
    JOIN centres USING (task)
    JOIN candidates USING (candidate_id)
    WHERE axes IS NOT NULL
),
everybody AS (
    SELECT task, centre, count(*) AS n,
        fsum(distance) AS total,
        fsum(distance ^ 2) AS squares
    FROM centred
    GROUP BY task, centre
),
alone AS (
    SELECT mechanism, task, count(*) AS n,
        fsum(distance) AS total,
        fsum(distance ^ 2) AS squares
    FROM choices
    JOIN centred USING (candidate_id)
    GROUP BY mechanism, task
),
together AS (
    SELECT a.mechanism AS one, b.mechanism AS other, task, count(*) AS n,
        fsum(distance) AS total,
        fsum(distance ^ 2) AS squares
    FROM choices a
    JOIN choices b ON b.candidate_id = a.candidate_id AND b.axis <> a.axis
        AND b.mechanism > a.mechanism
    JOIN centred ON centred.candidate_id = a.candidate_id
    GROUP BY one, other, task
    HAVING count(*) >= $least::INTEGER
),
cells AS (
    SELECT t.one, t.other, t.task, e.centre, unnest([
        {'cell': 'both', 'n': t.n, 'total': t.total, 'squares': t.squares},
        {'cell': 'one', 'n': a.n - t.n, 'total': a.total - t.total,
            'squares': a.squares - t.squares},
        {'cell': 'other', 'n': b.n - t.n, 'total': b.total - t.total,
            'squares': b.squares - t.squares},
        {'cell': 'neither', 'n': e.n - a.n - b.n + t.n,
            'total': e.total - a.total - b.total + t.total,
            'squares': e.squares - a.squares - b.squares + t.squares}
    ], recursive := true)
    FROM together t
    JOIN alone a ON a.mechanism = t.one AND a.task = t.task
    JOIN alone b ON b.mechanism = t.other AND b.task = t.task
    JOIN everybody e ON e.task = t.task
)
SELECT one, other, task,
    map_from_entries(list((cell, {
        'n': n,
        'mean': centre + total / n,
        'variance': greatest(0.0, squares - total ^ 2 / n) / (n - 1)
    }) ORDER BY cell)) AS cells
FROM cells
GROUP BY one, other, task
HAVING min(n) >= $least::INTEGER
ORDER BY one, other, task;
