-- One row: the pool's generation.
SELECT generation FROM holdfast.pool WHERE no = $1
