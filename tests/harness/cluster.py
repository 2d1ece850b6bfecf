# SPDX-License-Identifier: Apache-2.0
"""Redis nodes as one cluster, and slots that move from one to another. Made like a RedisServer of installation.py."""
import invariants
from installation import RedisServer, free_port, wait_until

SLOTS = 16384


class Cluster:
    at = RedisServer.at

    def __init__(self, directory, options=(), nodes=3):
        directory.mkdir()
        self.bus = [free_port() for _ in range(nodes)]
        self.nodes = [RedisServer(directory / f"n{n}", ["--cluster-enabled", "yes", "--cluster-port", str(self.bus[n]),
                                                        "--cluster-node-timeout", "1000", *options]) for n in range(nodes)]
        self.port = self.nodes[0].port
        for n, node in enumerate(self.nodes):
            node("CLUSTER", "ADDSLOTSRANGE", SLOTS * n // nodes, SLOTS * (n + 1) // nodes - 1)
            self.nodes[0]("CLUSTER", "MEET", "127.0.0.1", node.port, self.bus[n])
        for node in self.nodes:
            wait_until(lambda one=node: b"cluster_state:ok" in one("CLUSTER", "INFO") and
                       one("CLUSTER", "NODES").count(b"connected") == nodes, what="the cluster is whole")

    def url(self, _proxy):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def ports(self):
        return ",".join(str(node.port) for node in self.nodes)

    def look(self):
        return invariants.Nodes([node.port for node in self.nodes])

    def owner(self, slot):
        for first, last, (_, port, *_), *_ in self.nodes[0]("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def slot(self, key):
        return self.nodes[0]("CLUSTER", "KEYSLOT", key)

    def move(self, slot, pause=lambda: None):
        """To the next node, key by key; pause is called between."""
        here = self.owner(slot)
        there = self.nodes[(self.nodes.index(here) + 1) % len(self.nodes)]
        there("CLUSTER", "SETSLOT", slot, "IMPORTING", here("CLUSTER", "MYID"))
        here("CLUSTER", "SETSLOT", slot, "MIGRATING", there("CLUSTER", "MYID"))
        pause()
        while keys := here("CLUSTER", "GETKEYSINSLOT", slot, 1):
            here("MIGRATE", "127.0.0.1", there.port, keys[0], 0, 5000)
            pause()
        for node in (there, here, *self.nodes):
            node("CLUSTER", "SETSLOT", slot, "NODE", there("CLUSTER", "MYID"))

    def stop(self):
        for node in self.nodes:
            node.stop()
