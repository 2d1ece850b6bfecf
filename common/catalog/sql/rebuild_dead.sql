-- One row: how many packs were gone before, and nobody needs.
SELECT holdfast.rebuild_dead($1, $2, $3, $4)
