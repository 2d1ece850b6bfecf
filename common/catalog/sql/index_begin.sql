-- One row: nothing. An index object is going to be written, over these packs.
SELECT holdfast.index_begin($1, $2, $3, $4, $5, $6)
