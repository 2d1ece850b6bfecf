-- One row: the number of the newest migration that was applied; none: no schema.
SELECT max(number) FROM holdfast.schema_version
