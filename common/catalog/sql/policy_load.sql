-- One row: the document in force and its digest; none: no policy yet.
SELECT document, digest FROM holdfast.policy_version ORDER BY no DESC LIMIT 1
