-- How designs came about, and what became of the questions that they were made for.

ALTER TABLE designs ADD COLUMN move VARCHAR DEFAULT 'mutate';

CREATE TABLE gap_outcomes (
    gap_id VARCHAR PRIMARY KEY,
    cycle INTEGER NOT NULL,
    verdict VARCHAR NOT NULL,           -- supported | refuted | open
    effect DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n INTEGER NOT NULL,
    statement VARCHAR NOT NULL
);
