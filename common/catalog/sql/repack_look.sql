-- One row: packs that may be half-dead, their bytes; those known to be, and what is free in them; all bytes that backups
-- name, those known to be unused; the packs that a repack would take, and what that frees.
SELECT candidates, candidate_bytes, half_dead, frees, named_bytes, unused_bytes, takes, take_frees FROM holdfast.repack_look($1, $2, $3)
