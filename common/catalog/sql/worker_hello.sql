-- One row: worker number, timers in milliseconds, drain.
SELECT worker, lease_ms, beat_ms, liveness_ms, drain FROM holdfast.worker_hello($1, $2, $3, $4, $5, $6::text::jsonb)
