# SPDX-License-Identifier: Apache-2.0
"""Plain copies through real servers: beside its repositories each backup becomes a file that gunzip, tar and psql
read, in a directory and on S3, under the policy's names, with a .meta and a latest; compared byte for byte and
attribute by attribute. kill -9 at every step leaves no half file under a name; strangers' files stay what they are."""
import gzip
import hashlib
import json
import os
import pathlib
import re
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores  # noqa: E402
from installation import BINARIES, wait_until  # noqa: E402

KEYS = {"timestamp", "type", "database", "size", "file", "status", "sha256", "tool", "tool_version", "server_version", "key", "parent"}
STEPS = ("plain.named", "plain.written", "plain.staged", "plain.placed", "plain.meta", "plain.committed", "plain.latest")


class Plain(Stores):
    def fleet(self, *words):
        text = super().fleet(*words)
        never = 'schedule: "0 0 1 1 *"'
        text = text.replace("policies: {", f"policies: {{tree: {{{never}, copies: [{{store: main}}, {{store: second, layout: plain, "
                            "name: 'files/{source}_{time:%Y%m%d_%H%M%S}', latest: files/latest}, {store: cloud, layout: plain}]}, "
                            f"sql: {{{never}, copies: [{{store: main}}, {{store: second, layout: plain, "
                            "name: 'postgres/{source}_full_{time:%Y%m%d_%H%M%S}.sql.gz'}]}, ", 1)
        text = text.replace("s2: {type: files, policy: far,", "s2: {type: files, policy: tree,")
        return text + (f"  orders: {{type: postgresql, policy: sql, host: {self.postgres.directory}, port: {self.postgres.port}, "
                       "user: postgres, databases: [orders]}\n")

    def options(self):
        options = super().options()
        options.tree = [row for row in options.tree if not row.startswith("s2=")]  # names that no line of JSON has
        return options

    def allow(self, name):
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  allow_plain: true\n"))

    def made(self, count):
        wait_until(lambda: self.count("SELECT count(*) FROM plain_copy WHERE committed_at IS NOT NULL") == count and
                   not self.count("SELECT count(*) FROM job WHERE kind = 'copy' AND finished_at IS NULL"), what=f"{count} plain copies")

    def newest(self, source, store):
        name = self.catalogue.one("SELECT c.name FROM plain_copy c JOIN source s ON s.no = c.source WHERE c.committed_at IS NOT NULL "
                                  f"AND s.name = '{source}' AND c.store = '{store}' ORDER BY c.no DESC LIMIT 1")
        return (self.second if store == "second" else self.top / "s3/data/backups/prod") / name


def strange_tree(top):
    """What a tar must keep: modes, owners, times, links, attributes, long and hostile names, holes."""
    (top / "sub").mkdir()
    (top / "sub" / "empty").touch()
    (top / "sub" / ("long" * 50)).write_bytes(b"a long name")
    (top / "line\nbreak; rm").write_bytes(b"hostile")
    (top / b"latin\xe9".decode("utf-8", "surrogateescape")).write_bytes(b"no UTF-8")
    (top / "link").symlink_to("sub/nowhere")
    (top / ("far" * 60)).symlink_to("t" * 150)
    os.link(top / "f000", top / "hard")
    (top / "setuid").write_bytes(b"x")
    os.chown(top / "setuid", 1234, 4321)
    (top / "setuid").chmod(0o4751)
    os.setxattr(top / "f001", "user.note", b"kept\0\n")
    os.mkfifo(top / "fifo", 0o640)
    with open(top / "holes", "wb") as out:
        out.seek(50_000_000)
        out.write(b"end")
    os.utime(top / "f002", ns=(1, 1_234_567_890_123_456_789))
    (top / "sub").chmod(0o2750)


def look(path):
    kind = path.lstat()
    content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(kind.st_mode) else ""
    return (stat.S_IFMT(kind.st_mode), stat.S_IMODE(kind.st_mode), kind.st_uid, kind.st_gid, kind.st_mtime_ns, kind.st_nlink, content,
            {} if path.is_symlink() else {name: os.getxattr(path, name) for name in os.listxattr(path)})


