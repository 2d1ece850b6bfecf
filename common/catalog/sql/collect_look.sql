-- One row: what a run of the collector would find.
SELECT unused, unused_bytes, live, condemned, dying, damaged FROM holdfast.collect_look($1, $2, $3)
