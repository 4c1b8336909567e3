-- Records whose id begins with $text, and candidates with that name; exact hits first.
WITH records AS (
    SELECT 'candidate' AS kind, candidate_id AS id, name AS label FROM candidates
    UNION ALL SELECT 'trial', trial_id, task || ', seed ' || seed FROM trials
    UNION ALL SELECT 'gap', gap_id, question FROM gaps
    UNION ALL SELECT 'finding', finding_id, statement FROM findings
    UNION ALL SELECT 'insight', insight_id, statement FROM insights
    UNION ALL SELECT 'cycle', cycle_id, status FROM cycles
    UNION ALL SELECT 'paper', paper_id, title FROM papers
    UNION ALL SELECT 'claim', claim_id, name || ' ' || status FROM claims
)
SELECT kind, id, label, id = $text OR (kind = 'candidate' AND label = $text) AS exact
FROM records
WHERE starts_with(id, $text) OR (kind = 'candidate' AND label = $text)
ORDER BY exact DESC, kind, id
LIMIT 50;
