"""python push.py bind|connect ADDRESS FIRST LAST: sends numbered jobs to whoever pulls, and ends when all have left."""

import sys

import zmq

how, address, first, last = sys.argv[1:]

context = zmq.Context()
socket = context.socket(zmq.PUSH)
if how == "bind":
    socket.bind(address)
    print("listening on", socket.getsockopt_string(zmq.LAST_ENDPOINT))
else:
    socket.connect(address)

for number in range(int(first), int(last) + 1):
    socket.send_string(f"job {number}")
    print("sent job", number)

# Waits until everything has left. Python's own end doesn't: it drops what is still queued.
socket.close(linger=-1)
context.term()
