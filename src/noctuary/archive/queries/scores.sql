-- Candidates with their mean scores, from trials of candidates up to a cycle only: what a cycle
-- may choose its parents by, so that a rerun chooses the same. Complete ones first, best first.
--
-- $suite, $rung, $trainer, $seeds, $max_cycle: as in paired_differences.sql.
WITH eligible AS (
    SELECT t.candidate_id, t.trainer, t.task, t.seed, t.score
    FROM tuned t
    JOIN candidates k USING (candidate_id)
    LEFT JOIN designs d ON d.design_id = t.candidate_id
    WHERE t.score IS NOT NULL AND NOT t.broken AND t.suite = $suite AND t.rung = $rung
        AND ($trainer::VARCHAR IS NULL OR t.trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], t.seed))
        AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
),
by_task AS (
    SELECT candidate_id, task, avg(score ORDER BY trainer, seed) AS score, count(*) AS n_seeds
    FROM eligible
    GROUP BY candidate_id, task
),
by_candidate AS (
    SELECT candidate_id, avg(score ORDER BY task) AS score, min(n_seeds) AS n_seeds,
        count(*) = (SELECT count(DISTINCT task) FROM eligible) AS complete,
        map_from_entries(list((task, score) ORDER BY task)) AS tasks
    FROM by_task
    GROUP BY candidate_id
)
SELECT candidate_id, name, kind, reference, axes, complete, score, n_seeds, tasks
FROM by_candidate
JOIN candidates USING (candidate_id)
ORDER BY complete DESC, score DESC, name, candidate_id;
