-- One row: packs that may be half-dead, their bytes; those known to be, and what is free in them.
SELECT candidates, candidate_bytes, half_dead, frees FROM holdfast.repack_look($1, $2, $3)
