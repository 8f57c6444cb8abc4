-- What is known of each transaction that somebody reported: the lines of reports in, one row a transaction out.
-- A line with tx_fraud 0 takes back all reports up to its moment. Of those after the last such line the first counts.
SELECT
    transaction_id,
    CASE WHEN MIN(standing) IS NULL THEN 0 ELSE 1 END AS tx_fraud,
    MIN(standing) AS report_seconds
FROM (
    SELECT
        transaction_id,
        CASE
            WHEN tx_fraud = 1 AND report_seconds > COALESCE(taken_back, report_seconds - 1) THEN report_seconds
        END AS standing
    FROM (
        SELECT
            transaction_id,
            tx_fraud,
            report_seconds,
            MAX(CASE WHEN tx_fraud = 0 THEN report_seconds END) OVER (PARTITION BY transaction_id) AS taken_back
        FROM ${reports}
    ) AS dated
) AS judged
GROUP BY transaction_id
