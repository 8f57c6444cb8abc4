-- Every row of history with the reason why it cannot be used, null where it can.
-- The first reason that applies counts.
SELECT
    history.transaction_id,
    history.tx_seconds,
    customer_keys.key AS customer_key,
    terminal_keys.key AS terminal_key,
    history.tx_amount,
    history.tx_fraud,
    history.tx_fraud_scenario,
    history.report_seconds,
    CASE
        WHEN NOT history.readable
            THEN 'unreadable_row'
        WHEN history.tx_seconds IS NULL OR history.tx_seconds < ${earliest} OR history.tx_seconds >= ${latest}
            THEN 'unusable_time'
        WHEN history.transaction_id IS NULL OR history.transaction_id = '${missing_id}' OR history.transaction_id = ''
            THEN 'unusable_transaction_id'
        WHEN customer_keys.key IS NULL
            THEN 'unusable_customer_id'
        WHEN terminal_keys.key IS NULL
            THEN 'unusable_terminal_id'
        WHEN history.tx_amount IS NULL OR NOT (history.tx_amount >= 0 AND history.tx_amount <= ${max_amount})
            THEN 'unusable_amount'
        WHEN history.tx_fraud NOT IN (0, 1)
            THEN 'unusable_label'
    END AS cause
FROM history
LEFT JOIN customer_keys ON history.customer_id = customer_keys.id
LEFT JOIN terminal_keys ON history.terminal_id = terminal_keys.id
