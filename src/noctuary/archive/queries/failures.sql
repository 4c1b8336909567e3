-- The designs of a cycle that have no score, and why: refused by which checks of the audit, or
-- how their trials ended. `diverged` is a cause only where no learning rate gave a score. A design
-- with several causes has a row for each.
--
-- $cycle: the cycle that made them. $suite: the suite. $trainer: null for any.
WITH own AS (
    SELECT design_id, name FROM designs WHERE cycle = $cycle::INTEGER
),
refused AS (
    SELECT candidate_id AS design_id, 'refused' AS stage, check_ ->> 'name' AS cause,
        check_ ->> 'detail' AS detail
    FROM (
        SELECT candidate_id, unnest(from_json(checks, '["JSON"]')) AS check_
        FROM audits
        WHERE suite = $suite AND NOT accepted
    )
    WHERE NOT (check_ ->> 'passed')::BOOLEAN
),
broken AS (
    SELECT candidate_id AS design_id, 'trained' AS stage, status AS cause, max(reason) AS detail
    FROM trials
    WHERE suite = $suite AND ($trainer::VARCHAR IS NULL OR trainer = $trainer)
        AND status NOT IN ('ok', 'diverged')
        AND candidate_id IN (SELECT design_id FROM own)
    GROUP BY candidate_id, status
),
diverged AS (
    SELECT DISTINCT candidate_id AS design_id, 'trained' AS stage, 'diverged' AS cause,
        'at every learning rate' AS detail
    FROM tuned
    WHERE suite = $suite AND ($trainer::VARCHAR IS NULL OR trainer = $trainer)
        AND score IS NULL AND NOT broken
)
SELECT stage, cause, design_id, name, detail
FROM (FROM refused UNION ALL FROM broken UNION ALL FROM diverged)
JOIN own USING (design_id)
ORDER BY stage, cause, name, design_id;
