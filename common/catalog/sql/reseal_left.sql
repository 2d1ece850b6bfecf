-- One row: packs and bytes that are left, bytes that one job does.
SELECT packs, bytes, job_bytes FROM holdfast.reseal_left($1, $2, $3, $4)
