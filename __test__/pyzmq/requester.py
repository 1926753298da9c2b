"""A REQ or DEALER of pyzmq. See helpers/foreign.mjs for how to talk to it.

With `mix` it asks so many mixed jobs, as a DEALER all of them at once behind envelopes of none to three addresses, and tells how many
came back as they were. Without, each line of the input is a message, as JSON, that is sent as it stands and told of as
sent; what comes is told.
"""

import json
import sys

import zmq
from peer import attach, mix, options, tell

socket = attach(getattr(zmq, options["kind"]))


def envelope(index):
    return [b"address %d of %d" % (number, index) for number in range(index % 4)] + [b""]


if "mix" in options and options["kind"] == "REQ":
    right = 0
    for job in mix(options["mix"]):
        socket.send_multipart(job)
        right += socket.recv_multipart() == job
    tell(right=right)
elif "mix" in options:
    jobs = [envelope(index) + job for index, job in enumerate(mix(options["mix"]))]
    for job in jobs:
        socket.send_multipart(job)
    replies = sorted(socket.recv_multipart() for _ in jobs)
    tell(right=sum(job == reply for job, reply in zip(sorted(jobs), replies)))
else:
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while True:
        for source, _ in poller.poll():
            if source is socket:
                tell(reply=[frame.decode() for frame in socket.recv_multipart()])
            else:
                socket.send_multipart([frame.encode() for frame in json.loads(sys.stdin.buffer.raw.readline())])
                tell(sent=True)
socket.close(linger=-1)
socket.context.term()
