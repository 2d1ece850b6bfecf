-- One row: where a damaged pack goes.
SELECT no, name, place FROM holdfast.orphan_damaged($1, $2, $3, $4)
