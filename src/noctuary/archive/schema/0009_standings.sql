-- The standings are kept as tables and no longer counted anew at every look: with a million
-- trials that took minutes. `archive/standings.py` fills them in the transaction that records
-- trials or candidates; nothing in them says what `trials` and `candidates` do not.
DROP VIEW leaderboard;
DROP VIEW tuned;

-- One row for each candidate, task and seed on a board: the best score over the learning rates,
-- and the rate that gave it; null where none gave one. `broken` says that a trial crashed, timed
-- out or ran out of memory; divergence at one rate is the reason why there are others.
-- No keys here and below: an index would cost more than the scan that it spares.
CREATE TABLE tuned (
    suite VARCHAR NOT NULL,
    trainer VARCHAR NOT NULL,
    rung INTEGER NOT NULL,
    candidate_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    seed UBIGINT NOT NULL,
    score DOUBLE,
    learning_rate DOUBLE,
    n_trials BIGINT NOT NULL,
    broken BOOLEAN NOT NULL,
    parameters BIGINT,
    recorded_at TIMESTAMP NOT NULL
);

-- A board is a suite, a trainer version and a rung: trials of different boards are never averaged
-- together.
CREATE TABLE boards (
    suite VARCHAR NOT NULL,
    trainer VARCHAR NOT NULL,
    rung INTEGER NOT NULL,
    n_tasks BIGINT NOT NULL,            -- tasks that anybody ran
    latest TIMESTAMP NOT NULL,
    baseline_id VARCHAR,                -- the best complete human candidate; no references
    baseline VARCHAR                    -- its name
);

-- One row for each candidate on each board; the columns that the leaderboard shows are explained
-- there.
CREATE TABLE standings (
    suite VARCHAR NOT NULL,
    trainer VARCHAR NOT NULL,
    rung INTEGER NOT NULL,
    candidate_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    reference BOOLEAN NOT NULL,
    mean DOUBLE,                        -- over the tasks that have a score
    n_tasks BIGINT NOT NULL,            -- tasks that have a score
    n_seeds BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    parameters BIGINT,
    tasks MAP(VARCHAR, DOUBLE),
    recorded_at TIMESTAMP NOT NULL,
    score DOUBLE,
    rank BIGINT,
    difference DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n_pairs BIGINT NOT NULL
);

-- One row for each candidate on each board. The suite worked on last comes first, and of a suite
-- the last rung: it alone gives results, the others screen.
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
CREATE VIEW leaderboard AS
SELECT s.suite, s.rank, s.name, s.kind, s.score, s.difference, s.low, s.high, s.n_pairs,
    b.baseline, s.n_seeds, s.failed, s.parameters, s.tasks, s.reference, s.candidate_id,
    s.trainer, s.rung
FROM standings s
JOIN (
    SELECT *, max(latest) OVER (PARTITION BY suite, trainer) AS worked_on FROM boards
) b USING (suite, trainer, rung)
ORDER BY b.worked_on DESC, s.suite, s.trainer, s.rung DESC, s.rank NULLS LAST, s.name,
    s.candidate_id;

-- What the search said when it made a cycle's designs: why it refused ideas, as reason -> how many,
-- and what it does about a plateau.
ALTER TABLE cycles ADD COLUMN refused JSON;
ALTER TABLE cycles ADD COLUMN notice VARCHAR;
