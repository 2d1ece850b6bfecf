# SPDX-License-Identifier: Apache-2.0
"""Network namespaces as hosts: an installation whose programs live on machines of their own, wired to
one switch. A host's cable is cut without a word to anybody, pulled out, or loses what goes one way: what
no proxy can show, because a proxy always answers for somebody.

The namespaces have no names: each belongs to a process that sleeps in it and dies with the test, however
that ends, and the kernel takes down what was in it. Nothing of them is seen on the machine's own network.
Needs root and iproute2.

    with HostInstallation(workers=2) as place:
        place.hosts.cut("w1")
        place.check()"""
import ctypes
import os
import pathlib
import subprocess

from installation import Installation, Postgres, RedisServer, die_with_us, wait_until

CLONE_NEWNET = 0x40000000
NETWORK = "10.77.0"
CATALOGUE = "postgresql"  # the test itself lives there too
QUEUE = "redis"
NOBODY = "02:00:00:00:00:01"


def impossible():
    """Why there can be no namespaces and links here; empty when there can."""
    done = subprocess.run(["unshare", "--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"], capture_output=True,
                          text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


class Host:
    """One namespace, kept by a process that sleeps in it."""

    def __init__(self):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_us)
        self.path = f"/proc/{self.keeper.pid}/ns/net"
        ours = os.readlink("/proc/self/ns/net")
        wait_until(lambda: self.keeper.poll() is not None or os.readlink(self.path) != ours, what="a network namespace")

    def command(self, *words):
        """The words of a command that does this in there."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, words)]

    def ip(self, *words):
        done = subprocess.run(self.command("ip", *words), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


def join(path):
    """This thread goes on in that namespace."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(descriptor)


class Hosts:
    """Hosts on one switch, each with an address and one port."""

    def __init__(self):
        self.hosts, self.lies = {}, []
        self.switch = Host()
        self.switch.ip("link", "add", "switch", "type", "bridge")
        self.switch.ip("link", "set", "switch", "up")

    def add(self, name):
        host = self.hosts[name] = Host()
        host.address = f"{NETWORK}.{len(self.hosts)}"
        self.switch.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", host.keeper.pid)
        self.switch.ip("link", "set", name, "master", "switch", "up")
        host.ip("link", "set", "lo", "up")
        host.ip("address", "add", f"{host.address}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")
        return host

    def cut(self, name):
        """The switch forgets the port: the cable looks well, and nothing comes or goes."""
        self.switch.ip("link", "set", name, "nomaster")

    def unplug(self, name):
        """The host sees that its cable is out."""
        self.switch.ip("link", "set", name, "down")

    def drop(self, sender, receiver):
        """What one sends to the other is lost on the way, and nothing else: it is addressed to nobody."""
        self.lies.append((sender, receiver))
        self.hosts[sender].ip("neighbour", "replace", self.hosts[receiver].address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def heal(self):
        for name in self.hosts:
            self.switch.ip("link", "set", name, "master", "switch", "up")
        for sender, receiver in self.lies:
            self.hosts[sender].ip("neighbour", "delete", self.hosts[receiver].address, "dev", "eth0")
        self.lies = []

    def close(self):
        for host in [*self.hosts.values(), self.switch]:
            host.close()


class HostRedis(RedisServer):
    def __init__(self, directory, options, host):
        self.at, self.inside = host.address, host.command()
        super().__init__(directory, [*options, "--protected-mode", "no"])


class HostInstallation(Installation):
    """Each program and each server on a host of its own; no proxies."""

    def __init__(self, **how):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.hosts = Hosts()
        try:
            join(self.hosts.add(CATALOGUE).path)
            super().__init__(redis=lambda directory, options: HostRedis(directory, options, self.host(QUEUE)), **how)
        except BaseException:
            self.leave()
            raise

    def build(self, *how):
        access = pathlib.Path(self.top / "pg_hba.conf")
        access.write_text(f"local all all trust\nhost all all {NETWORK}.0/24 trust\nhost all all 127.0.0.1/32 trust\n", encoding="ascii")
        super().build(*how)

    def start_postgres(self, options):
        return Postgres(self.top / "pg", [*options, "-c", "listen_addresses=*", "-c", f"hba_file={self.top}/pg_hba.conf"])

    def host(self, name):
        return self.hosts.hosts[name] if name in self.hosts.hosts else self.hosts.add(name)

    def servers(self, name):
        """(catalogue, Redis) as the program of this name reaches them."""
        return f"host={self.address(CATALOGUE)} port={self.postgres.port}", f"redis://{self.address(QUEUE)}:{self.redis.port}/0"

    def address(self, name):
        return self.host(name).address

    def inside(self, name):
        return self.host(name).command()

    def heal(self):
        self.hosts.heal()
        super().heal()

    def leave(self):
        if self.home is not None:
            join(f"/proc/self/fd/{self.home}")
            os.close(self.home)
            self.home = None
        self.hosts.close()

    def close(self):
        super().close()
        self.leave()