def tree_of(top):
    return {str(path.relative_to(top)).encode("utf-8", "surrogateescape"): look(path) for path in [top, *top.rglob("*")]}


def unpack(archive, out):
    out.mkdir()
    subprocess.run(["gzip", "-t", str(archive)], check=True)
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-p", "--same-owner", "-xzf", str(archive), "-C", str(out)], check=True)
    return out


def check_meta(file, outcome="completed"):
    meta = json.loads((file.parent / f"{file.name}.meta").read_text())
    assert KEYS <= meta.keys(), KEYS - meta.keys()
    content = file.read_bytes()
    assert meta["sha256"] == hashlib.sha256(content).hexdigest() and meta["size"] == len(content), meta
    assert meta["file"] == file.name and meta["status"] == outcome and meta["key"] == "local", meta
    return meta


def who_lacks_what(place):
    """No worker's own file allows it: the decision says so, and nothing is written."""
    strange_tree(place.top / "tree/s2")
    place.complete(place.run("s2"))
    wait_until(lambda: place.count("SELECT count(*) FROM decision d JOIN job j ON j.id = d.job WHERE j.kind = 'copy' "
                                   "AND d.text LIKE '%allow_plain in its worker.yaml%'") == 2, what="the decision says what is missing")
    assert not list(place.second.glob("files/*"))
    for name in ("w1", "w2"):
        place.kill(name, 15)
        place.allow(name)
        place.hire(name)
    place.made(2)


def trees(place):
    local = place.newest("s2", "second")
    assert re.fullmatch(r"s2_\d{8}_\d{6}\.tar\.gz", local.name) and local.parent == place.second / "files", local
    assert check_meta(local)["database"] == "s2"
    cloud = place.newest("s2", "cloud")
    assert cloud.read_bytes() == local.read_bytes() and check_meta(cloud)["type"] == "files"
    assert os.readlink(place.second / "files/latest.tar.gz") == local.name
    assert json.loads((place.second / "files/latest.tar.gz.meta").read_text())["file"] == local.name
    back = unpack(place.second / "files/latest.tar.gz", place.top / "unpacked")
    before, after = tree_of(place.top / "tree/s2"), tree_of(pathlib.Path(f"{back}{place.top}/tree/s2"))
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    different = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert not different, different


SCHEMA = """
CREATE SCHEMA "We""ird"; CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, how mood DEFAULT 'ok', twice int GENERATED ALWAYS AS (2) STORED);
CREATE TABLE "We""ird"."ta\\ble" (id int REFERENCES customer, note text, raw bytea);
CREATE TABLE part (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO customer(name) SELECT 'n' || g || E'\\t\\n\\\\.' FROM generate_series(1, 2000) g;
INSERT INTO "We""ird"."ta\\ble" SELECT id, NULL, decode(md5(id::text), 'hex') FROM customer;
INSERT INTO part VALUES (1, '2026-05-05');
CREATE MATERIALIZED VIEW sums AS SELECT how, count(*) FROM customer GROUP BY 1;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$;
CREATE TRIGGER touched BEFORE INSERT ON customer FOR EACH ROW EXECUTE FUNCTION touch();
SELECT lo_from_bytea(4711, decode(repeat('00ff5c27', 40000), 'hex'));
COMMENT ON TABLE customer IS 'it''s';
"""


def dump_of(place, database):
    text = subprocess.run([BINARIES + "pg_dump", "-d", place.postgres.conninfo(database)], check=True, capture_output=True, text=True).stdout
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def psql(place, database, text):
    return subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", place.postgres.conninfo(database)], input=text,
                          check=True, capture_output=True)


