-- The transaction ids that more than one usable row has; there are few of them.
SELECT transaction_id
FROM classified
WHERE cause IS NULL
GROUP BY transaction_id
HAVING COUNT(*) > 1
