#!/usr/bin/python3
"""Holds keep_decide against a brute-force reading of its header, over random rules and histories.

The reference sorts nothing into runs and keeps no counters: it writes down, for each backup, the name of
the period that a calendar gives it (zoneinfo, datetime.isocalendar), finds the newest good backup of every
name, and takes the last N of these. Zones whose clocks go back over midnight are left to the unit test.
usage: keep_compare.py PROGRAM [CASES [SEED]]
"""
import random
import subprocess
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

PROGRAM = sys.argv[1]
CASES, SEED = (int(x) for x in (sys.argv[2:] + ["2000", "1"][len(sys.argv) - 2:]))
RULES = ["last", "hourly", "daily", "weekly", "monthly", "yearly", "within"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Sydney", "Africa/Casablanca"]
RULE, MIN_GOOD, PROOF, NEWEST, HOLD, LOCK, USE, NO_RULE, NO_BETTER, FREEZE = (1 << i for i in range(10))
GOOD, DOUBTFUL, PARTIAL = 1, 2, 3
DAY = 86400


def period(rule, at, zone):
    here = datetime.fromtimestamp(at, timezone.utc).astimezone(zone)
    if rule == "hourly":  # two of them where clocks show one twice
        return (here.date(), here.hour, here.fold, here.utcoffset())
    return {"daily": here.date(), "weekly": here.isocalendar()[:2], "monthly": (here.year, here.month), "yearly": here.year}[rule]


def kept_by(rule, most, backups, zone, now):
    """{backup's number: place} among these, which all count."""
    order = sorted(backups, key=lambda b: (-b["at"], -b["seq"]))
    if most == 0 or not order:
        return {}
    if rule == "last":
        return {b["n"]: i + 1 for i, b in enumerate(order[:most])}
    if rule == "within":
        newest = min(order[0]["at"], now)
        return {b["n"]: i + 1 for i, b in enumerate(order) if b["at"] >= newest - most}
    newest_of = {}
    for b in reversed(order):
        newest_of[period(rule, b["at"], zone)] = b
    last = sorted(newest_of.values(), key=lambda b: (-b["at"], -b["seq"]))[:most]
    return {b["n"]: i + 1 for i, b in enumerate(last)}


def look(rules, backups, zone, now, out, which):
    good = [b for b in backups if b["quality"] == GOOD]
    both = [b for b in backups if b["quality"] in (GOOD, DOUBTFUL)]
    for i, rule in enumerate(RULES):
        for n, place in kept_by(rule, rules[i], good, zone, now).items():
            out[n][which][i] = place
        for n, place in kept_by(rule, rules[i], both, zone, now).items():
            if any(b["n"] == n and b["quality"] == DOUBTFUL for b in both):
                out[n][which][i] = place


def judge(case):
    zone, now, backups = ZoneInfo(case["zone"]), case["now"], case["backups"]
    for b in backups:
        b["at"] = min(max(b["told"], b["started"] - DAY), b["committed"])
    out = [([0] * 7, [0] * 7) for _ in backups]
    look(case["copy"], backups, zone, now, out, 0)
    look(case["own"], [b for b in backups if b["schedule"] == case["schedule"]], zone, now, out, 1)
    order = sorted(backups, key=lambda b: (-b["at"], -b["seq"]))
    good = [b for b in order if b["quality"] == GOOD]
    proved = [b for b in good if b["proved"]]
    answer = []
    for b in backups:
        why = RULE if any(out[b["n"]][0]) or any(out[b["n"]][1]) else 0
        why |= MIN_GOOD if b in good[:max(1, case["min_good"])] else 0
        why |= PROOF if proved and b is proved[0] else 0
        why |= NEWEST if b["seq"] == max(x["seq"] for x in backups) else 0
        why |= HOLD if b["held"] > now else 0
        why |= LOCK if max(b["locked"], b["committed"] + case["lock"] if case["lock"] else 0) > now else 0
        why |= USE if b["used"] else 0
        why |= NO_RULE if not any(case["copy"]) and b["schedule"] != case["schedule"] else 0
        newer = order[:order.index(b)]
        why |= NO_BETTER if b["quality"] != GOOD and not any(x["quality"] == GOOD for x in newer) else 0
        if why == 0 and case["failures"] >= 3:
            why = FREEZE
        answer.append(" ".join(map(str, [why] + [x for pair in zip(*out[b["n"]]) for x in pair])))
    return answer


def rules_of(dice):
    return [dice.randint(1, top) if dice.random() < 0.4 else 0 for top in (6, 40, 20, 10, 14, 4, 90 * DAY)]


def make(dice):
    step = dice.choice([600, 1800, 7200, 6 * 3600, DAY, DAY, 7 * DAY, 30 * DAY])
    at = dice.randint(1262304000, 1893456000)
    backups = []
    for n in range(dice.randint(0, 60)):
        at += dice.choice([step, step, step, dice.randint(1, 3 * step)])
        told = at if dice.random() < 0.95 else dice.choice([0, at - 400 * DAY, at + 400 * DAY, at - dice.randint(0, 2 * DAY)])
        backups.append({"n": n, "told": told, "started": at, "committed": at + dice.randint(0, 600), "seq": n + 1,
                        "schedule": dice.choice(["a", "b", "-"]), "quality": dice.choices([1, 2, 3], [8, 1, 1])[0],
                        "proved": int(dice.random() < 0.1), "used": int(dice.random() < 0.05),
                        "held": 0 if dice.random() < 0.9 else at + dice.randint(0, 90 * DAY),
                        "locked": 0 if dice.random() < 0.9 else at + dice.randint(0, 90 * DAY)})
    dice.shuffle(backups)
    for n, b in enumerate(backups):
        b["n"] = n
    return {"zone": dice.choice(ZONES), "now": at + dice.randint(600, 40 * DAY), "failures": dice.choice([0, 0, 0, 1, 2, 3, 4]),
            "min_good": dice.choice([1, 1, 2, 5]), "lock": dice.choice([0, 0, 7 * DAY]), "copy": rules_of(dice),
            "schedule": "a", "own": [1] + [0] * 6 if dice.random() < 0.2 else rules_of(dice), "backups": backups}


def text_of(case):
    lines = [" ".join(map(str, [case["zone"], case["now"], case["failures"], case["min_good"], case["lock"], *case["copy"],
                                case["schedule"], *case["own"], len(case["backups"])]))]
    keys = ["told", "started", "committed", "seq", "schedule", "quality", "proved", "used", "held", "locked"]
    return "\n".join(lines + [" ".join(str(b[k]) for k in keys) for b in case["backups"]]) + "\n"


def main():
    dice = random.Random(SEED)
    cases = [make(dice) for _ in range(CASES)]
    said = subprocess.run([PROGRAM, "judge"], input="".join(map(text_of, cases)), capture_output=True, text=True, check=True)
    lines = iter(said.stdout.splitlines())
    backups = kept = 0
    for number, case in enumerate(cases):
        for b, wanted in zip(case["backups"], judge(case)):
            got = next(lines)
            backups += 1
            kept += not got.startswith("0 ")
            if got != wanted:
                print(f"case {number} of seed {SEED}, sequence {b['seq']}: {got}\nbut the reference says {wanted}\n{text_of(case)}")
                return 1
    if next(lines, None) is not None or backups == 0 or not 0.1 < kept / backups < 0.95:
        print(f"the comparison says too little: {kept} of {backups} kept")
        return 1
    print(f"{CASES} cases, {backups} backups, {kept} kept: the same")
    return 0


sys.exit(main())
