"""A PUSH of pyzmq. See helpers/foreign.mjs for how to talk to it, and helpers/interop.mjs for its options."""

import sys

import zmq
from peer import Tally, attach, mix, options, tell

socket = attach(zmq.PUSH)
if "mix" in options:
    tally = Tally()
    for job in mix(options["mix"]):
        socket.send_multipart(job)
        tally.add(job)
    tell(tally=tally.get())
    # Waits until everything has left. Python's own end doesn't: it drops what is still queued.
    socket.close(linger=-1)
    socket.context.term()
else:
    for line in sys.stdin:
        socket.send_string(line.rstrip("\n"))
