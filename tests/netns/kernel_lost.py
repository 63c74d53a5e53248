"""kernel_lost.py serve HOST: listens, tells its port, and answers every head that begins with "GET /answered".
kernel_lost.py ask HOST PORT AGENT EVENTS: while the process AGENT stands still it asks for more than the kernel
keeps for it: COUNT heads of some 800 kB, and LITTLE for what room they leave; and then, by a connection of its own,
for what it may not. When what is said is told in EVENTS again it asks once more, and closes within another head.
kernel_lost.py briefly HOST PORT AGENT BEFORE AFTER: while the process AGENT stands still it asks BEFORE times, each time
by another connection, then for as much as above, and by AFTER connections more."""
import os, signal, socket, sys, threading, time

COUNT, LITTLE = 20, 400
FIELDS = b"".join(b"X-%d: %s\r\n" % (i, b"v" * 8000) for i in range(100))


def answer(sock):
    begins = b""
    while piece := sock.recv(1 << 20):
        begins = piece if begins.endswith(b"\r\n\r\n") else begins[-100:] + piece
        if begins.startswith(b"GET /answered") and begins.endswith(b"\r\n\r\n"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def serve(host):
    listener = socket.create_server((host, 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def request(path, fields=b""):
    return b"GET /%s HTTP/1.1\r\nHost: a.example\r\n%s\r\n" % (path, fields)


def is_denied(sock):
    try:
        sock.sendall(request(b"denied"))
    except PermissionError:
        return True


def fill(sock):
    for i in range(COUNT):
        sock.sendall(request(b"%d" % i, FIELDS))
    for i in range(LITTLE):
        sock.sendall(request(b"little"))


def ask_briefly(address, times):
    for _ in range(times):
        with socket.create_connection(address) as sock:
            sock.sendall(request(b"answered"))
            sock.recv(1000)


def briefly(address, agent, before, after):
    os.kill(agent, signal.SIGSTOP)
    ask_briefly(address, before)
    with socket.create_connection(address) as sock:
        fill(sock)
    ask_briefly(address, after)
    os.kill(agent, signal.SIGCONT)


def ask(address, agent, events):
    sock, other, third = [socket.create_connection(address) for _ in range(3)]
    for each in sock, other, third:
        each.sendall(request(b"answered/before"))
        each.recv(1000)
    os.kill(agent, signal.SIGSTOP)
    fill(sock)
    assert is_denied(third)
    third.close()
    os.kill(agent, signal.SIGCONT)
    while b"/answered/again" not in open(events, "rb").read():
        other.sendall(request(b"answered/again"))
        other.recv(1000)
        time.sleep(0.05)
    sock.sendall(request(b"after"))
    sock.sendall(b"GET /unfinished HTTP/1.1\r\n")
    print(sum(len(request(b"%d" % i, FIELDS)) for i in range(COUNT)) + (LITTLE + 1) * len(request(b"little")))


if sys.argv[1] == "serve":
    serve(sys.argv[2])
elif sys.argv[1] == "briefly":
    briefly((sys.argv[2], int(sys.argv[3])), *[int(each) for each in sys.argv[4:]])
else:
    ask((sys.argv[2], int(sys.argv[3])), int(sys.argv[4]), sys.argv[5])
