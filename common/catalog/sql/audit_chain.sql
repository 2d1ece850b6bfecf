-- One row: how many events were linked.
SELECT holdfast.audit_chain(1000)
