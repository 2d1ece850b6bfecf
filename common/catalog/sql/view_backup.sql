-- A row when there is such a backup: it, its contents, issues and proofs; $8 id.
SELECT (holdfast.backup_json(b) || jsonb_build_object('receipt', b.receipt, 'issues', b.issues,
  'parent', holdfast.backup_text(b.parent), 'manifest_sha256', encode(b.manifest_sha256, 'hex'), 'packs', cardinality(b.packs),
  'held_reason', b.held_reason, 'hold_stored', CASE WHEN b.held_until IS NOT NULL THEN b.hold_stored_at IS NOT NULL END,
  'copies', (SELECT coalesce(jsonb_agg(holdfast.place_json(p) ORDER BY p.made_here DESC, p.committed_at), '[]') FROM holdfast.backup_place p WHERE p.backup = b.id),
  'plain', (SELECT coalesce(jsonb_agg(holdfast.plain_json(c) ORDER BY c.no), '[]') FROM holdfast.plain_copy c WHERE c.backup = b.id AND c.gone_at IS NULL),
  'retention', (SELECT x.reason FROM holdfast.retention_ruling x JOIN holdfast.retention_run n ON n.job = x.job
    WHERE x.backup = b.id AND n.repository = b.repository ORDER BY x.job DESC LIMIT 1),
  'contents', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', i.kind, 'name', i.name, 'items', i.entries, 'rows', i.rows, 'bytes', i.bytes)
      ORDER BY i.n), '[]') FROM holdfast.backup_item i WHERE i.backup = b.id),
  'verifications', (SELECT coalesce(jsonb_agg(jsonb_build_object('level', v.level, 'result', v.result, 'at', holdfast.rfc3339(v.finished_at),
      'seconds', round(extract(epoch FROM v.finished_at - v.started_at)), 'job', holdfast.job_text(v.job), 'checks', v.checks) ORDER BY v.id), '[]')
    FROM holdfast.verification v WHERE v.backup = b.id)))::text
FROM holdfast.backup b WHERE b.id = $8
