-- The view, as it is. $suite: a suite, or null for all. $candidate: one candidate, or null for
-- all. $top: the best so many of each board, or null for all, those without a rank as well.
SELECT *
FROM leaderboard
WHERE ($suite::VARCHAR IS NULL OR suite = $suite)
    AND ($candidate::VARCHAR IS NULL OR candidate_id = $candidate)
    AND ($top::BIGINT IS NULL OR rank <= $top);
