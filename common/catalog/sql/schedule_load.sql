-- A row a schedule of a living source, with the clock and the mark of the policy in each.
SELECT c.source, s.name, c.name, c.kind, c.at, c.timezone, c.catch_up, coalesce(s.paused_until > clock_timestamp(), false),
  coalesce(c.start_deadline_s, 0), c.last_slot, clock_timestamp(),
  coalesce((SELECT hashtextextended(concat_ws(' ', no, digest, extract(epoch FROM applied_at)), 0) & 9223372036854775807
    FROM holdfast.policy_version ORDER BY no DESC LIMIT 1), 0)
FROM holdfast.schedule c JOIN holdfast.source s ON s.no = c.source WHERE s.retired_at IS NULL ORDER BY c.source, c.name
