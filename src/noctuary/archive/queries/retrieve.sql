-- The insights that answer a query best, of those about the mechanisms and the capability.
--
-- Words: BM25 over stems. Meaning: the cosine of embeddings, where $vector and $signs are given;
-- the signs choose who is compared exactly, as comparing 100,000 vectors takes too long. Both are
-- divided by their best among the candidates, and mixed: score = (1 - $mix) words + $mix meaning.
-- Equal scores are ordered by id.
--
-- $words: stems; $capability, $mechanisms (any of them): null for all; $model: whose embeddings;
-- $near: how many candidates the words bring, and how many the signs bring.
WITH allowed AS MATERIALIZED (
    SELECT number
    FROM insight_index
    WHERE ($capability::VARCHAR IS NULL OR capability = $capability)
        AND ($mechanisms::VARCHAR[] IS NULL OR list_has_any(mechanisms, $mechanisms::VARCHAR[]))
),
found AS MATERIALIZED (
    SELECT word_id, number, weight
    FROM insight_postings
    WHERE word_id IN (
        SELECT word_id FROM insight_words WHERE list_contains($words::VARCHAR[], word)
    )
),
rarity AS (  -- over all insights: a filter does not make a word rare
    SELECT word_id,
        ln(1 + ((SELECT count(*) FROM insight_index) - count(*) + 0.5) / (count(*) + 0.5)) AS idf
    FROM found
    GROUP BY word_id
),
by_words AS MATERIALIZED (
    SELECT number, sum(idf * weight) AS bm25
    FROM found
    JOIN rarity USING (word_id)
    WHERE number IN (SELECT number FROM allowed)
    GROUP BY number
),
by_signs AS (
    SELECT number
    FROM insight_embeddings
    WHERE $vector::FLOAT[384] IS NOT NULL AND model = $model
        AND number IN (SELECT number FROM allowed)
    ORDER BY bit_count(xor(signs0, $signs[1]::UBIGINT))::INTEGER
        + bit_count(xor(signs1, $signs[2]::UBIGINT))
        + bit_count(xor(signs2, $signs[3]::UBIGINT))
        + bit_count(xor(signs3, $signs[4]::UBIGINT))
        + bit_count(xor(signs4, $signs[5]::UBIGINT))
        + bit_count(xor(signs5, $signs[6]::UBIGINT)), number
    LIMIT $near
),
candidates AS MATERIALIZED (
    (SELECT number FROM by_words ORDER BY bm25 DESC, number LIMIT $near)
    UNION
    SELECT number FROM by_signs
),
compared AS (
    SELECT number, array_inner_product(vector, $vector::FLOAT[384]) AS cosine
    FROM insight_embeddings
    WHERE $vector::FLOAT[384] IS NOT NULL AND model = $model
        AND number IN (SELECT number FROM candidates)
),
ranked AS (
    SELECT number, bm25, cosine,
        CASE WHEN bm25 IS NOT NULL
            THEN row_number() OVER (ORDER BY bm25 DESC NULLS LAST, insight_id) END AS words_rank,
        CASE WHEN cosine IS NOT NULL
            THEN row_number() OVER (ORDER BY cosine DESC NULLS LAST, insight_id) END AS meaning_rank,
        (1 - $mix) * coalesce(bm25 / max(bm25) OVER (), 0)
            + $mix * coalesce(cosine / nullif(max(cosine) OVER (), 0), 0) AS score,
        insight_id
    FROM candidates
    JOIN insight_index USING (number)
    LEFT JOIN by_words USING (number)
    LEFT JOIN compared USING (number)
),
best AS MATERIALIZED (  -- before their texts are read
    SELECT score, words_rank, meaning_rank, insight_id
    FROM ranked
    ORDER BY score DESC, insight_id
    LIMIT $limit
)
SELECT score, words_rank, meaning_rank, insights.*
FROM best
JOIN insights USING (insight_id)
ORDER BY score DESC, insight_id;
