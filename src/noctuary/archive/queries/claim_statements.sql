-- What was stated about a claim: registered, drawn, decided; in that order.
SELECT number, sha256
FROM statements
WHERE contains(payload, '"claim":"' || $claim || '"')
  AND (
    contains(payload, '"predicateType":"urn:noctuary:registration:1"')
    OR contains(payload, '"predicateType":"urn:noctuary:draw:1"')
    OR contains(payload, '"predicateType":"urn:noctuary:verdict:1"')
  )
ORDER BY number
