-- A row a slot that got a job: its place in the arguments, the job, the state it was made in.
SELECT n, job, state FROM holdfast.slots_fire($1, $2, $3, $4, $5, $6, $7, $8)
