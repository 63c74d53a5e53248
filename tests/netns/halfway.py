#!/usr/bin/python3
"""halfway.py SOCKET: stands at SOCKET in the agent's place, which it moves aside, until an agent asks for that place;
passes on what the two say, but the byte by which the next one asks for what the old one knows. Says "asked"
then, and waits for a line: "go" passes it on, anything else hangs up on both."""
import array
import os
import socket
import sys

PATH = sys.argv[1]
REAL = PATH + ".real"


def received(s):
    data, ancillary, _, _ = s.recvmsg(65536, socket.CMSG_SPACE(4))
    fds = array.array("i")
    for _, _, content in ancillary:
        fds.frombytes(content)
    return data, list(fds)


def passed_on(to, data, fds):
    socket.send_fds(to, [data], fds)
    for fd in fds:
        os.close(fd)


os.rename(PATH, REAL)
listener = socket.socket(socket.AF_UNIX)
listener.bind(PATH)
listener.listen()
print("there", flush=True)
while True:
    heir, _ = listener.accept()
    request, fds = received(heir)
    old = socket.socket(socket.AF_UNIX)
    old.connect(REAL)
    passed_on(old, request, fds)
    answer = old.recv(65536)
    heir.sendall(answer)
    if fds:
        break  # else it was but asked whether it would
    heir.close()
    old.close()
listener.close()  # who asks from here on asks the next one
os.unlink(PATH)
os.unlink(REAL)
byte = heir.recv(1)
print("asked", flush=True)
if sys.stdin.readline() == "go\n":
    old.sendall(byte)
    while more := old.recv(65536):
        heir.sendall(more)
