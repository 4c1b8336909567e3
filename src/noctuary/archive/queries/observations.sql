-- What each candidate of the design space scored on each task: one row a candidate and task, with
-- the choices of the candidate as one character a mechanism of $mechanisms, 1 where it has it,
-- and the cycle that proposed it, 0 for a human one.
-- Aggregated and encoded here, so that nobody has to hold the trials. A candidate that names a
-- mechanism which is not listed is no point of the space and left out.
-- The choices are extracted by name, all axes at a time: to make a map of the JSON takes six times
-- as long.
--
-- $suite, $rung, $trainer, $seeds, $max_cycle: as in paired_differences.sql.
-- $mechanisms: all of them, written axis=value. $last: the number of the last. $axes: all of them.
-- $plainest: for each axis, the value where a candidate names none.
WITH eligible AS (
    SELECT t.candidate_id, t.trainer, t.task, t.seed, t.score,
        coalesce(d.cycle, 0) AS cycle
    FROM tuned t
    JOIN candidates k USING (candidate_id)
    LEFT JOIN designs d ON d.design_id = t.candidate_id
    WHERE t.score IS NOT NULL AND NOT t.broken AND t.suite = $suite AND t.rung = $rung
        AND ($trainer::VARCHAR IS NULL OR t.trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], t.seed))
        AND k.kind <> 'foreign' AND k.axes IS NOT NULL
        AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
),
by_task AS (
    SELECT candidate_id, task, avg(score ORDER BY trainer, seed) AS score, count(*) AS n_seeds,
        any_value(cycle) AS cycle
    FROM eligible
    GROUP BY candidate_id, task
),
known AS (
    SELECT unnest($mechanisms::VARCHAR[]) AS mechanism,
        unnest(range(len($mechanisms::VARCHAR[])))::INTEGER AS number
),
named AS (
    SELECT candidate_id, json_extract_string(axes, $axes::VARCHAR[]) AS named
    FROM candidates
    WHERE candidate_id IN (SELECT candidate_id FROM by_task)
        AND list_count(named) = len(json_keys(axes))
),
choices AS (
    SELECT candidate_id, unnest($axes::VARCHAR[]) AS axis, unnest(named) AS value,
        unnest($plainest::VARCHAR[]) AS plainest
    FROM named
),
points AS (
    SELECT candidate_id,
        bitstring_agg(number, 0, $last::INTEGER)::VARCHAR AS has
    FROM choices
    LEFT JOIN known ON mechanism = axis || '=' || coalesce(value, plainest)
    GROUP BY candidate_id
    HAVING count(*) = count(number)
)
SELECT task, candidate_id, score, n_seeds, cycle, has
FROM by_task
JOIN points USING (candidate_id)
ORDER BY task, candidate_id;
