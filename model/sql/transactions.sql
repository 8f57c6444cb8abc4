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
    SELECT * FROM classified WHERE cause IS NULL AND transaction_id NOT IN (SELECT transaction_id FROM repeated)
    UNION ALL
    SELECT * FROM first_of_repeated
) AS kept
