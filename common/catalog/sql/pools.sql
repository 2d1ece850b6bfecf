-- A row a pool: number, name, generation, window, due, queued, running, paused, oldest, and when the next job of any pool is due.
SELECT p.no, p.name, p.generation, p.window_size, coalesce(j.due, 0), coalesce(j.queued, 0), coalesce(j.running, 0), p.paused, j.oldest,
  (SELECT min(run_at) FROM holdfast.job WHERE state = 'pending' AND run_at > clock_timestamp())
FROM holdfast.pool p LEFT JOIN (
  SELECT pool, count(*) FILTER (WHERE state = 'pending' AND run_at <= clock_timestamp()) AS due,
    count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'running') AS running,
    min(run_at) FILTER (WHERE state = 'queued' OR (state = 'pending' AND run_at <= clock_timestamp())) AS oldest
  FROM holdfast.job WHERE state IN ('pending', 'queued', 'running') GROUP BY pool) j ON j.pool = p.no ORDER BY p.no
