# SPDX-License-Identifier: Apache-2.0
"""Physical backups are proved by becoming servers: the cluster that was restored is held against its source's list of files,
recovers from its own log, every page of it is read, and what runs then is the source's system. What is damaged on the way
fails the proof by name: a file, a page that no index check reads, the log, a link that leads out."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand import BINARIES, Proving, wait_until  # noqa: E402
from installation import as_server  # noqa: E402

# What a cluster forbids its users, or loads for them, does not keep a proof out.
MORE = ("ALTER DATABASE bank SET local_preload_libraries = 'nothing_of_that_name'", "ALTER ROLE ALL SET default_transaction_read_only = on")


ROWS = 20502 + 19858 + 3000


class Physical(Proving):
    def build(self, *words):
        super().build(*words)
        self.bank.kill()
        subprocess.run(as_server() + [BINARIES + "pg_ctl", "start", "-w", "-s", "-D", str(self.bank.directory / "data"), "-l", "/dev/null",
                                      "-o", f"-c unix_socket_directories={self.bank.directory} -c listen_addresses="], check=True, cwd="/")
        subprocess.run(as_server() + [BINARIES + "pg_ctl", "stop", "-w", "-s", "-D", str(self.bank.directory / "data")], check=True, cwd="/")
        subprocess.run(as_server() + [BINARIES + "pg_checksums", "--enable", "--no-sync", "-D", str(self.bank.directory / "data")], check=True,
                       cwd="/", stdout=subprocess.DEVNULL)
        self.bank.options += ["-c", "max_prepared_transactions=5"]
        self.bank.start()
        space = self.bank.directory / "space"
        subprocess.run(as_server() + ["mkdir", str(space)], check=True)
        self.in_bank("postgres", f"CREATE TABLESPACE elsewhere LOCATION '{space}'")
        self.in_bank("bank", "CREATE TABLE far (id int) TABLESPACE elsewhere; INSERT INTO far SELECT generate_series(1, 3000)")
        self.in_bank("bank", "BEGIN; INSERT INTO account VALUES (30000, 1, 'in doubt'); PREPARE TRANSACTION 'in doubt'")
        # An index that pg_amcheck does not read.
        self.gin = subprocess.run([BINARIES + "psql", "-X", "-A", "-t", "-d", self.bank.conninfo("bank"), "-c",
                                   "SELECT pg_relation_filepath(indexrelid) FROM pg_index WHERE indrelid = 'account'::regclass AND "
                                   "indexrelid::regclass::text LIKE '%pad%'"], check=True, capture_output=True, text=True).stdout.strip()
        self.in_bank("postgres", *MORE)

    def fleet(self, *words):
        return super().fleet(*words).replace("type: postgresql, policy: asked, host: 127.0.0.1,",
                                             f"type: postgresql, policy: asked, method: physical, wal: stream, host: {self.bank.directory},").replace(
                                                 "databases: [bank]", "databases: [all]")

    def data(self):
        return next(self.sandbox.glob("proof-*/data"))


def is_the_source(place):
    place.complete(place.run("bank"))
    checks = place.proved("bank", "ok", level="query")
    own = subprocess.run([BINARIES + "psql", "-X", "-A", "-t", "-d", place.bank.conninfo("postgres"), "-c",
                          "SELECT system_identifier FROM pg_control_system()"], check=True, capture_output=True, text=True).stdout.strip()
    assert checks["system_identifier"] == own and checks["server_pid"] > 0 and checks["amcheck"] is True, (own, checks)
    assert not pathlib.Path(f"/proc/{checks['server_pid']}").exists(), checks
    assert checks["rows"] == ROWS and checks["tables"] == 6, checks
    assert [each["ok"] for each in checks["queries"]] == [True, True], checks
    row = place.proof("bank")
    assert row["verdict"] == "ok" and row["system_identifier"] == own and row["rows"] == checks["rows"], row


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    with open(path, "r+b") as file:
        file.write(raw)


def file_differs(place):
    result, checks, _ = place.stopped_at("proof.restored", lambda _: flip(place.data() / place.gin, 8192 + 4000))
    assert result == "failed" and checks["cause"] == "proof.manifest" and place.gin.split("/")[-1] in checks["text"], (result, checks)
    place.clean()


def page_differs(place):
    result, checks, _ = place.stopped_at("sandbox.adopted", lambda _: flip(place.data() / place.gin, 8192 + 4000))
    assert result == "failed" and checks["cause"] == "proof.pages" and "block 1" in checks["text"], (result, checks)
    place.clean()


def log_is_gone(place):
    def remove(_):
        for folder in ("pg_wal", "holdfast_wal"):  # a batch of the log may have been stored meanwhile
            for each in (place.data() / folder).glob("0*"):
                each.unlink()
    result, checks, _ = place.stopped_at("sandbox.adopted", remove)
    assert result == "failed" and checks["cause"] == "proof.recovery" and "checkpoint record" in checks["text"], (result, checks)
    place.clean()


def link_leads_out(place):
    result, checks, _ = place.stopped_at("proof.restored", lambda _: (place.data() / "base" / "99").symlink_to("/etc"))
    assert result == "failed" and checks["cause"] == "proof.link" and "leads to /etc" in checks["text"], (result, checks)
    place.clean()


def log_goes_on(place):
    """What was committed since the base backup is in the proof, to the end of what is stored; a hole in what was laid there
    ends recovery early, which is no proof."""
    for number in range(3):
        place.in_bank("postgres", f"BEGIN READ WRITE; CREATE TABLE more_{number} AS SELECT generate_series(1, 10); COMMIT",
                      "SELECT pg_switch_wal()")
    place.complete(place.run("bank-wal"))
    checks = place.proved("bank", "ok")
    assert checks["rows"] == ROWS + 30 and checks["log"]["log"] == "bank-wal", checks
    assert checks["log"]["reached"] == checks["log"]["to_lsn"], checks["log"]

    def remove_last(_):
        laid = sorted(each for each in (place.data() / "holdfast_wal").glob("0*") if each.name.isalnum())
        laid[-1].unlink()
    result, checks, _ = place.stopped_at("sandbox.adopted", remove_last)
    assert result == "failed" and checks["cause"] == "proof.log_short", (result, checks)
    place.clean()

    def remove(_):
        laid = sorted(each for each in (place.data() / "holdfast_wal").glob("0*") if each.name.isalnum())
        assert len(laid) >= 4, laid
        laid[-3].unlink()  # the first is in the base backup too
    result, checks, _ = place.stopped_at("sandbox.adopted", remove)
    assert result == "failed" and checks["cause"] == "proof.log_short" and checks["log"]["to_lsn"] in checks["text"], (result, checks)
    place.clean()


def page_of_the_source(place):
    """The source's own disk turns a byte: the backup says so, and a restore of it does not pass."""
    place.in_bank("postgres", "CHECKPOINT")
    flip(place.bank.directory / "data" / place.gin, 8192 + 4000)
    job = place.run("bank")
    wait_until(lambda: place.state(job) == "partial", what="a backup that is not whole")
    named = place.catalogue.one(f"SELECT backup_text(id) FROM backup WHERE job = {job}")
    checks = place.proved("bank", "failed", "proof.pages", backup=named)
    assert place.gin.split("/")[-1] in checks["text"] and "block 1" in checks["text"], checks
    assert "restoring bank to prove it" in place.command("status").stdout


def main():
    with Physical(workers=1, sources=1) as place:
        for case in (is_the_source, file_differs, page_differs, log_is_gone, link_leads_out, log_goes_on, page_of_the_source):
            case(place)
            print("ok", case.__name__, flush=True)
        place.check()


if __name__ == "__main__":
    main()
