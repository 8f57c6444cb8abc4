-- The statistics of a key at each hour asked for in points (key, hour), over [hour - window, hour).
-- An hour asked for is a tile of zeros: it adds nothing to any sum and gives the window function a row to answer on.
SELECT key, hour, ${columns}
FROM (
    SELECT
        key,
        hour,
        asked,
        ${sums}
    FROM (
        SELECT
            key,
            hour,
            SUM(transactions) AS transactions,
            SUM(amount) AS amount,
            SUM(amount_squared) AS amount_squared,
            SUM(reports) AS reports,
            MAX(asked) AS asked
        FROM (
            SELECT key, hour, transactions, amount, amount_squared, reports, 0 AS asked FROM ${tiles}
            UNION ALL
            SELECT key, hour, 0, 0, CAST(0 AS DECIMAL(38, 0)), 0, 1 FROM ${points}
        ) AS both_kinds
        GROUP BY key, hour
    ) AS by_hour
    WINDOW
        ${windows}
) AS answered
WHERE asked = 1 AND (transactions_${longest_name} > 0 OR reports_${longest_name} > 0)
