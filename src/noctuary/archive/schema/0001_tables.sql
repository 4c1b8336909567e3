-- The tables of the archive. JSON columns hold canonical JSON (sorted keys).
-- Times are UTC. No foreign keys: stages record in any order, and a rerun records again.

CREATE TABLE papers (
    paper_id VARCHAR PRIMARY KEY,
    title VARCHAR NOT NULL,
    authors VARCHAR[] NOT NULL,
    year INTEGER NOT NULL,
    venue VARCHAR NOT NULL,
    arxiv_id VARCHAR,
    account VARCHAR NOT NULL,
    mechanisms VARCHAR[] NOT NULL,
    axes JSON,
    source VARCHAR NOT NULL
);

CREATE TABLE insights (
    insight_id VARCHAR PRIMARY KEY,
    statement VARCHAR NOT NULL,
    mechanisms VARCHAR[] NOT NULL,
    capability VARCHAR NOT NULL,
    direction INTEGER NOT NULL,
    strength DOUBLE NOT NULL,
    evidence VARCHAR NOT NULL,          -- a paper_id, or finding:<finding_id>
    cycle INTEGER                       -- null for papers
);

CREATE TABLE gaps (
    gap_id VARCHAR PRIMARY KEY,
    cycle INTEGER NOT NULL,
    question VARCHAR NOT NULL,
    mechanisms VARCHAR[] NOT NULL,
    capability VARCHAR NOT NULL,
    evidence_for VARCHAR[] NOT NULL,    -- insight ids
    evidence_against VARCHAR[] NOT NULL,
    findings VARCHAR[] NOT NULL,
    papers_covering INTEGER NOT NULL,
    trials_covering INTEGER NOT NULL,
    expected_effect DOUBLE NOT NULL,
    refuted_if VARCHAR NOT NULL
);

-- Everything that can be trained: human baselines and designs.
CREATE TABLE candidates (
    candidate_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,              -- human | design
    reference BOOLEAN NOT NULL,         -- quadratic attention: shown, never the bar to beat
    axes JSON,
    path VARCHAR NOT NULL
);

CREATE TABLE designs (
    design_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    axes JSON NOT NULL,
    source VARCHAR NOT NULL,
    motivation VARCHAR NOT NULL,
    operator VARCHAR NOT NULL,
    parents VARCHAR[] NOT NULL,
    gap_id VARCHAR NOT NULL,
    findings VARCHAR[] NOT NULL,
    cycle INTEGER NOT NULL              -- the first cycle that proposed it
);

CREATE TABLE audits (
    candidate_id VARCHAR NOT NULL,
    suite VARCHAR NOT NULL,
    accepted BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    ffn_width INTEGER,
    parameters BIGINT,
    checks JSON NOT NULL,
    cycle INTEGER NOT NULL,             -- the first cycle that asked for it
    PRIMARY KEY (candidate_id, suite)
);

CREATE TABLE trials (
    trial_id VARCHAR PRIMARY KEY,
    candidate_id VARCHAR NOT NULL,
    suite VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    rung INTEGER NOT NULL,
    seed UBIGINT NOT NULL,
    trainer VARCHAR NOT NULL,
    status VARCHAR NOT NULL,            -- ok | rejected | diverged | crashed | timeout | oom
    reason VARCHAR NOT NULL,
    score DOUBLE,                       -- null unless the status is ok
    metrics JSON NOT NULL,
    parameters BIGINT,
    steps BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    environment JSON NOT NULL,
    seconds JSON NOT NULL,
    peak_memory_mb DOUBLE,
    recorded_at TIMESTAMP NOT NULL,
    digest VARCHAR NOT NULL             -- of the files it was read from
);

CREATE TABLE curves (
    trial_id VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    loss DOUBLE NOT NULL,
    seconds DOUBLE NOT NULL
);

CREATE TABLE findings (
    finding_id VARCHAR PRIMARY KEY,
    cycle INTEGER NOT NULL,
    kind VARCHAR NOT NULL,              -- comparison | mechanism
    subject VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL,
    task VARCHAR NOT NULL,              -- a task, or all
    effect DOUBLE NOT NULL,
    low DOUBLE,
    high DOUBLE,
    n INTEGER NOT NULL,
    statement VARCHAR NOT NULL
);

CREATE TABLE cycles (
    cycle_id VARCHAR PRIMARY KEY,
    number INTEGER NOT NULL,
    seed UBIGINT NOT NULL,
    settings VARCHAR NOT NULL,
    status VARCHAR NOT NULL,            -- running | done | failed
    started TIMESTAMP NOT NULL,
    finished TIMESTAMP,
    flow_run_id VARCHAR,
    gap_id VARCHAR,
    summary VARCHAR NOT NULL
);
