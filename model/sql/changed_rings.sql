-- Rings after something came to them, left them or moved from one to another; what has left takes a minus.
SELECT
    key,
    ring,
    SUM(transactions) AS transactions,
    SUM(amount) AS amount,
    SUM(amount_squared) AS amount_squared,
    SUM(reports) AS reports
FROM (
    SELECT key, ring, transactions, amount, amount_squared, reports FROM ${rings}
    UNION ALL
    SELECT key, ring, transactions, amount, amount_squared, reports FROM ${came}
    UNION ALL
    SELECT key, ring, -transactions, -amount, -amount_squared, -reports FROM ${gone}
) AS both_signs
GROUP BY key, ring
-- Of whom nothing is left nothing is known.
HAVING SUM(transactions) <> 0 OR SUM(reports) <> 0
