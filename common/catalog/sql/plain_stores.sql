-- A row a store in which source $1 has plain copies: its name, the seconds that it locks what is put there.
SELECT store, lock_s FROM holdfast.plain_stores($1)
