-- Every transaction and every report as a tile of its own; the hourly tiles are these, added up by key and hour.
-- A report counts in the hour in which it arrived, not in the hour of its transaction.
SELECT
    ${entity}_key AS key,
    tx_hour AS hour,
    1 AS transactions,
    amount_hundredths AS amount,
    CAST(amount_hundredths AS DECIMAL(19, 0)) * CAST(amount_hundredths AS DECIMAL(19, 0)) AS amount_squared,
    0 AS reports
FROM ${transactions}
UNION ALL
SELECT
    ${entity}_key AS key,
    report_hour AS hour,
    0 AS transactions,
    0 AS amount,
    CAST(0 AS DECIMAL(38, 0)) AS amount_squared,
    1 AS reports
FROM ${transactions}
WHERE tx_fraud = 1
