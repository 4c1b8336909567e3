-- How many ok trials, of candidates up to a cycle, combine all the given mechanisms.
--
-- $mechanisms: written axis=value. $max_cycle: null for all; human candidates always count.
SELECT count(*) AS n, count(DISTINCT t.candidate_id) AS n_candidates
FROM trials t
JOIN candidates k USING (candidate_id)
LEFT JOIN designs d ON d.design_id = t.candidate_id
WHERE t.status = 'ok' AND k.axes IS NOT NULL
    AND (k.kind = 'human' OR $max_cycle::INTEGER IS NULL OR d.cycle <= $max_cycle)
    AND list_has_all(
        [axis || '=' || (k.axes ->> axis) FOR axis IN json_keys(k.axes)],
        $mechanisms::VARCHAR[]
    );
