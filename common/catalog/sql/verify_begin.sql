-- One row: packs and bytes of the round, and how much of them is done.
SELECT packs, bytes, done, done_bytes FROM holdfast.verify_begin($1, $2, $3)
