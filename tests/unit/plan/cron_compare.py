#!/usr/bin/python3
"""Holds cron_next against Python's zoneinfo, minute by minute, over zones, years and rules.

The reference walks every local minute of the period: a wall time that does not exist runs at the end
of its gap, one that exists twice runs the first time; rules with `*` hours follow elapsed time.
usage: cron_compare.py PROGRAM [ZONES [YEARS [RULES]]]
"""
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

program = sys.argv[1]
zones_wanted, years, rules_wanted = (int(x) for x in (sys.argv[2:] + ["8", "1", "12"][len(sys.argv) - 2:]))
dice = random.Random(1)
UTC = timezone.utc
usual = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata",
         "Africa/Casablanca", "Pacific/Apia", "UTC"]
others = sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc", "SystemV", "posix", "right")))
zones = (usual + dice.sample(others, max(0, zones_wanted - len(usual))))[:zones_wanted]


def field(least, most):
    kind = dice.randrange(4)
    if kind == 0:
        return "*", set(range(least, most + 1))
    if kind == 1:
        step = dice.choice([2, 3, 5, 7])
        return f"*/{step}", set(range(least, most + 1, step))
    if kind == 2:
        a = dice.randint(least, most)
        b = dice.randint(a, most)
        return f"{a}-{b}", set(range(a, b + 1))
    values = sorted(dice.sample(range(least, most + 1), 2))
    return ",".join(map(str, values)), set(values)


def rule():
    minute = dice.randrange(60)
    hour_text, hours = field(0, 23)
    if dice.random() < 0.5:
        hour = dice.choice([0, 1, 2, 3, 23])
        hour_text, hours = str(hour), {hour}
    day_text, days = ("*", set(range(1, 32))) if dice.random() < 0.6 else field(1, 31)
    month_text, months = ("*", set(range(1, 13))) if dice.random() < 0.8 else field(1, 12)
    week_text, weekdays = ("*", set(range(7))) if dice.random() < 0.6 else field(0, 6)
    text = f"{minute} {hour_text} {day_text} {month_text} {week_text}"
    return text, minute, hours, hour_text == "*", days, day_text[0] == "*", months, weekdays, week_text[0] == "*"


def day_fits(r, day):
    _, _, _, _, days, any_day, months, weekdays, any_week = r
    if day.month not in months:
        return False
    in_days, in_week = day.day in days, (day.weekday() + 1) % 7 in weekdays
    return (in_days and in_week) if any_day or any_week else (in_days or in_week)


def gap_end(zone, wall):
    """The first instant after a wall time that clocks skip."""
    low = (wall - timedelta(days=1)).replace(tzinfo=UTC).timestamp() - 86400
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    # inside a gap fold=0 gives the offset before it, fold=1 the one after it
    low = int(wall.replace(tzinfo=UTC).timestamp() - max(before, after).total_seconds()) - 1
    high = int(wall.replace(tzinfo=UTC).timestamp() - min(before, after).total_seconds())
    def offset(at):
        return datetime.fromtimestamp(at, zone).utcoffset()
    while offset(low) == offset(high):
        low -= 3600
    while high - low > 1:
        middle = (low + high) // 2
        if offset(middle) == offset(high):
            high = middle
        else:
            low = middle
    return high


def expected(zone, r, start, end):
    found = set()
    if r[3]:
        at = (start // 60 + 1) * 60
        while at <= end:
            local = datetime.fromtimestamp(at, zone)
            if local.minute == r[1] and local.second == 0 and day_fits(r, local):
                found.add(at)
            at += 60
    else:
        day = datetime.fromtimestamp(start, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
        day -= timedelta(days=2)
        while day.replace(tzinfo=UTC).timestamp() < end + 2 * 86400:
            if day_fits(r, day):
                for hour in r[2]:
                    wall = day + timedelta(hours=hour, minutes=r[1])
                    instant = wall.replace(tzinfo=zone, fold=0)
                    at = int(instant.timestamp())
                    if datetime.fromtimestamp(at, zone).replace(tzinfo=None) != wall:
                        at = gap_end(zone, wall)
                    found.add(at)
            day += timedelta(days=1)
    return sorted(at for at in found if start < at <= end)


checked = differences = 0
cases = []
for name in zones:
    zone = ZoneInfo(name)
    start = int(datetime(2024 + dice.randrange(4), 1, 1, tzinfo=UTC).timestamp())
    for _ in range(rules_wanted):
        r = rule()
        cases.append((name, r, start, expected(zone, r, start, start + years * 365 * 86400)))
lines = "".join(f"{name}|{r[0]}|{start}|{len(want)}\n" for name, r, start, want in cases)
out = subprocess.run([program, "--next"], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
for (name, r, start, want), line in zip(cases, out, strict=True):
    have = [int(x) for x in line.split()]
    checked += len(want)
    if have != want:
        differences += 1
        first = next((i for i, (a, b) in enumerate(zip(have, want)) if a != b), min(len(have), len(want)))
        print(f"{name} '{r[0]}' after {start}: item {first}: {have[first:first + 2]} instead of {want[first:first + 2]}")
print(f"{len(cases)} rules in {len(zones)} zones, {checked} slots, {differences} differences")
sys.exit(differences != 0)
