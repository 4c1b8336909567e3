-- Each design that was made to do without a part against the design it was taken from, paired by
-- task and seed: one row a task, and one for `all`, as in paired_differences.sql. The effect is
-- what the part contributes: the parent's score minus that of the design without it.
--
-- $candidates: the designs without the part. $suite, $rung, $trainer, $seeds: as in
-- paired_differences.sql.
WITH sound AS (
    SELECT candidate_id, trainer, task, seed, score
    FROM tuned
    WHERE score IS NOT NULL AND NOT broken AND suite = $suite AND rung = $rung
        AND ($trainer::VARCHAR IS NULL OR trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], seed))
),
pairs AS (
    SELECT w.parent_id, w.design_id, p.trainer, p.task, p.seed, p.score - c.score AS difference
    FROM (
        SELECT design_id, unnest(parents) AS parent_id
        FROM designs
        WHERE move = 'ablate' AND list_contains($candidates::VARCHAR[], design_id)
    ) w
    JOIN sound c ON c.candidate_id = w.design_id
    JOIN sound p ON p.candidate_id = w.parent_id
        AND p.trainer = c.trainer AND p.task = c.task AND p.seed = c.seed
),
by_seed AS (
    SELECT parent_id, design_id, task, trainer, seed, difference
    FROM pairs
    UNION ALL
    SELECT parent_id, design_id, 'all', trainer, seed, avg(difference ORDER BY task)
    FROM pairs
    GROUP BY parent_id, design_id, trainer, seed
    HAVING count(*) = (SELECT count(DISTINCT task) FROM sound)
),
effects AS (
    SELECT parent_id, design_id, task,
        avg(difference ORDER BY trainer, seed) AS effect,
        stddev_samp(difference ORDER BY trainer, seed) AS sd,
        count(*) AS n
    FROM by_seed
    GROUP BY parent_id, design_id, task
)
SELECT e.parent_id, p.name AS parent, p.axes AS parent_axes,
    e.design_id, d.name AS design, d.axes AS design_axes,
    e.task, e.effect,
    e.effect - q.t975 * e.sd / sqrt(e.n) AS low,
    e.effect + q.t975 * e.sd / sqrt(e.n) AS high,
    e.n
FROM effects e
JOIN candidates p ON p.candidate_id = e.parent_id
JOIN candidates d ON d.candidate_id = e.design_id
ASOF LEFT JOIN student_t q ON e.n - 1 >= q.df
ORDER BY e.parent_id, e.design_id, e.task;
