-- One row: nothing. What a run did, into the audit log.
SELECT holdfast.collect_tell($1, $2, $3, $4::text::jsonb)
