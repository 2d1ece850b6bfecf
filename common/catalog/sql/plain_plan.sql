-- One row: whether the rules were those in force.
SELECT holdfast.plain_plan($1, $2, $3, $4, $5, $6)
