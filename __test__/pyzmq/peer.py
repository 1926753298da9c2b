"""What both ends of pyzmq share: options, jobs of every size, tallies, and how to tell what happens."""

import hashlib
import json
import os
import random
import struct
import sys

import zmq

LARGEST = 8 << 20
STEP = 10_000

options = json.loads(sys.argv[-1])


def tell(**event):
    print(json.dumps(event), flush=True)


def attach(kind):
    """A socket that is bound or connected as the options say."""
    socket = zmq.Context().socket(kind)
    for name, value in options.get("socket", {}).items():
        set_option = socket.setsockopt_string if isinstance(value, str) else socket.setsockopt
        set_option(getattr(zmq, name), value)
    if "bind" in options:
        socket.bind(options["bind"])
    else:
        socket.connect(options["connect"])
    tell(address=socket.getsockopt_string(zmq.LAST_ENDPOINT))
    return socket


def mix(count):
    """Jobs of every size from nothing to 8 MiB, some of them of several frames."""
    noise = os.urandom(LARGEST + (1 << 20))
    below = random.Random(count).randrange

    def view(length):
        start = below(len(noise) - length + 1)
        return noise[start:start + length]

    for index in range(count):
        frames = 1024 if index % 25_000 == 12_345 else below(2, 6) if index % 8 == 0 else 1
        yield [view(size(index if frame == 0 else 1, below)) for frame in range(frames)]


def size(index, below):
    if index % 20_000 == 9_999:
        return LARGEST - below(2) * below(LARGEST // 2)
    if index % 1_000 == 333:
        return below(1 << 20)
    if index % 50 == 17:
        return below(64 * 1024 + 2)
    if index % 10 == 9:
        return 254 + below(4)  # around where a frame's length takes eight octets
    return max(0, below(400) - 50)


class Tally:
    """The same marks as helpers/tally.mjs makes."""

    def __init__(self):
        self.hash = hashlib.sha1()
        self.count = 0
        self.marks = []

    def add(self, job):
        self.hash.update(struct.pack(f"<{len(job) + 1}I", len(job), *map(len, job)))
        for frame in job:
            self.hash.update(frame)
        self.count += 1
        if self.count % STEP == 0:
            self.marks.append(self.hash.hexdigest())

    def get(self):
        if self.count % STEP != 0:
            self.marks.append(self.hash.hexdigest())
        return {"count": self.count, "marks": self.marks}
