-- One row: the value; fails when no setting has that name.
SELECT holdfast.setting_of($1)
