"""A PULL of pyzmq. See helpers/foreign.mjs for how to talk to it, and helpers/interop.mjs for its options."""

import sys

import zmq
from peer import Tally, attach, options, tell

socket = attach(zmq.PULL)
tally = Tally()
for index in range(options["count"]):
    if index == options.get("pauseAfter"):
        tell(paused=index)
        sys.stdin.readline()
    job = socket.recv_multipart()
    if options.get("prints"):
        tell(job=[frame.decode() for frame in job])
    tally.add(job)
tell(tally=tally.get())
