-- One row: how many packs of jobs that are over were given to the collector.
SELECT holdfast.sweep_staged()
