-- A row an object that no row accounts for: its place in the list, from 1, its kind, and why.
SELECT n, kind, why FROM holdfast.orphan_ask($1, $2, $3, $4)
