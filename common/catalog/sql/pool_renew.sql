-- One row: the pool's new generation.
UPDATE holdfast.pool SET generation = gen_random_uuid() WHERE no = $1 RETURNING generation
