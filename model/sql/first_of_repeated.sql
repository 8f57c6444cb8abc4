-- Of the rows that share a transaction id the earliest; rows of one moment are told apart by what they say.
SELECT
    transaction_id, tx_seconds, customer_key, terminal_key, tx_amount, tx_fraud, tx_fraud_scenario, report_seconds, cause
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY transaction_id
            -- Engines differ in where nulls come by default.
            ORDER BY
                tx_seconds, customer_key, terminal_key, tx_amount,
                tx_fraud NULLS LAST, tx_fraud_scenario NULLS LAST, report_seconds NULLS LAST
        ) AS place
    FROM classified
    WHERE cause IS NULL AND transaction_id IN (SELECT transaction_id FROM repeated)
) AS numbered
WHERE place = 1
