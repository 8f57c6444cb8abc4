-- Classified rows with what the reports say in the place of what the rows say of themselves.
SELECT
    classified.transaction_id,
    classified.tx_seconds,
    classified.customer_key,
    classified.terminal_key,
    classified.tx_amount,
    COALESCE(verdicts.tx_fraud, classified.tx_fraud) AS tx_fraud,
    classified.tx_fraud_scenario,
    CASE
        WHEN verdicts.transaction_id IS NULL THEN classified.report_seconds ELSE verdicts.report_seconds
    END AS report_seconds,
    classified.cause
FROM classified
LEFT JOIN verdicts ON verdicts.transaction_id = classified.transaction_id
