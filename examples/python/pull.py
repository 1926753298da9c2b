"""python pull.py bind|connect ADDRESS COUNT: takes so many jobs, works on them one by one, and ends."""

import os
import sys
import time

import zmq

how, address, count = sys.argv[1:]
pause = int(os.environ.get("DEMO_PAUSE", "2000"))

context = zmq.Context()
socket = context.socket(zmq.PULL)
if how == "bind":
    socket.bind(address)
    print("listening on", socket.getsockopt_string(zmq.LAST_ENDPOINT))
else:
    socket.connect(address)

for _ in range(int(count)):
    job = socket.recv_string()
    time.sleep(pause / 1000)
    print("received", job)
