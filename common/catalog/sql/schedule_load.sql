-- A row a schedule of a living source, with the clock and the mark of the policy in each.
SELECT c.source, s.name, c.name, c.kind, c.at, c.timezone, c.catch_up, coalesce(s.paused_until > clock_timestamp(), false),
  coalesce(c.start_deadline_s, 0), c.last_slot, clock_timestamp(), (SELECT holdfast.policy_mark()),
  coalesce(c.params ->> 'method', s.spec ->> 'method', ''), NOT c.overlap_skip
FROM holdfast.schedule c JOIN holdfast.source s ON s.no = c.source WHERE s.retired_at IS NULL ORDER BY c.source, c.name
