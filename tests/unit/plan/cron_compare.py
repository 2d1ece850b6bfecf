#!/usr/bin/python3
"""Holds cron_next and cron_prev against Python's zoneinfo by brute force.

The reference knows no rule of its own about clock changes: for each day that is not like the others it
walks the instants one by one and writes down what the clocks show. A wall time that they never show runs
at the first instant after the jump, one that they show twice the first time; rules for all 24 hours run
whenever the clocks show their minute. Days, months, weekdays and hashes are worked out here again.
The places that are always among the zones are those at which a naive program goes wrong: half-hour
daylight time, daylight time that is negative, changes at midnight, whole days skipped, 2100 (no leap
year), years for which only the POSIX rule of the zone's file speaks.
usage: cron_compare.py PROGRAM [ZONES [YEARS [RULES [SEED]]]]
"""
import array
import multiprocessing
import random
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

PROGRAM = sys.argv[1]
ZONES, YEARS, RULES, SEED = (int(x) for x in (sys.argv[2:] + ["18", "1", "12", "1"][len(sys.argv) - 2:]))
UTC = timezone.utc
DAY = 86400
NAMED = [("Europe/Berlin", 2025), ("Australia/Lord_Howe", 2024), ("Pacific/Apia", 2011), ("Europe/Dublin", 2026),
         ("America/Sao_Paulo", 2016), ("Asia/Beirut", 2023), ("Africa/Casablanca", 2026), ("America/New_York", 2098),
         ("Antarctica/Troll", 2024), ("America/Havana", 2027), ("Asia/Pyongyang", 2014), ("Africa/Cairo", 2010),
         ("Asia/Gaza", 2024), ("America/Caracas", 2015), ("Pacific/Kwajalein", 1992), ("America/Nuuk", 2022),
         ("UTC", 2027), ("Pacific/Kiritimati", 1994), ("Asia/Tehran", 2019), ("Antarctica/Casey", 2018),
         ("Europe/Istanbul", 2014), ("Pacific/Chatham", 2040), ("America/Asuncion", 2021), ("Asia/Kathmandu", 2028)]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# least, most, most for H, name of the value n (for n in the dictionary)
FIELDS = [(0, 59, 59, {}), (0, 23, 23, {}), (1, 31, 28, {}), (1, 12, 12, {i + 1: n for i, n in enumerate(MONTHS)}),
          (0, 7, 6, dict(enumerate(WEEKDAYS)))]


def hash_of(name, field):
    mask = 2**64 - 1
    h = 0xCBF29CE484222325
    for c in name.encode() + bytes([48 + field]):
        h = (h ^ c) * 0x100000001B3 & mask
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & mask
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & mask
    return h ^ h >> 33


