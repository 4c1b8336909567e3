-- The research questions, newest cycle first, with what has been tried on them and what became of
-- them: the verdict of their own cycle, null before it has one.
WITH results AS (
    SELECT candidate_id, difference
    FROM leaderboard
    QUALIFY rung = max(rung) OVER (PARTITION BY suite, trainer)
),
best AS (
    SELECT candidate_id, max(difference) AS difference
    FROM results
    GROUP BY candidate_id
)
SELECT g.cycle, g.gap_id, g.question, g.capability, g.mechanisms, g.evidence_for,
    g.evidence_against, g.findings, g.papers_covering, g.trials_covering, g.expected_effect,
    g.refuted_if, count(d.design_id) AS designs, max(best.difference) AS best_difference,
    o.verdict, o.effect, o.low, o.high, o.n, o.statement AS outcome
FROM gaps g
LEFT JOIN gap_outcomes o USING (gap_id)
LEFT JOIN designs d ON d.gap_id = g.gap_id
LEFT JOIN best ON best.candidate_id = d.design_id
GROUP BY ALL
ORDER BY g.cycle DESC, g.gap_id;
