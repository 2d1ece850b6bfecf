# SPDX-License-Identifier: Apache-2.0
"""What the soak backs up, and what it remembers of it: sources whose trees change between backups, with
contents that go and come back, and one whose worker is stolen and forges packs. The ledger is the soak's
own: it never asks the catalogue what a backup holds, only whether it was committed."""
import hashlib
import os
import random
import shutil
import uuid

KEPT = 3  # of each source, by its policy
LARGE, SMALL = 14, 24
ENDED = ("completed", "partial", "failed", "cancelled", "skipped", "missed")


def tree_of(root):
    """One hash of all names and contents below a directory."""
    whole = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        whole.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


class Contents:
    """Contents that several sources have, and that come back after nobody had them: the same for a seed."""

    def __init__(self, seed):
        self.seed = seed

    def large(self, chance):
        number = chance.randrange(LARGE)
        one = random.Random(f"{self.seed} large {number}")
        return f"large-{number}", one.randbytes(one.randrange(560000, 1200000))

    def small(self, chance):
        number = chance.randrange(SMALL)
        one = random.Random(f"{self.seed} small {number}")
        return f"small-{number}", one.randbytes(one.randrange(1, 60000))


class Writer:
    """One source: changes its tree, asks for a backup, waits for its end, and remembers what was backed up."""

    def __init__(self, place, source, seed):
        self.place, self.source = place, source
        self.chance = random.Random(f"{seed} {source}")
        self.contents = Contents(seed)
        self.tree = place.top / "tree" / source
        self.old = []    # trees of before, which may come back
        self.key = None  # of the job that is asked for
        self.job = None
        self.hash = ""

    def change(self):
        """Another tree; now and then one of before."""
        kept = self.place.top / "kept"
        if self.old and self.chance.random() < 0.15:
            shutil.rmtree(self.tree)
            shutil.copytree(self.chance.choice(self.old), self.tree)
        for _ in range(self.chance.randrange(1, 5)):
            there = sorted(self.tree.iterdir())
            what = self.chance.random()
            if what < 0.35 or len(there) < 3:
                name, content = self.contents.large(self.chance)
                (self.tree / name).write_bytes(content)
            elif what < 0.6:
                name, content = self.contents.small(self.chance)
                (self.tree / name).write_bytes(content)
            elif what < 0.75 or len(there) < 8:
                (self.tree / f"own-{self.chance.randrange(6)}").write_bytes(self.chance.randbytes(self.chance.randrange(1, 700000)))
            else:
                for path in self.chance.sample(there, len(there) // 3):
                    path.unlink()
        if self.chance.random() < 0.1 and len(self.old) < 4:
            self.old.append(kept / f"{self.source}-{len(self.old)}")
            shutil.copytree(self.tree, self.old[-1])
        self.hash = tree_of(self.tree)

    def ask(self):
        """Changes the tree and asks for a backup of it; safe to call again when the answer was lost."""
        if self.key is None:
            self.change()
            self.key = uuid.uuid4().hex
        self.job = int(self.place.catalogue.one(
            f"SELECT job FROM job_create('backup', 'manual', '{self.source}', NULL, '{{}}', 'soak', '{self.key}', 0, NULL)"))

    def ended(self):
        self.key = self.job = None


class Forger:
    """The worker that runs a job was stolen: while it does, packs are staged in its name whose rows promise chunks
    of others, and whose bytes are noise, another pack's, or nearly right."""

    def __init__(self, place, source, seed):
        self.place, self.source = place, source
        self.chance = random.Random(f"{seed} forger")
        self.forged = set()  # attempts that were used
        self.packs = 0
        self.refused = set()  # written, and then nobody was let to say so

    def look(self):
        """Forges where its source's job runs; once an attempt."""
        for job, attempt, claim, worker in self.place.catalogue.rows(
                "SELECT j.id, j.attempt, j.claim, w.name FROM job j JOIN source s ON s.no = j.source JOIN lease l ON l.job = j.id "
                f"JOIN worker w ON w.no = l.worker WHERE s.name = '{self.source}' AND j.kind = 'backup' AND j.state = 'running'"):
            if (job, attempt) not in self.forged:
                self.forged.add((job, attempt))
                for _ in range(2):
                    self.forge(job, attempt, claim, worker)

    def forge(self, job, attempt, claim, worker):
        victims = self.place.catalogue.rows(
            "SELECT encode(c.id, 'hex'), c.ordinal, c.codec, c.start, c.stored, c.plain, p.object FROM chunk c JOIN pack p ON p.no = c.pack_no "
            f"JOIN source s ON s.no = p.domain WHERE p.state = 'live' AND s.name <> '{self.source}' ORDER BY md5(c.id || '{job}') LIMIT 60")
        if not victims:
            return
        how, made = self.chance.randrange(3), uuid.uuid4()
        kept = [row for row in victims if row[6] == victims[0][6]]
        content = self.bytes_of(victims[0][6])
        if how == 0 or not content:     # noise that names everything
            content, rows = os.urandom(self.chance.randrange(100, 300000)), victims
        elif how == 1:                  # another pack, its rows another order
            ids = [row[0] for row in victims[:len(kept)]]
            rows = [[one, *row[1:]] for one, row in zip(self.chance.sample(ids, len(ids)), kept)]
        else:                           # another pack, one byte of it wrong
            at = self.chance.randrange(len(content))
            content, rows = content[:at] + bytes([content[at] ^ 1]) + content[at + 1:], kept
        path = self.place.store / "local" / "packs" / str(made)[:2] / str(made)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.refused.add(str(made))
        self.stage(job, attempt, claim, worker, made, content, rows)
        self.refused.remove(str(made))
        self.packs += 1

    def bytes_of(self, pack):
        try:
            return (self.place.store / "local" / "packs" / pack[:2] / pack).read_bytes()
        except OSError:
            return b""  # it died meanwhile

    def stage(self, job, attempt, claim, worker, made, content, rows):
        """With that worker's own login, as it would."""
        ids = ",".join(f"'\\x{row[0]}'" for row in rows)
        numbers = [",".join(row[n] for row in rows) for n in range(1, 6)]
        digest = hashlib.sha256(content).hexdigest()
        self.place.catalogue.all_rows([
            f'SET SESSION AUTHORIZATION "{worker}"',
            f"SELECT holdfast.pack_stage({job}, {attempt}, '{claim}', holdfast.pack_begin({job}, {attempt}, '{claim}', '{made}', "
            f"'{uuid.uuid4()}', 'data'), '{made}', {len(content)}, '\\x{digest}', ARRAY[{ids}]::bytea[], ARRAY[{numbers[0]}], "
            f"ARRAY[{numbers[1]}], ARRAY[{numbers[2]}]::bigint[], ARRAY[{numbers[3]}], ARRAY[{numbers[4]}])"])
