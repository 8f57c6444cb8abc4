-- What point_in_time.sql answers, for hours asked for that are few beside the tiles: each takes its own tiles' sums.
-- Where they are many, the tiles of a key would be read again for each of them.
SELECT
    points.key,
    points.hour,
    ${sums}
FROM ${points}
INNER JOIN ${tiles}
    ON tiles.key = points.key AND tiles.hour >= points.hour - ${longest} AND tiles.hour < points.hour
GROUP BY points.key, points.hour
