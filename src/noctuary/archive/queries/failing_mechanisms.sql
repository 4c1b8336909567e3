-- For each mechanism: how many designs have it and how many have another value on its axis, and
-- how many of either failed: were refused by the audit, or have a seed on the first rung without a
-- score or with a trial that broke. Designs that were neither refused nor trained do not count.
--
-- $suite, $trainer, $max_cycle: as in paired_differences.sql.
WITH fates AS (
    SELECT d.design_id, d.axes,
        coalesce(NOT a.accepted, false) OR coalesce(s.failed > 0, false) AS failed
    FROM designs d
    LEFT JOIN audits a ON a.candidate_id = d.design_id AND a.suite = $suite
    LEFT JOIN (
        SELECT candidate_id, sum(failed) AS failed
        FROM standings
        WHERE suite = $suite AND rung = 0 AND ($trainer::VARCHAR IS NULL OR trainer = $trainer)
        GROUP BY candidate_id
    ) s ON s.candidate_id = d.design_id
    WHERE ($max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
        AND (NOT a.accepted OR s.failed IS NOT NULL)
),
choices AS (
    SELECT axis, axes ->> axis AS value, failed
    FROM (SELECT axes, failed, unnest(json_keys(axes)) AS axis FROM fates)
),
sums AS (
    SELECT axis, value, count(*) AS n_with, count(*) FILTER (WHERE failed) AS failed_with
    FROM choices
    GROUP BY axis, value
),
sides AS (
    SELECT *,
        sum(n_with) OVER on_axis - n_with AS n_without,
        sum(failed_with) OVER on_axis - failed_with AS failed_without
    FROM sums
    WINDOW on_axis AS (PARTITION BY axis)
)
SELECT axis || '=' || value AS mechanism, n_with, failed_with,
    n_without::BIGINT AS n_without, failed_without::BIGINT AS failed_without
FROM sides
WHERE n_without > 0
ORDER BY mechanism;
