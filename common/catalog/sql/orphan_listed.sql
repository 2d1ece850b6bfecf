-- One row: what there is now that everything was listed, and why nothing is moved (NULL: it is).
SELECT fresh, known, strangers, blocked FROM holdfast.orphan_listed($1, $2, $3, $4, $5)
