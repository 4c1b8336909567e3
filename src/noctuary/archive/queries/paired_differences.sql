-- Each design against each human baseline, paired by task and seed: one row a task, and one for
-- `all`, the mean over the tasks at the seeds that both finished on every task.
--
-- $suite, $rung: the board. $trainer: null for any; trials pair within one trainer only.
-- $seeds: only these, null for all. $max_cycle: only designs of cycles up to it, null for all.
-- $candidates: only these designs, null for all.
WITH eligible AS (
    SELECT t.candidate_id, k.name, k.kind, k.reference, t.trainer, t.task, t.seed, t.score
    FROM tuned t
    JOIN candidates k USING (candidate_id)
    LEFT JOIN designs d ON d.design_id = t.candidate_id
    WHERE t.score IS NOT NULL AND NOT t.broken AND t.suite = $suite AND t.rung = $rung
        AND ($trainer::VARCHAR IS NULL OR t.trainer = $trainer)
        AND ($seeds::UBIGINT[] IS NULL OR list_contains($seeds::UBIGINT[], t.seed))
        AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
),
pairs AS (
    SELECT c.candidate_id, c.name AS candidate, h.candidate_id AS baseline_id,
        h.name AS baseline, h.reference, c.task, c.trainer, c.seed,
        c.score - h.score AS difference
    FROM eligible c
    JOIN eligible h ON h.trainer = c.trainer AND h.task = c.task AND h.seed = c.seed
    WHERE c.kind = 'design' AND h.kind = 'human'
        AND ($candidates::VARCHAR[] IS NULL
            OR list_contains($candidates::VARCHAR[], c.candidate_id))
),
by_seed AS (
    SELECT candidate_id, candidate, baseline_id, baseline, reference, task, trainer, seed,
        difference
    FROM pairs
    UNION ALL
    SELECT candidate_id, candidate, baseline_id, baseline, reference, 'all', trainer, seed,
        avg(difference ORDER BY task)
    FROM pairs
    GROUP BY candidate_id, candidate, baseline_id, baseline, reference, trainer, seed
    HAVING count(*) = (SELECT count(DISTINCT task) FROM eligible)
),
effects AS (
    SELECT candidate_id, candidate, baseline_id, baseline, reference, task,
        avg(difference ORDER BY trainer, seed) AS effect,
        stddev_samp(difference ORDER BY trainer, seed) AS sd,
        count(*) AS n
    FROM by_seed
    GROUP BY candidate_id, candidate, baseline_id, baseline, reference, task
)
SELECT e.candidate_id, e.candidate, e.baseline_id, e.baseline, e.reference, e.task, e.effect,
    e.effect - q.t975 * e.sd / sqrt(e.n) AS low,
    e.effect + q.t975 * e.sd / sqrt(e.n) AS high,
    e.sd, e.n
FROM effects e
ASOF LEFT JOIN student_t q ON e.n - 1 >= q.df
ORDER BY e.candidate_id, e.baseline, e.baseline_id, e.task;
