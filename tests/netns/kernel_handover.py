"""A pod's program that asks without end over many connections, in the clear: kernel_handover.py HOST PORT OUT [whole|refused]

Some threads open a connection for each request, or for a few that go one behind the other without waiting, some keep
one for a while, one goes round many that are open all the time; one sends heads in two pieces, but not if all are to
be `whole`; or what rules have `refused`, which must have no answer. Each request asks for a path of its own. Goes on
until stdin ends, then writes a line of JSON for each connection: when it was connected and closed (boot clock, ns), its
port, its paths.
"""
import json, socket, sys, threading, time

PAUSE = 0.005  # so that an agent with sanitizers can follow
host, port, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
over = threading.Event()
told, lock, failures = [], threading.Lock(), []


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Connection:
    def __init__(self):
        self.begun = now()
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.paths, self.sport = [], self.socket.getsockname()[1]
        self.read = self.socket.makefile("rb")

    def request(self):
        path = f"/n/{self.sport}-{self.begun}-{len(self.paths)}"
        self.paths.append(path)
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    def answer(self):
        line, length = self.read.readline(), 0
        if not line.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"answered by {line!r}")
        while (field := self.read.readline()) != b"\r\n":
            if field.lower().startswith(b"content-length:"):
                length = int(field[15:])
        if len(self.read.read(length)) != length:
            raise ValueError("an answer that is cut")

    def ask(self, count=1):
        self.socket.sendall(b"".join(self.request() for _ in range(count)))
        for _ in range(count):
            self.answer()

    def in_pieces(self):
        """A request whose head comes in two."""
        head = self.request()
        self.socket.sendall(head[:30])
        time.sleep(0.01)
        self.socket.sendall(head[30:])
        self.answer()

    def close(self):
        self.read.close()
        self.socket.close()
        with lock:
            told.append({"begun": self.begun, "closed": now(), "sport": self.sport, "paths": self.paths})


def short(turn):
    connection = Connection()
    connection.ask(3 if turn % 4 == 3 else 1)
    connection.close()
    time.sleep(PAUSE)


def kept(turn):
    connection, until = Connection(), time.monotonic() + 0.3
    while time.monotonic() < until and not over.is_set():
        connection.ask()
        time.sleep(PAUSE)
    connection.close()


def slow(turn):
    connection, until = Connection(), time.monotonic() + 3
    while time.monotonic() < until and not over.is_set():
        connection.in_pieces()
    connection.close()


def many(turn):
    connections = [Connection() for _ in range(200)]
    while not over.is_set():
        for connection in connections:
            connection.ask()
            time.sleep(PAUSE)
    for connection in connections:
        connection.close()


def refused(turn):
    """What rules do not allow, on a connection of its own and behind what they do: it has no answer."""
    with socket.create_connection((host, port), timeout=60) as sock:
        heard = b""
        try:
            if turn % 2:
                sock.sendall(f"GET /n/first HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                while not heard.endswith(b"asked for\n") and (more := sock.recv(1000)):
                    heard += more
                time.sleep(turn % 40 * PAUSE)
            heard = b""
            sock.sendall(f"DELETE /n/denied HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            heard = sock.recv(1000)
        except OSError:
            pass
    if heard:
        raise ValueError(f"what no rule allows was answered by {heard!r}")
    time.sleep(PAUSE)


def go_on(what):
    turn = 0
    try:
        while not over.is_set():
            what(turn)
            turn += 1
    except Exception as error:  # whatever it is, the program noticed something
        with lock:
            failures.append(repr(error))


modes = {"": [slow], "whole": [], "refused": [refused]}
threads = [threading.Thread(target=go_on, args=(what,))
           for what in (short, short, kept, kept, *modes["".join(sys.argv[4:])], many)]
for thread in threads:
    thread.start()
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
with open(out, "w") as file:
    for one in told:
        print(json.dumps(one), file=file)
print("\n".join(failures[:10]))
sys.exit(1 if failures else 0)
