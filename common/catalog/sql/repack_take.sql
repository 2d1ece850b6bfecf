-- A row a pack that is worth being packed anew, of those that were looked at.
SELECT no FROM holdfast.repack_take($1, $2, $3, $4)