class Dice(random.Random):
    def item(self, index, name):
        """One item of a list: its text and its values."""
        least, most, hash_most, names = FIELDS[index]
        write = lambda n: self.choice([str.upper, str.lower, str.title])(names[n]) if n in names and self.random() < 0.5 else str(n)
        kind = self.randrange(9)
        a = self.randint(least, most)
        b = self.randint(a, most)
        step = self.randint(1, min(9, most))
        if kind == 0:
            return f"*/{step}", set(range(least, most + 1, step))
        if kind == 1:
            return f"{write(a)}-{write(b)}", set(range(a, b + 1))
        if kind == 2:
            return f"{write(a)}-{write(b)}/{step}", set(range(a, b + 1, step))
        if kind == 3:
            return f"{a}/{step}", set(range(a, most + 1, step))
        h = hash_of(name, index)
        if kind == 4:
            return "H", {least + h % (hash_most - least + 1)}
        if kind == 5:
            return f"H({a}-{b})", {a + h % (b - a + 1)}
        if kind == 6 and step <= hash_most - least + 1:
            return f"H/{step}", set(range(least + h % step, hash_most + 1, step))
        if kind == 7 and step <= b - a + 1:
            return f"H({a}-{b})/{step}", set(range(a + h % step, b + 1, step))
        return write(a), {a}

    def field(self, index, name, star):
        if self.random() < star:
            return "*", set(range(FIELDS[index][0], FIELDS[index][1] + 1))
        items = [self.item(index, name) for _ in range(self.choice([1, 1, 1, 2, 3]))]
        return ",".join(text for text, _ in items), set().union(*(values for _, values in items))

    def rule(self):
        while True:
            name = f"source-{self.randrange(10000)}"
            if self.random() < 0.04:
                every = self.choice([3600, 6 * 3600, 90 * 60, 86400, 7 * 86400, 12345])
                return f"every {every}s", name, every
            short = {"@hourly": "H * * * *", "@daily": "H H * * *", "@midnight": "H H(0-2) * * *", "@weekly": "H H * * H",
                     "@monthly": "H H H * *", "@yearly": "H H H H *", "@annually": "H H H H *"}
            if self.random() < 0.06:
                text = self.choice(sorted(short))
                fields = [("*", set(range(FIELDS[i][0], FIELDS[i][1] + 1))) if f == "*" else
                          (f, {hash_of(name, i) % (3 if "(" in f else FIELDS[i][2] - FIELDS[i][0] + 1) + FIELDS[i][0]})
                          for i, f in enumerate(short[text].split())]
            else:
                # Few minutes and the hours of clock changes, for most: what is dense is slow and says little.
                fields = [self.field(0, name, 0.01), self.field(1, name, 0.15), self.field(2, name, 0.6),
                          self.field(3, name, 0.7), self.field(4, name, 0.6)]
                if self.random() < 0.75:
                    minute = self.randrange(60)
                    fields[0] = (str(minute), {minute})
                if self.random() < 0.4:
                    hours = self.choice([{0}, {1}, {2}, {3}, {23}, {0, 1, 2, 3}])
                    fields[1] = (",".join(map(str, sorted(hours))), hours)
                text = self.choice([" ", "  ", "\t"]).join(f for f, _ in fields)
            days, months = fields[2][1], fields[3][1]
            either = fields[2][0][0] != "*" and fields[4][0][0] != "*"
            if either or any(d <= (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[m - 1] for m in months for d in days):
                return text, name, fields


class Clocks:
    """What the clocks of one zone show from one instant to another."""

    def __init__(self, name, start, end):
        self.zone = ZoneInfo(name)
        self.start, self.end = start, end
        first = start // DAY * DAY - 3 * DAY
        hours = [self.offset(at) for at in range(first, end + 5 * DAY, 3600)]
        changes = [first + i * 3600 for i in range(1, len(hours)) if hours[i] != hours[i - 1]]
        assert all(o % 60 == 0 for o in hours), "offsets with seconds are not for this comparison"
        self.days = []
        for midnight in range(first + 2 * DAY, end + 2 * DAY, DAY):  # as if it were UTC
            day = date(1970, 1, 1) + timedelta(days=midnight // DAY)
            near = [c for c in changes if midnight - 30 * 3600 < c < midnight + 54 * 3600]
            if near:
                table = self.walk(midnight)
            else:
                table = midnight - hours[(midnight - first) // 3600]
            self.days.append((day.day, day.month, day.isoweekday() % 7, table))

    def offset(self, at):
        return int(datetime.fromtimestamp(at, self.zone).utcoffset().total_seconds())

    def walk(self, midnight):
        """Minute of the day -> all instants that show it; or that it runs at, when none does."""
        shown = {}
        before = None
        for at in range(midnight - 28 * 3600, midnight + 52 * 3600, 60):
            wall = at + self.offset(at)
            if before is not None:
                for skipped in range(before + 60, wall, 60):
                    shown.setdefault((skipped - midnight) // 60, ([at], False))
            shown.setdefault((wall - midnight) // 60, ([], True))[0].append(at)
            before = wall
        return {minute: shown[minute] for minute in range(1440)}

    def slots(self, fields):
        if isinstance(fields, int):
            return [at for at in range(0, self.end + 1, fields) if at > self.start] if self.start < 10**8 else \
                list(range((self.start // fields + 1) * fields, self.end + 1, fields))
        (_, minutes), (_, hours), (day_text, days), (_, months), (week_text, weekdays) = fields
        every_hour = len(hours) == 24
        weekdays = {w % 7 for w in weekdays}
        times = sorted(h * 60 + m for h in hours for m in minutes)
        seconds = [t * 60 for t in times]
        both = day_text[0] == "*" or week_text[0] == "*"
        found = []
        for day, month, weekday, table in self.days:
            if month not in months:
                continue
            if not ((day in days and weekday in weekdays) if both else (day in days or weekday in weekdays)):
                continue
            if isinstance(table, int):
                found += [table + s for s in seconds]
                continue
            for t in times:
                instants, real = table[t]
                if not every_hour:
                    found.append(instants[0])
                elif real:
                    found += instants
        return sorted({at for at in found if self.start < at <= self.end})


def compare(job):
    name, year, seed = job
    dice = Dice(f"{SEED} {seed} {name}")
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) + dice.randrange(30 * DAY)
    end = start + YEARS * 365 * DAY
    try:
        clocks = Clocks(name, start, end)
    except AssertionError:
        return compare((name, year + 60, seed))
    rules = [dice.rule() for _ in range(RULES)]
    lines = "".join(f"{name}|{source}|{text}|{start}|{end}\n" for text, source, _ in rules)
    out = subprocess.run([PROGRAM, "--slots"], input=lines.encode(), capture_output=True, check=False)
    if out.returncode != 0:
        return 0, [f"{name}: {out.stderr.decode()}"]
    have = array.array("q", out.stdout)
    at = slots = 0
    wrong = []
    for text, source, fields in rules:
        count, backwards = have[at], have[at + 1]
        mine, theirs = clocks.slots(fields), have[at + 2:at + 2 + count].tolist()
        at += 2 + count
        slots += len(mine)
        if mine != theirs:
            i = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), min(len(mine), len(theirs)))
            show = lambda values: [f"{v} ({datetime.fromtimestamp(v, clocks.zone)})" for v in values[i:i + 2]]
            wrong.append(f"{name} '{text}' of {source} after {start}: slot {i} is {show(theirs)} instead of {show(mine)}")
        if not backwards:
            wrong.append(f"{name} '{text}' of {source}: cron_prev does not walk back over the same slots")
    return slots, wrong


def main():
    dice = random.Random(SEED)
    others = sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc", "SystemV", "posix", "right"))
                    and z not in dict(NAMED))
    drawn = dice.sample(others, max(0, min(ZONES - len(NAMED), len(others))))
    zones = (NAMED + [(z, dice.choice([1996, 2005, 2015, 2024, 2027, 2035, 2039, 2094])) for z in drawn])[:ZONES]
    slots, wrong = 0, []
    with multiprocessing.Pool(2) as pool:
        for count, problems in pool.imap_unordered(compare, [(z, y, i) for i, (z, y) in enumerate(zones)]):
            slots += count
            wrong += problems
            for problem in problems[:3]:
                print(problem, flush=True)
    print(f"{len(zones)} zones x {YEARS} years x {RULES} rules: {slots} slots, {len(wrong)} differences")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
