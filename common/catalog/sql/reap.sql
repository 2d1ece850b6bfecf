-- Rows of one pass; job 0 says how it went.
SELECT job, attempt, instance, state, suspects, grace, mass FROM holdfast.reap()
