"""A REP or ROUTER of pyzmq that gives back what it is asked: the same as zeromq/replier.mjs. See helpers/foreign.mjs for how to talk to it."""

import os
import signal

import zmq
from peer import attach, options, tell

socket = attach(getattr(zmq, options["kind"]))
held = []
left = options.get("count", -1)
while left != 0:
    left -= 1
    request = socket.recv_multipart()
    if options.get("dies") or options.get("prints"):
        tell(request=[frame.decode(errors="replace") for frame in request])
    if options.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    held.append(request)
    if len(held) < options.get("holds", 1):
        continue
    for one in reversed(held):
        socket.send_multipart(one)
    held.clear()
tell(done=True)
socket.close(linger=-1)
socket.context.term()
