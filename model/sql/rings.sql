-- Tiles as coarse as the windows of one moment allow: a ring is what lies between one window and the next larger one.
SELECT
    key,
    ring,
    SUM(transactions) AS transactions,
    SUM(amount) AS amount,
    SUM(amount_squared) AS amount_squared,
    SUM(reports) AS reports
FROM (
    SELECT
        key,
        ${ring} AS ring,
        transactions,
        amount,
        amount_squared,
        reports
    FROM ${tiles}
    WHERE hour >= ${as_of} - ${longest} AND hour < ${as_of}
) AS placed
GROUP BY key, ring
