-- One row: the epochs that the catalogue knows of this repository.
SELECT gc_epoch, confirmed_epoch FROM holdfast.repository_bind($1, $2, $3, $4)
