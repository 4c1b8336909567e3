-- What the ledger has to say of the archive, and claims.

-- Statements wait here, in the transaction of the rows that they are about, until the ledger has
-- them; after a kill it takes up what it lacks. Neither can know what the other does not.
-- No keys on this table and the two below: at each opening an index costs more than a scan.
CREATE TABLE statements (
    number BIGINT NOT NULL,             -- from 1, without a gap
    sha256 VARCHAR NOT NULL,            -- of the payload
    payload VARCHAR NOT NULL            -- canonical JSON of an in-toto statement
);

-- The newest statement about each row that was recorded under one. What stands for a table is
-- "curves" for the points of one trial, and "files" for the files of one trial, or one file.
CREATE TABLE attested (
    "table" VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,            -- of the row
    statement BIGINT NOT NULL
);

-- The last tree head that this archive has seen; one row. A ledger that does not extend it is
-- another one, or an older copy.
CREATE TABLE ledger_head (
    origin VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    root VARCHAR NOT NULL,              -- hexadecimal
    statements BIGINT NOT NULL          -- of this archive that are under it: the first so many
);

CREATE TABLE claims (
    claim_id VARCHAR PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    candidate_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    status VARCHAR NOT NULL,            -- registered | drawn | verified | refuted | inconclusive
    plan JSON NOT NULL,
    draw JSON,
    verdict JSON
);
