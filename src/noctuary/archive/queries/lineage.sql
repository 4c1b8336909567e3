-- A candidate, what it descends from over any number of generations, and what was made of it: of
-- each relation the $most newest, and how many there are. A candidate that is its own ancestor is
-- listed as itself alone.
WITH RECURSIVE line AS (
    SELECT $candidate::VARCHAR AS candidate_id
    UNION
    SELECT unnest(d.parents)
    FROM line
    JOIN designs d ON d.design_id = line.candidate_id
),
ancestors AS (
    SELECT 'ancestor' AS relation, l.candidate_id, count(*) OVER () AS of_all
    FROM line l
    LEFT JOIN designs d ON d.design_id = l.candidate_id
    WHERE l.candidate_id <> $candidate
    ORDER BY d.cycle DESC NULLS LAST, l.candidate_id
    LIMIT $most::INTEGER
),
children AS (
    SELECT 'child' AS relation, design_id AS candidate_id, count(*) OVER () AS of_all
    FROM designs
    WHERE list_contains(parents, $candidate)
    ORDER BY cycle DESC, design_id
    LIMIT $most::INTEGER
),
near AS (
    SELECT 'self' AS relation, $candidate AS candidate_id, 1 AS of_all
    UNION ALL FROM ancestors
    UNION ALL FROM children
)
SELECT n.relation, n.of_all, n.candidate_id,
    coalesce(k.name, d.name, n.candidate_id) AS name,
    coalesce(k.kind, CASE WHEN d.design_id IS NULL THEN 'unknown' ELSE 'design' END) AS kind,
    d.cycle, d.move, d.operator, d.parents, d.gap_id, d.findings
FROM near n
LEFT JOIN designs d ON d.design_id = n.candidate_id
LEFT JOIN candidates k ON k.candidate_id = n.candidate_id
ORDER BY n.relation DESC, d.cycle DESC NULLS LAST, n.candidate_id;
