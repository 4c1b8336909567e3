-- The newest statement about a row, as a row is named in statements: its table and its key.
SELECT a.statement, s.sha256
FROM attested a
JOIN statements s ON s.number = a.statement
WHERE a."table" = $table AND a.key = $key;
