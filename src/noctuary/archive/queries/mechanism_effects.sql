-- For each value of each axis: mean score of the candidates that have it, minus that of the
-- candidates with another value on the same axis; a row a task, and one for `all`, the mean over
-- the tasks of candidates that finished every task. The unit of replication is the candidate.
-- Welch's interval; the quantile at fractional degrees of freedom is interpolated in 1/df.
-- Sums are Kahan's, which do not depend on the order of the rows, within what is ever shown.
-- Says what goes together, not what causes what: the other axes are not held fixed.
--
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
    SELECT candidate_id, axis, axes ->> axis AS value
    FROM (
        SELECT candidate_id, axes, unnest(json_keys(axes)) AS axis
        FROM candidates
        WHERE axes IS NOT NULL
    )
),
centres AS (
    SELECT task, favg(score) AS centre
    FROM scores
    GROUP BY task
),
sums AS (
    -- of the distances to the mean of the task, so that the squares keep their digits
    SELECT axis, value, task, centre, count(*) AS n_with,
        fsum(score - centre) AS total_with,
        fsum((score - centre) ^ 2) AS squares_with
    FROM choices
    JOIN scores USING (candidate_id)
    JOIN centres USING (task)
    GROUP BY axis, value, task, centre
),
sides AS (
    SELECT *,
        sum(n_with) OVER others AS n_without,
        sum(total_with) OVER others AS total_without,
        sum(squares_with) OVER others AS squares_without
    FROM sums
    WINDOW others AS (
        PARTITION BY axis, task ORDER BY value
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW
    )
),
moments AS (
    SELECT axis, value, task, n_with, n_without::BIGINT AS n_without,
        centre + total_with / n_with AS mean_with,
        centre + total_without / n_without AS mean_without,
        CASE WHEN n_with > 1 THEN
            greatest(0.0, squares_with - total_with ^ 2 / n_with) / (n_with - 1) END AS var_with,
        CASE WHEN n_without > 1 THEN
            greatest(0.0, squares_without - total_without ^ 2 / n_without) / (n_without - 1)
            END AS var_without
    FROM sides
    WHERE n_without > 0
),
errors AS (
    SELECT *, mean_with - mean_without AS effect,
        var_with / n_with AS part_with, var_without / n_without AS part_without,
        sqrt(part_with + part_without) AS standard_error,
        part_with / (part_with + part_without) AS share,
        greatest(1.0, CASE WHEN standard_error > 0
            THEN 1 / (share ^ 2 / (n_with - 1) + (1 - share) ^ 2 / (n_without - 1))
            ELSE n_with + n_without - 2 END) AS degrees
    FROM moments
),
quantiles AS (
    SELECT e.*, CASE WHEN above.df = below.df THEN below.t975
        ELSE below.t975 + (above.t975 - below.t975)
            * (1 / e.degrees - 1 / below.df) / (1 / above.df - 1 / below.df) END AS t975
    FROM errors e
    ASOF LEFT JOIN student_t below ON e.degrees >= below.df
    ASOF LEFT JOIN student_t above ON e.degrees <= above.df
)
SELECT axis, value, task, effect,
    effect - t975 * standard_error AS low,
    effect + t975 * standard_error AS high,
    n_with, n_without, mean_with, mean_without, var_with, var_without,
    CASE WHEN standard_error IS NOT NULL THEN degrees END AS degrees
FROM quantiles
ORDER BY axis, value, task;
