-- Every candidate that a search has made or has beside it: the designs up to a cycle, oldest first,
-- and the human mixers, with why a design has no score. The axes are the text of the JSON.
--
-- $suite, $rung, $trainer, $max_cycle: as in paired_differences.sql.
WITH broken AS (
    SELECT candidate_id, string_agg(DISTINCT status, ', ' ORDER BY status) AS reason
    FROM trials
    WHERE status <> 'ok' AND suite = $suite AND rung = $rung AND trainer = $trainer
        AND candidate_id IN (
            SELECT candidate_id
            FROM tuned
            WHERE (score IS NULL OR broken) AND suite = $suite AND rung = $rung
                AND trainer = $trainer
        )
    GROUP BY candidate_id
)
SELECT k.candidate_id, k.name, k.kind, k.axes::VARCHAR AS axes, d.move, d.parents, coalesce(d.cycle, 0) AS cycle,
    CASE WHEN a.accepted = false THEN 'rejected: ' || a.reason ELSE coalesce(b.reason, '') END
        AS reason
FROM candidates k
LEFT JOIN designs d ON d.design_id = k.candidate_id
LEFT JOIN audits a ON a.candidate_id = k.candidate_id AND a.suite = $suite
LEFT JOIN broken b ON b.candidate_id = k.candidate_id
WHERE k.kind = 'human' OR d.cycle <= $max_cycle
ORDER BY cycle, k.candidate_id;
