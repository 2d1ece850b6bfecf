# SPDX-License-Identifier: Apache-2.0
"""A restore's plan says how long it will take, from what was measured, and by what: nothing at first, a check of all
content as the least it can be, restores of other sources, and best of all those of its own, in proportion to what the
backup holds now. A policy's rto that it will miss is a warning. A part of a backup is neither measured nor estimated."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores  # noqa: E402


class Timed(Stores):
    def fleet(self, *words):
        return super().fleet(*words).replace("copies: [{store: main}]", "copies: [{store: main}], objectives: {rto: 1s}", 1)

    def plan(self, source, *words):
        return json.loads(self.must("restore", f"{source}@latest", "--to", self.top / "restore" / "planned", "--plan", "--json", *words))

    def restore(self, source, *words):
        out = self.top / "restore" / f"r{self.count('SELECT count(*) FROM job')}"
        self.must("restore", f"{source}@latest", "--to", out, "--yes", *words)
        self.complete(self.count("SELECT max(id) FROM job WHERE kind = 'restore'"))


def main():
    with Timed(workers=1, sources=2, files=200, file_bytes=20_000) as place:
        place.complete(place.run("s1"), place.run("s2"))
        assert "takes_seconds" not in place.plan("s1"), "no time without a basis"

        place.must("verify", "s1@latest", "--level", "content", "--wait")
        plan = place.plan("s1")
        assert plan["takes_basis"] == "checked" and plan["takes_seconds"] >= 1, plan

        place.restore("s1", "--only", f"{place.top}/tree/s1/f001"[1:])
        assert place.plan("s1")["takes_basis"] == "checked", "a part of a backup tells nothing of the whole"

        place.restore("s2")
        plan = place.plan("s1")
        assert plan["takes_basis"] == "others" and plan["takes_samples"] == 1, plan
        assert "takes_seconds" not in place.plan("s1", "--only", "nothing"), "nor the whole of a part"

        place.restore("s1")
        plan = place.plan("s1")
        assert plan["takes_basis"] == "restored" and plan["takes_samples"] == 1 and plan["rto_seconds"] == 1, plan

        # Slower than it was, by a measure that no machine's load can hide.
        place.do("UPDATE job_attempt a SET started_at = ended_at - interval '100 seconds' FROM job j WHERE j.id = a.job AND j.kind = 'restore' "
                 "AND j.source = (SELECT no FROM source WHERE name = 's1') AND j.params #> '{select,paths}' IS NULL")
        plan = place.plan("s1")
        assert plan["takes_seconds"] == 100 and plan["warning"] == "it takes longer than the policy's rto allows", plan
        shown = place.command("restore", "s1@latest", "--to", place.top / "restore" / "planned", "--plan").stderr
        assert "takes          about 1m 40s, measured 20" in shown and "(rto 1s)" in shown, shown

        # Four times as many bytes take four times as long; so do four times as many files.
        (place.top / "tree/s1/large").write_bytes(os.urandom(3 * 200 * 20_000))
        place.complete(place.run("s1"))
        plan = place.plan("s1")
        assert 390 <= plan["takes_seconds"] <= 410, plan
        (place.top / "tree/s1/large").unlink()
        for number in range(600):
            (place.top / "tree/s1" / f"small{number}").write_bytes(b"x")
        place.complete(place.run("s1"))
        plan = place.plan("s1")
        assert 390 <= plan["takes_seconds"] <= 410, plan
        place.check()
        place.server.shutdown()
    print("plans say what restores took")


if __name__ == "__main__":
    main()
