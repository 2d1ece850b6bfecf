-- A row when the policy has the source: everything about it; $4 name.
SELECT (holdfast.source_json(f) || jsonb_build_object('config', f.spec -> 'config', 'spec', f.spec,
  'backups', (SELECT count(*) FROM holdfast.backup b WHERE b.source = f.no AND b.deleted_at IS NULL)))::text
FROM holdfast.source_facts f WHERE f.name = $4
