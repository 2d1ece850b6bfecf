-- One row: the term; 0: somebody else leads.
SELECT holdfast.leader_take($1, $2)
