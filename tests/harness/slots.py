# SPDX-License-Identifier: Apache-2.0
"""When a schedule is due, worked out again: no rule about clock changes, only what the clocks of a zone show,
read minute by minute from Python's zoneinfo. A wall time that they never show is due at the first instant
after the jump; one that they show twice, the first time; a rule for all 24 hours whenever they show its
minute. It knows the rules that tests write: numbers, ranges, lists, steps, weekdays, H, H(a-b), @daily and
@weekly, every Nh and every Nm."""
import datetime
import re
import zoneinfo

SHORT = {"@daily": "H H * * *", "@weekly": "H H * * H", "@hourly": "H * * * *"}
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
HASH_MOST = (59, 23, 28, 12, 6)
WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


def hash_of(name, field):
    mask = 2**64 - 1
    number = 0xCBF29CE484222325
    for byte in name.encode() + bytes([48 + field]):
        number = (number ^ byte) * 0x100000001B3 & mask
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD & mask
    number = (number ^ number >> 33) * 0xC4CEB9FE1A85EC53 & mask
    return number ^ number >> 33


def values(index, text, name):
    """The values of one field."""
    least, most = FIELDS[index]
    found = set()
    for item in text.split(","):
        item, _, step = item.partition("/")
        hashed = re.fullmatch(r"H(?:\((\d+)-(\d+)\))?", item)
        if hashed:
            first, last = (int(each) for each in hashed.groups()) if hashed[1] else (least, HASH_MOST[index])
            found.add(first + hash_of(name, index) % (last - first + 1))
            continue
        first, _, last = item.partition("-")
        numbers = [WEEKDAYS[each] if each in WEEKDAYS else int(each) for each in (first, last or first)] if item != "*" else [least, most]
        found |= set(range(numbers[0], numbers[1] + 1, int(step or 1)))
    return found


class Clocks:
    """What the clocks of a zone show between two instants, and a day before and after."""

    def __init__(self, zone):
        self.zone = zoneinfo.ZoneInfo(zone)
        self.shown = {}  # (hour, minute) -> {date: (instants, do they show it?)}

    def read(self, start, end):
        before = None
        for at in range(start - 86400, end + 86400, 60):
            wall = datetime.datetime.fromtimestamp(at, self.zone).replace(tzinfo=None, fold=0)
            skipped = before + datetime.timedelta(minutes=1) if before else wall
            while skipped < wall:
                self.note(skipped, at, False)
                skipped += datetime.timedelta(minutes=1)
            self.note(wall, at, True)
            before = wall
        return self

    def note(self, wall, at, real):
        instants, _ = self.shown.setdefault((wall.hour, wall.minute), {}).setdefault(wall.date(), ([], real))
        instants.append(at)

    def date(self, at):
        return datetime.datetime.fromtimestamp(at, self.zone).date()

    def due(self, fields):
        minutes, hours, days, months, weekdays = (set_of for set_of, _ in fields)
        both = fields[2][1] == "*" or fields[4][1] == "*"
        for hour in hours:
            for minute in minutes:
                for date, (instants, real) in self.shown.get((hour, minute), {}).items():
                    day, weekday = date.day in days, date.isoweekday() % 7 in weekdays
                    if date.month in months and (day and weekday if both else day or weekday):
                        yield from instants if len(hours) == 24 and real else instants[:1] if len(hours) < 24 else ()


def due(rule, name, clocks, start, end):
    """The slots of the source `name` from `start` on and before `end`."""
    if rule.startswith("every "):
        step = int(rule[6:-1]) * {"h": 3600, "m": 60}[rule[-1]]
        return list(range(-(-start // step) * step, end, step))
    texts = SHORT.get(rule, rule).split()
    fields = [(values(index, text, name), text) for index, text in enumerate(texts)]
    return sorted({at for at in clocks.due(fields) if start <= at < end})
