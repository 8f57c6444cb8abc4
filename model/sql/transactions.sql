-- The transactions that can be used, each id once: of several rows with one id the earliest stays.
-- The ids themselves have done their work here; a label that is still null has not been reported.
SELECT
    tx_seconds,
    CAST(FLOOR(tx_seconds / 3600) AS BIGINT) AS tx_hour,
    customer_key,
    terminal_key,
    tx_amount,
    CAST(FLOOR(tx_amount * 100 + 0.5) AS BIGINT) AS amount_hundredths,
    tx_fraud,
    tx_fraud_scenario,
    -- No report can come before its transaction.
    CAST(FLOOR(GREATEST(COALESCE(report_seconds, tx_seconds + ${label_delay}), tx_seconds) / 3600) AS BIGINT)
        AS report_hour
FROM (
    SELECT * FROM classified
    -- NOT IN would have to think of nulls, for which Spark gives the whole table of repeated ids to every executor.
    WHERE cause IS NULL
        AND NOT EXISTS (SELECT 1 FROM repeated WHERE repeated.transaction_id = classified.transaction_id)
    UNION ALL
    SELECT * FROM first_of_repeated
) AS kept
