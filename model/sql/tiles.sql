-- Hourly tiles of one entity: one row per key and hour in which something happened.
-- A report counts in the hour in which it arrived, not in the hour of its transaction.
-- Amounts are whole hundredths, so that sums are exact and do not depend on the order of the rows.
SELECT
    key,
    hour,
    CAST(SUM(transactions) AS BIGINT) AS transactions,
    CAST(SUM(amount) AS BIGINT) AS amount,
    CAST(SUM(amount_squared) AS DECIMAL(38, 0)) AS amount_squared,
    CAST(SUM(reports) AS BIGINT) AS reports
FROM (
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
) AS events
GROUP BY key, hour
