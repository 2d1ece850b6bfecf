-- One row: the role is gone, the registration retired.
SELECT holdfast.enroll_drop($1)
