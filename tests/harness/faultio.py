# SPDX-License-Identifier: Apache-2.0
"""The plan of the fault library (preload/faultio.c): which call fails as the n-th, the clock's offset, the log
of operations. It lies in a small file that the library maps, so that it is changed and read while the
programs run. Its layout is struct Plan of faultio.c."""
import errno
import mmap
import os
import pathlib
import struct

LIBRARY = pathlib.Path(os.environ.get("HOLDFAST_BUILD", "build")).resolve() / "tests" / "faultio.so"
CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "link", "open", "connect", "malloc")
ROW = struct.Struct("<QQQqQ")  # calls so far, fails at, how many, errno, failures so far
OFFSET_AT = ROW.size * len(CALLS)
PATH_AT = OFFSET_AT + 8
SIZE = PATH_AT + 256


class Plan:
    def __init__(self, path, log=None):
        self.path, self.log = str(path), log
        with open(path, "wb") as file:
            file.truncate(SIZE)
        os.chmod(path, 0o666)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), SIZE)

    def environment(self):
        words = {"LD_PRELOAD": str(LIBRARY), "FAULTIO_PLAN": self.path}
        if self.log:
            words["FAULTIO_LOG"] = str(self.log)
        return words

    def row(self, call):
        return list(ROW.unpack_from(self.map, CALLS.index(call) * ROW.size))

    def store(self, call, row):
        ROW.pack_into(self.map, CALLS.index(call) * ROW.size, *row)

    def fail(self, call, nth, error="EIO", times=1):
        """The nth call from now on fails, and `times` in all; error may be a number or a name."""
        row = self.row(call)
        number = error if isinstance(error, int) else getattr(errno, error)
        self.store(call, [row[0], row[0] + nth, times, number, 0])

    def hang(self, call, nth):
        """The nth call from now on does not come back before heal(), and is done then."""
        row = self.row(call)
        self.store(call, [row[0], row[0] + nth, 1, -1, 0])

    def hit(self, call):
        return self.row(call)[4]

    def calls(self, call):
        return self.row(call)[0]

    def only(self, path):
        """Calls on files count whose path has this in it."""
        self.map[PATH_AT:PATH_AT + 256] = str(path).encode().ljust(256, b"\0")

    def clock(self, seconds):
        """CLOCK_REALTIME is so far from the truth."""
        struct.pack_into("<q", self.map, OFFSET_AT, int(seconds * 1_000_000_000))

    def heal(self):
        for call in CALLS:
            self.store(call, [self.row(call)[0], 0, 0, 0, self.hit(call)])
        self.clock(0)
