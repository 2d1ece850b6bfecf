# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift's s3api from Debian's packages, as a real S3 server: it verifies V4 signatures and
payload hashes, and knows neither conditional puts nor object locks. Everything lies in one directory
and ends with the test. Keys: test:tester, testing."""
import getpass
import pathlib
import shutil
import subprocess

from installation import die_with_us, free_port, wait_until

PARTS = ("account", "container", "object")
NEEDED = ("swift-proxy-server", "swift-ring-builder", "memcached", *(f"swift-{part}-server" for part in PARTS))
COMMON = "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = {user}\nswift_dir = {etc}\nlog_level = WARNING\n"
STORAGE = (COMMON + "devices = {devices}\nmount_check = false\ndisable_fallocate = true\n[pipeline:main]\n"
           "pipeline = {part}-server\n[app:{part}-server]\nuse = egg:swift#{part}\n"
           "[{part}-replicator]\n[{part}-updater]\n[{part}-auditor]\n")
# A proxy gives up for a minute on a server that refused it ten times, as each does that starts behind it.
PROXY = (COMMON + "[pipeline:main]\n"
         "pipeline = catch_errors cache listing_formats s3api tempauth slo dlo proxy-server\n"
         "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\nerror_suppression_limit = 1000000\n"
         "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
         "[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{cache}\n"
         "[filter:listing_formats]\nuse = egg:swift#listing_formats\n"
         "[filter:s3api]\nuse = egg:swift#s3api\nlocation = us-east-1\ns3_acl = no\n"
         "[filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = testing .admin\n"
         "[filter:slo]\nuse = egg:swift#slo\n[filter:dlo]\nuse = egg:swift#dlo\n")
HASHES = ("[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n"
          "[storage-policy:0]\nname = gold\ndefault = yes\n[swift-constraints]\n")


def missing():
    """What Debian's packages would bring and this machine lacks."""
    return [name for name in NEEDED if shutil.which(name) is None]


class Swift:
    def __init__(self, top):
        user = getpass.getuser()
        self.top, self.processes = pathlib.Path(top), []
        etc, devices = self.top / "etc", self.top / "d"
        etc.mkdir(parents=True)
        (devices / "sda").mkdir(parents=True)
        ports = {part: free_port() for part in PARTS}
        cache, self.port = free_port(), free_port()
        (etc / "swift.conf").write_text(HASHES)
        for part, port in ports.items():
            (etc / f"{part}-server.conf").write_text(
                STORAGE.format(part=part, port=port, user=user, etc=etc, devices=devices))
            for words in (["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/sda", "1"], ["rebalance"]):
                subprocess.run(["swift-ring-builder", f"{part}.builder", *words], cwd=etc, check=True, capture_output=True)
        (etc / "proxy.conf").write_text(PROXY.format(port=self.port, user=user, etc=etc, cache=cache))
        self.start("memcached", "-l", "127.0.0.1", "-p", str(cache), "-u", "nobody")
        for part in PARTS:
            self.start(f"swift-{part}-server", str(etc / f"{part}-server.conf"))
        self.start("swift-proxy-server", str(etc / "proxy.conf"))
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def start(self, *words):
        with open(self.top / "log", "ab") as log:
            self.processes.append(subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
                                                   preexec_fn=die_with_us))

    def must_live(self):
        dead = [process.args[0] for process in self.processes if process.poll() is not None]
        if dead:
            raise AssertionError(f"{', '.join(dead)} ended: {(self.top / 'log').read_text(errors='replace')[-3000:]}")

    def client(self):
        """One that others wrote."""
        import boto3
        import botocore.config
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test:tester",
                            aws_secret_access_key="testing",
                            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}))

    def make_bucket(self, name):
        """As soon as it answers."""
        import botocore.exceptions
        client = self.client()

        def made():
            self.must_live()
            try:
                client.create_bucket(Bucket=name)
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"].startswith("BucketAlready")
            except botocore.exceptions.BotoCoreError:
                return False
            return True
        wait_until(made, 60, "Swift answers")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
