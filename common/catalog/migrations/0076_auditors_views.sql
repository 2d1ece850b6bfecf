-- What an auditor's views call, he may call, and it reads by its owner's rights: a view lends those to tables, and to functions
-- none. No setting is a secret.
ALTER FUNCTION setting_of SECURITY DEFINER;
ALTER FUNCTION verify_place SECURITY DEFINER;
GRANT EXECUTE ON FUNCTION log_needs, verify_place, setting_of, rfc3339 TO holdfast_auditor;