def databases(place):
    place.complete(place.run("orders"))
    place.made(3)
    file = place.newest("orders", "second")
    assert re.fullmatch(r"orders_full_\d{8}_\d{6}\.sql\.gz", file.name), file
    meta = check_meta(file)
    assert meta["database"] == "orders" and meta["server_version"] and meta["tool_version"] and meta["type"] == "postgresql", meta
    assert os.readlink(place.second / "postgres/orders_full_latest.sql.gz") == file.name
    place.sql_in("postgres", "CREATE DATABASE fresh TEMPLATE template0")
    psql(place, "fresh", gzip.decompress(file.read_bytes()))
    assert dump_of(place, "orders") == dump_of(place, "fresh")
    shown = json.loads(place.must("backup", "show", "orders@latest", "--json"))["plain"]
    assert [(row["store"], row["file"], row["state"]) for row in shown] == [("second", f"postgres/{file.name}", "ok")], shown


def on_demand(place):
    place.complete(place.run("s1"))
    place.must("backup", "copy", "s1@latest", "--to", "second", "--plain", "--follow")
    file = place.newest("s1", "second")
    assert re.fullmatch(r"s1_\d{8}_\d{6}\.tar\.gz", file.name) and file.parent == place.second, file
    again = place.command("backup", "copy", "s1@latest", "--to", "second", "--plain")
    assert again.returncode == 6 and "is in store second already" in again.stderr, again
    assert place.count("SELECT count(*) FROM backup_place p JOIN repository r ON r.no = p.repository WHERE r.store = 'second'") == 0


def killed_at_every_step(place):
    """Each attempt of one copy dies one step later; what is under the name is whole or not there, and is there once."""
    for name in ("w1", "w2"):
        place.kill(name)
    for step in STEPS:
        place.complete_backup = place.run("s3")
        place.hire("w3", {})
        place.complete(place.complete_backup)
        place.kill("w3")
        before = set(place.second.glob("s3_*"))
        place.must("backup", "copy", "s3@latest", "--to", "second", "--plain")
        job = place.count("SELECT max(id) FROM job WHERE kind = 'copy' AND params ? 'plain'")
        place.hire("w3", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": step})
        wait_until(lambda: place.count(f"SELECT count(*) FROM job_attempt WHERE job = {job} AND outcome IS NOT NULL") >= 1, what=f"it dies at {step}")
        named = [path for path in set(place.second.glob("s3_*.tar.gz")) - before if "latest" not in path.name]
        assert len(named) == (step not in STEPS[:3]), (step, named)
        for path in named:
            subprocess.run(["gzip", "-t", str(path)], check=True)
        place.kill("w3")
        place.hire("w3")
        place.complete(job)
        made = [path for path in set(place.second.glob("s3_*.tar.gz")) - before if "latest" not in path.name]
        assert len(made) == 1 and os.readlink(place.second / "s3_latest.tar.gz") == made[0].name, (step, made)
        check_meta(made[0])
        place.kill("w3")
    place.hire("w3")


def strangers_stay(place):
    place.complete(place.run("s1"))
    at = place.catalogue.one("SELECT to_char(consistent_at AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS') FROM backup ORDER BY committed_at DESC LIMIT 1")
    stranger = place.second / f"s1_{at}.tar.gz"
    stranger.write_bytes(b"mine")
    (place.second / "s1_latest.tar.gz").unlink()
    (place.second / "s1_latest.tar.gz").write_bytes(b"mine too")
    place.must("backup", "copy", "s1@latest", "--to", "second", "--plain", "--follow")
    assert stranger.read_bytes() == b"mine" and (place.second / "s1_latest.tar.gz").read_bytes() == b"mine too"
    assert place.newest("s1", "second").name == f"s1_{at}_2.tar.gz"
    check_meta(place.newest("s1", "second"))


def main():
    with Plain(workers=2, sources=3, files=30, file_bytes=300_000) as place:
        place.allow("w3") if (place.top / "w3.yaml").exists() else (place.enroll("w3"), place.allow("w3"))
        place.sql_in("postgres", "CREATE DATABASE orders")
        psql(place, "orders", SCHEMA.encode())
        who_lacks_what(place)
        trees(place)
        databases(place)
        on_demand(place)
        strangers_stay(place)
        killed_at_every_step(place)
        place.check()
        place.server.shutdown()
    print("plain copies are what others read")


if __name__ == "__main__":
    main()
