-- A row a schedule of a living source, with the clock and the policy's version in each.
SELECT c.source, s.name, c.name, c.kind, c.at, c.timezone, c.catch_up, coalesce(s.paused_until > clock_timestamp(), false),
  coalesce(c.start_deadline_s, 0), c.last_slot, clock_timestamp(), coalesce((SELECT max(no) FROM holdfast.policy_version), 0)
FROM holdfast.schedule c JOIN holdfast.source s ON s.no = c.source WHERE s.retired_at IS NULL ORDER BY c.source, c.name
