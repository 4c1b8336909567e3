-- The rungs: each trial has its learning rate, each finding its rung, and what was tried with
-- several rates counts with the best one, for humans and machines alike.
ALTER TABLE trials ADD COLUMN learning_rate DOUBLE DEFAULT 0.005;
ALTER TABLE findings ADD COLUMN rung INTEGER DEFAULT 0;

-- One row for each candidate, task and seed on a board: the best score over the learning rates,
-- and the rate that gave it; null where none gave one. `broken` says that a trial crashed, timed
-- out or ran out of memory; divergence at one rate is the reason why there are others.
CREATE OR REPLACE VIEW tuned AS
SELECT suite, trainer, rung, candidate_id, task, seed,
    max(score) FILTER (WHERE status = 'ok' AND isfinite(score)) AS score,
    arg_max(learning_rate, score ORDER BY learning_rate)
        FILTER (WHERE status = 'ok' AND isfinite(score)) AS learning_rate,
    count(*) AS n_trials,
    bool_or(status NOT IN ('ok', 'diverged')) AS broken,
    max(parameters) AS parameters,
    max(recorded_at) AS recorded_at
FROM trials
GROUP BY suite, trainer, rung, candidate_id, task, seed;

-- One row for each candidate on each board. A board is a suite, a trainer version and a rung:
-- trials of different boards are never averaged together. The suite worked on last comes first,
-- and of a suite the last rung: it alone gives results, the others screen.
--
-- score       mean over the tasks of the mean over the seeds, each at its best learning rate;
--             null, and no rank, unless the candidate has a score on every task that anybody ran,
--             and no seed that failed: the seeds that survived would flatter it.
-- difference  to the best human baseline: score minus the baseline's at the same task and seed,
--             averaged over the tasks, then over the seeds that both finished on every task
--             (n_pairs); low and high bound its 95 % Student-t interval, null for one seed.
-- baseline    the complete human candidate with the highest score; references do not compete.
-- n_seeds     seeds with a score on the task that has the fewest.
-- failed      seeds without a score, or with a trial that broke.
CREATE OR REPLACE VIEW leaderboard AS
WITH boards AS (
    SELECT suite, trainer, rung, count(DISTINCT task) AS n_tasks,
        max(max(recorded_at)) OVER (PARTITION BY suite, trainer) AS latest
    FROM tuned
    GROUP BY suite, trainer, rung
),
counted AS (
    SELECT suite, trainer, rung, candidate_id, task, seed, score
    FROM tuned
    WHERE score IS NOT NULL
),
by_task AS (
    SELECT suite, trainer, rung, candidate_id, task,
        avg(score ORDER BY seed) AS score, count(*) AS n_seeds
    FROM counted
    GROUP BY suite, trainer, rung, candidate_id, task
),
by_candidate AS (
    SELECT suite, trainer, rung, candidate_id,
        avg(score ORDER BY task) AS score, count(*) AS n_tasks, min(n_seeds) AS n_seeds,
        map_from_entries(list((task, score) ORDER BY task)) AS tasks
    FROM by_task
    GROUP BY suite, trainer, rung, candidate_id
),
tried AS (
    SELECT suite, trainer, rung, candidate_id,
        max(parameters) AS parameters,
        count(*) FILTER (WHERE score IS NULL OR broken) AS failed
    FROM tuned
    GROUP BY suite, trainer, rung, candidate_id
),
standing AS (
    SELECT t.suite, t.trainer, t.rung, t.candidate_id, t.parameters, t.failed, b.latest,
        coalesce(k.name, t.candidate_id) AS name,
        coalesce(k.kind, 'unknown') AS kind,
        coalesce(k.reference, false) AS reference,
        CASE WHEN c.n_tasks = b.n_tasks AND t.failed = 0 THEN c.score END AS score,
        coalesce(c.n_seeds, 0) AS n_seeds,
        c.tasks
    FROM tried t
    JOIN boards b USING (suite, trainer, rung)
    LEFT JOIN by_candidate c USING (suite, trainer, rung, candidate_id)
    LEFT JOIN candidates k USING (candidate_id)
),
best AS (
    SELECT suite, trainer, rung, candidate_id AS baseline_id, name AS baseline
    FROM standing
    WHERE kind = 'human' AND NOT reference AND score IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY suite, trainer, rung ORDER BY score DESC, name, candidate_id
    ) = 1
),
by_seed AS (
    SELECT c.suite, c.trainer, c.rung, c.candidate_id, c.seed,
        avg(c.score - h.score ORDER BY c.task) AS difference, count(*) AS n_tasks
    FROM counted c
    JOIN best USING (suite, trainer, rung)
    JOIN counted h ON h.suite = c.suite AND h.trainer = c.trainer AND h.rung = c.rung
        AND h.candidate_id = best.baseline_id AND h.task = c.task AND h.seed = c.seed
    WHERE c.candidate_id <> best.baseline_id
    GROUP BY c.suite, c.trainer, c.rung, c.candidate_id, c.seed
),
differences AS (
    SELECT suite, trainer, rung, candidate_id, count(*) AS n_pairs,
        avg(difference ORDER BY seed) AS difference,
        stddev_samp(difference ORDER BY seed) / sqrt(count(*)) AS standard_error
    FROM by_seed
    JOIN boards USING (suite, trainer, rung)
    WHERE by_seed.n_tasks = boards.n_tasks
    GROUP BY suite, trainer, rung, candidate_id
)
SELECT s.suite,
    CASE WHEN s.score IS NOT NULL THEN row_number() OVER (
        PARTITION BY s.suite, s.trainer, s.rung
        ORDER BY s.score DESC NULLS LAST, s.name, s.candidate_id
    ) END AS rank,
    s.name, s.kind, s.score, d.difference,
    d.difference - q.t975 * d.standard_error AS low,
    d.difference + q.t975 * d.standard_error AS high,
    coalesce(d.n_pairs, 0) AS n_pairs,
    best.baseline, s.n_seeds, s.failed, s.parameters, s.tasks, s.reference,
    s.candidate_id, s.trainer, s.rung
FROM standing s
LEFT JOIN best USING (suite, trainer, rung)
LEFT JOIN differences d USING (suite, trainer, rung, candidate_id)
ASOF LEFT JOIN student_t q ON d.n_pairs - 1 >= q.df
ORDER BY s.latest DESC, s.suite, s.trainer, s.rung DESC, rank NULLS LAST, s.name, s.candidate_id;
