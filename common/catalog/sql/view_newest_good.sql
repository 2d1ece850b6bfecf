-- One row: the newest backup of source $1 before $11 that nothing is known against, and those that were passed over.
SELECT holdfast.backup_newest_good($1, $11)::text
