-- Under which names a paper is known, and what became of each cycle's search for papers.

ALTER TABLE papers ADD COLUMN identifiers VARCHAR[] DEFAULT [];

ALTER TABLE cycles ADD COLUMN literature VARCHAR;
