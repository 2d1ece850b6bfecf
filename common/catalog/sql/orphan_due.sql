-- A row an object that goes to quarantine, or whose time there is over.
SELECT no, name, place, over, bytes FROM holdfast.orphan_due($1, $2, $3, $4)
