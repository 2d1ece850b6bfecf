-- A row a part, in order; or one with the reason why it is refused.
SELECT refused, n, bytes FROM holdfast.grant_take($1, $2, $3) ORDER BY n
