-- One row: the catalogue's clock.
SELECT clock_timestamp()
