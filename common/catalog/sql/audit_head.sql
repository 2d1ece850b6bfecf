-- One row: number and hash of the newest linked event; none: no chain yet.
SELECT seq, hash FROM holdfast.audit_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1
