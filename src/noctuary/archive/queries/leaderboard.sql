-- The view, as it is. $suite: a suite, or null for all.
SELECT * FROM leaderboard WHERE $suite::VARCHAR IS NULL OR suite = $suite;
