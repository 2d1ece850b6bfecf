# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that harms. It stands between one of our programs and a server, and cuts, resets,
stalls, delays, swallows or answers in the server's place at a byte offset of either direction.

A rule waits for `pattern` in what the client sends (none: it is armed at once), counts `at` bytes of
its direction from there (up: from the beginning of the pattern; down: of the answers that follow), lets
them pass and acts, `times` times. As a program:
    proxy.py LISTEN_PORT HOST:PORT CONTROL_SOCKET
where each line written to the control socket is a JSON rule, {"heal": true} or {"block": "up"}."""
import json
import os
import socket
import struct
import sys
import threading
import time

ACTIONS = ("cut", "reset", "stall", "delay", "swallow", "answer")


class Rule:
    def __init__(self, direction, action, at=0, pattern=None, times=1, seconds=0.0, payload=b""):
        assert direction in ("up", "down") and action in ACTIONS
        self.direction, self.action, self.at = direction, action, at
        self.pattern = pattern.encode() if isinstance(pattern, str) else pattern
        self.times, self.seconds, self.payload = times, seconds, payload
        self.fired = 0
        self.seen, self.happened = threading.Event(), threading.Event()


class Connection:
    """Two pumps over one client and one server socket."""

    def __init__(self, proxy, client, server):
        self.proxy, self.sockets = proxy, {"up": (client, server), "down": (server, client)}
        self.lock = threading.RLock()
        self.armed = {}  # rule -> bytes of its direction still to pass
        self.tail = b""  # end of what the client sent, for patterns across two reads
        self.stalled = {"up": False, "down": False}
        self.closed = False
        for rule in proxy.rules:
            if rule.pattern is None:
                self.armed[rule] = rule.at

    def close(self, reset=False):
        with self.lock:
            if self.closed:
                return
            self.closed = True
        for each in self.sockets["up"]:
            try:
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A pump that waits in recv holds the socket until it is woken.
                each.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        self.proxy.forget(self)

    def look(self, data):
        """Arms rules whose pattern is complete in the client's bytes; before they are passed on."""
        seen = self.tail + data
        for rule in list(self.proxy.rules):
            if rule.pattern is None or rule.fired >= rule.times:
                continue
            found = seen.rfind(rule.pattern)
            if found < 0 or found + len(rule.pattern) <= len(self.tail):
                continue
            begun = max(found - len(self.tail), 0)
            self.armed[rule] = rule.at + (begun if rule.direction == "up" else 0)
            rule.seen.set()
        longest = max((len(r.pattern) for r in self.proxy.rules if r.pattern), default=1)
        self.tail = seen[-(longest - 1):] if longest > 1 else b""

    def next_rule(self, direction, length):
        """The armed rule that strikes first within the next `length` bytes, and where."""
        best = None
        for rule, left in self.armed.items():
            if rule.direction == direction and left <= length and rule.fired < rule.times:
                if best is None or left < best[1]:
                    best = (rule, left)
        return best

    def passed(self, direction, count):
        for rule in self.armed:
            if rule.direction == direction:
                self.armed[rule] -= count

    def strike(self, rule, rest):
        """What is left of the data after the rule has acted; None: nothing goes on."""
        rule.fired += 1
        self.armed.pop(rule, None)
        rule.happened.set()
        if rule.action in ("cut", "reset"):
            self.close(rule.action == "reset")
            return None
        if rule.action == "stall":
            self.stalled[rule.direction] = True
            return rest
        if rule.action == "delay":
            time.sleep(rule.seconds)
            return rest
        if rule.action == "answer":
            self.sockets["up"][0].sendall(rule.payload)
        return b""

    def forward(self, direction, data):
        to = self.sockets[direction][1]
        with self.lock:
            if direction == "up":
                self.look(data)
        while data:
            with self.lock:
                found = self.next_rule(direction, len(data))
                step = found[1] if found else len(data)
                self.passed(direction, step)
            if step:
                to.sendall(data[:step])
            data = data[step:]
            if found:
                data = self.strike(found[0], data)
                if data is None:
                    return False
                self.wait(direction)
        return not self.closed

    def wait(self, direction):
        while not self.closed and (self.stalled[direction] or direction in self.proxy.blocked):
            self.proxy.healed.wait(0.05)

    def pump(self, direction):
        source, to = self.sockets[direction]
        try:
            while True:
                self.wait(direction)
                data = source.recv(65536)
                self.wait(direction)
                if self.closed:
                    return
                if not data:
                    to.shutdown(socket.SHUT_WR)
                    if direction == "down":
                        self.close()
                    return
                self.proxy.bytes[direction] += len(data)
                if not self.forward(direction, data):
                    return
        except OSError:
            self.close()


class Proxy:
    def __init__(self, host, port, listen=0):
        self.target = (host, port)
        self.rules, self.connections, self.blocked = [], set(), set()
        self.refusing = False
        self.bytes = {"up": 0, "down": 0}
        self.healed = threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", listen), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            server = socket.create_connection(self.target, timeout=10)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, client, server)
        with self.lock:
            self.connections.add(connection)
        for direction in ("up", "down"):
            threading.Thread(target=connection.pump, args=(direction,), daemon=True).start()

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def rule(self, direction, action, **how):
        """Adds a rule and gives it back; rule.happened is an event."""
        rule = Rule(direction, action, **how)
        with self.lock:
            self.rules = self.rules + [rule]
            if rule.pattern is None:
                for connection in self.connections:
                    with connection.lock:
                        connection.armed[rule] = rule.at
        return rule

    def block(self, *directions):
        """Like a cable that is cut: nothing arrives, nobody is told. Without words: both ways."""
        self.healed.clear()
        self.blocked |= set(directions or ("up", "down"))

    def cut(self, reset=False):
        for connection in list(self.connections):
            connection.close(reset)

    def refuse(self, refusing=True):
        """New connections end at once, and those that are there too."""
        self.refusing = refusing
        if refusing:
            self.cut()

    def heal(self):
        """No rules, nothing blocked or stalled."""
        self.rules, self.blocked, self.refusing = [], set(), False
        for connection in list(self.connections):
            with connection.lock:
                connection.armed.clear()
                connection.stalled = {"up": False, "down": False}
        self.healed.set()

    def close(self):
        self.listener.close()
        self.cut()


def main():
    host, port = sys.argv[2].rsplit(":", 1)
    proxy = Proxy(host, int(port), int(sys.argv[1]))
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(sys.argv[3])
    os.chmod(sys.argv[3], 0o600)
    control.listen()
    while True:
        peer, _ = control.accept()
        with peer, peer.makefile("rw") as lines:
            for line in lines:
                order = json.loads(line)
                if order.get("heal"):
                    proxy.heal()
                elif "block" in order:
                    proxy.block(order["block"])
                else:
                    order["payload"] = order.get("payload", "").encode()
                    proxy.rule(order.pop("direction"), order.pop("action"), **order)
                lines.write("ok\n")
                lines.flush()


if __name__ == "__main__":
    main()
