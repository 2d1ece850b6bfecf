-- A row when there is such a job: it, its attempts and its decisions; $6 job.
SELECT (holdfast.job_json(j) || jsonb_build_object('params', j.params,
  'missing', CASE WHEN j.state IN ('pending', 'queued') AND holdfast.job_nobody(j) IS NOT NULL THEN
    (SELECT jsonb_agg(jsonb_build_object('worker', l.worker, 'serves', l.serves, 'text', l.lacks)) FROM holdfast.job_lacks(j) l) END,
  'attempts', (SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', a.attempt, 'worker', w.name, 'started_at', holdfast.rfc3339(a.started_at),
      'ended_at', holdfast.rfc3339(a.ended_at), 'outcome', a.outcome, 'cause', a.cause, 'text', a.error, 'bytes_done', a.bytes_done,
      'stored', a.stored) ORDER BY a.attempt), '[]')
    FROM holdfast.job_attempt a JOIN holdfast.worker w ON w.no = a.worker WHERE a.job = j.id),
  'decisions', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', holdfast.rfc3339(d.first_at), 'last_at', holdfast.rfc3339(d.last_at),
      'count', d.count, 'decision', d.verdict, 'reason', d.code, 'text', d.text, 'measured', d.measured) ORDER BY d.last_at, d.id), '[]')
    FROM holdfast.decision d WHERE d.job = j.id)))::text
FROM holdfast.job j WHERE j.id = $6
