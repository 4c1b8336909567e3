-- What the retrieval of insights needs.

ALTER TABLE insights ADD COLUMN conditions VARCHAR DEFAULT '';

-- The index of insights: everything below follows from them, and can be made again. A number is
-- an insight's place in the order of recording; the columns that are filtered by stand here too,
-- so that a search joins no text.
CREATE TABLE insight_index (
    number INTEGER NOT NULL,
    insight_id VARCHAR NOT NULL,
    capability VARCHAR NOT NULL,
    mechanisms VARCHAR[] NOT NULL
);

CREATE TABLE insight_words (
    word_id INTEGER NOT NULL,
    word VARCHAR NOT NULL               -- a stem
);

-- Which stem stands in which insight, and the part of BM25 that no query changes.
CREATE TABLE insight_postings (
    word_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    weight FLOAT NOT NULL
);

-- Unit vectors, and the signs of their components as bits, which find the near ones fast.
CREATE TABLE insight_embeddings (
    number INTEGER NOT NULL,
    model VARCHAR NOT NULL,
    vector FLOAT[384] NOT NULL,
    signs0 UBIGINT NOT NULL,
    signs1 UBIGINT NOT NULL,
    signs2 UBIGINT NOT NULL,
    signs3 UBIGINT NOT NULL,
    signs4 UBIGINT NOT NULL,
    signs5 UBIGINT NOT NULL
);
