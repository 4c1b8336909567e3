-- Insights with where they come from; our own first, newest cycle first, then by strength.
--
-- $ids, $capability, $mechanisms (any of them), $limit: null for all.
SELECT i.insight_id, i.statement, i.mechanisms, i.capability, i.direction, i.strength,
    i.conditions, i.evidence, i.cycle, p.title, p.year, p.arxiv_id,
    f.statement AS finding, count(*) OVER () AS total
FROM insights i
LEFT JOIN papers p ON p.paper_id = i.evidence
LEFT JOIN findings f ON 'finding:' || f.finding_id = i.evidence
WHERE ($ids::VARCHAR[] IS NULL OR list_contains($ids::VARCHAR[], i.insight_id))
    AND ($capability::VARCHAR IS NULL OR i.capability = $capability)
    AND ($mechanisms::VARCHAR[] IS NULL OR list_has_any(i.mechanisms, $mechanisms::VARCHAR[]))
ORDER BY i.cycle DESC NULLS LAST, i.strength DESC, i.insight_id
LIMIT $limit;
