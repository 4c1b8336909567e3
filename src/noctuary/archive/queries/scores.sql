-- Candidates with their mean scores, from trials of candidates up to a cycle only: what a cycle
-- may choose its parents by, so that a rerun chooses the same. Complete ones first, best first:
-- complete is who has a score on every task that anybody has, and no seed that failed.
-- Tasks and their scores are two lists: a map would take ten times as long to reach Python.
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
        AND k.kind <> 'foreign'
        AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
),
failed AS (
    SELECT DISTINCT candidate_id
    FROM tuned
    WHERE (score IS NULL OR broken) AND suite = $suite AND rung = $rung
        AND ($trainer::VARCHAR IS NULL OR trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], seed))
),
by_task AS (
    SELECT candidate_id, task, avg(score ORDER BY trainer, seed) AS score
    FROM eligible
    GROUP BY candidate_id, task
),
by_candidate AS (
    SELECT candidate_id, avg(score ORDER BY task) AS score,
        count(*) = (SELECT count(DISTINCT task) FROM eligible)
            AND candidate_id NOT IN (SELECT candidate_id FROM failed) AS complete,
        list(task ORDER BY task) AS tasks, list(score ORDER BY task) AS scores
    FROM by_task
    GROUP BY candidate_id
)
SELECT candidate_id, name, kind, complete, score, tasks, scores
FROM by_candidate
JOIN candidates USING (candidate_id)
ORDER BY complete DESC, score DESC, name, candidate_id;
