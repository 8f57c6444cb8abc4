-- The statistics of every key seen in the last 30 days, over [as_of - window, as_of), hours since 1970.
SELECT
    key,
    ${sums}
FROM ${tiles}
WHERE hour >= ${as_of} - ${longest} AND hour < ${as_of}
GROUP BY key
ORDER BY key
