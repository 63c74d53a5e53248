"""Clients in crowds, for the limits_*.sh: crowd.py WHAT PORT COUNT, to https://localhost:PORT.

Each says on stdout how far it is, and goes on when it reads a line from stdin.
  many    COUNT TLS connections at once; a request on each; closed
  burst   COUNT connects that close at once, every third after half a ClientHello, by RST
  slow    a third of COUNT sends a ClientHello byte by byte, a third a head, a third a body
  probe   COUNT requests, each over a connection of its own, one after the other; how long each took
  gather  COUNT connections (plain), one after the other: how many were served, how many reset; another
          request on those, with a head of 12 kB, and one first, if given, of so many bytes, to be refused
  stall   COUNT downloads of /big by who reads nothing
  push    COUNT uploads (plain), as far as they are taken
"""
import errno, os, resource, select, socket, ssl, struct, sys, time

what, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
AT = ("127.0.0.1", port)
REQUEST = b"GET /204 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def say(*words):
    print(*words, flush=True)


def wait():
    os.read(0, 1)  # no more: the next line may be for another crowd


def hello():
    """The first bytes of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def fd_connect():
    s = socket.socket()
    s.setblocking(False)
    if s.connect_ex(AT) not in (0, errno.EINPROGRESS):
        raise OSError("connect")
    return s


class Crowd:
    """One non-blocking step of each connection at a time, `at_once` of them under way."""

    def __init__(self, at_once=256):
        self.poll, self.at_once = select.epoll(), at_once

    def run(self, things, step):
        """step(thing): None when done, else the events to wait for. thing has fileno()."""
        waiting, under_way = list(reversed(things)), {}
        while waiting or under_way:
            while waiting and len(under_way) < self.at_once:
                thing = waiting.pop()
                events = step(thing)
                if events:
                    under_way[thing.fileno()] = thing
                    self.poll.register(thing.fileno(), events)
            for fd, _ in self.poll.poll(60) or [(None, None)]:
                if fd is None:
                    raise TimeoutError(f"{len(under_way)} under way, {len(waiting)} to come")
                events = step(under_way[fd])
                if events:
                    self.poll.modify(fd, events)
                else:
                    self.poll.unregister(fd)
                    del under_way[fd]


class Client:
    def __init__(self, context):
        self.socket, self.context, self.answer = None, context, b""

    def fileno(self):
        return self.socket.fileno()

    def shake(self):
        if not self.socket:
            self.socket = fd_connect()
            return select.EPOLLOUT
        if not isinstance(self.socket, ssl.SSLSocket):
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "connect")
            fd = self.socket
            self.socket = self.context.wrap_socket(fd, server_hostname="localhost", do_handshake_on_connect=False)
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT

    def ask(self):
        if not self.answer:
            self.socket.send(REQUEST)
            self.answer = b" "
        try:
            data = self.socket.recv(4096)
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        if not data:
            raise EOFError("closed without an answer")
        self.answer += data
        if b"\r\n\r\n" not in self.answer:
            return select.EPOLLIN
        if not self.answer.startswith(b" HTTP/1.1 204 "):
            raise ValueError(self.answer)


def many():
    context = ssl.create_default_context()
    clients = [Client(context) for _ in range(count)]
    say("begun")
    wait()
    start = time.monotonic()
    Crowd().run(clients, Client.shake)
    say("open", count, f"{time.monotonic() - start:.1f}")
    wait()
    start = time.monotonic()
    Crowd().run(clients, Client.ask)
    say("asked", count, f"{time.monotonic() - start:.1f}")
    wait()
    for client in clients:
        client.socket.close()
    say("closed")
    wait()


def burst():
    half = hello()[:200]
    say("begun")
    wait()
    start = time.monotonic()
    for i in range(count):
        s = fd_connect()
        if i % 3 == 2:
            select.select([], [s], [])
            s.send(half)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif i % 3 == 1:
            select.select([], [s], [])
        s.close()
    say("done", count, f"{time.monotonic() - start:.1f}")
    wait()


def slow():
    context, third, first = ssl.create_default_context(), count // 3, hello()
    say("begun")
    wait()
    plain = [socket.create_connection(AT) for _ in range(third)]
    talking = []
    for i in range(2 * third):
        s = context.wrap_socket(socket.create_connection(AT), server_hostname="localhost")
        if i % 2:
            s.send(b"PUT /put/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" % i)
        else:
            s.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        talking.append(s)
    say("open", count)
    at, ended = 0, set()
    while not select.select([sys.stdin], [], [], 1)[0]:
        for i, s in enumerate(plain + talking):
            try:
                s.send(first[at:at + 1] if i < third else b"x" if (i - third) % 2 else b"X-%d: y\r\n" % at)
            except OSError:
                ended.add(i)
        if len(ended) == third:
            say("ended", third, "after", at)
        at += 1
    os.read(0, 1)
    for s in plain + talking:
        s.close()
    say("slow for", at)
    wait()


def probe():
    context, took = ssl.create_default_context(), []
    say("ready")
    wait()
    for _ in range(count):
        start = time.monotonic()
        with context.wrap_socket(socket.create_connection(AT), server_hostname="localhost") as s:
            s.send(REQUEST)
            if not s.recv(4096).startswith(b"HTTP/1.1 204 "):
                raise ValueError("no answer")
        took.append((time.monotonic() - start) * 1000)
        time.sleep(0.02)
    took.sort()
    say("slowest", int(took[-1] + 0.5), "median", int(took[len(took) // 2] + 0.5))


def bulky(size):
    lines = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 3990) for i in range(size // 4000))
    return REQUEST.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n")


def gather():
    served = reset = 0
    for _ in range(count):
        try:  # the reset may come before connect() has returned
            s = socket.create_connection(AT)
            s.settimeout(60)
            s.sendall(REQUEST)
            served += s.recv(4096).startswith(b"HTTP/1.1 204 ")
            kept.append(s)
        except ConnectionResetError:
            reset += 1
    say("served", served, "reset", reset, "of", count)
    wait()
    if len(sys.argv) > 4:
        with kept.pop() as s:
            try:
                s.sendall(bulky(int(sys.argv[4])))
                refused = not s.recv(4096)
            except OSError:
                refused = True
            say("bulky", refused)
    for s in kept:
        s.sendall(bulky(12000))
        if not s.recv(4096).startswith(b"HTTP/1.1 204 "):
            raise ValueError("a connection that was open is no more")
        s.close()
    say("closed")
    wait()


def stall():
    context = ssl.create_default_context()
    for _ in range(count):
        kept.append(context.wrap_socket(socket.create_connection(AT), server_hostname="localhost"))
        kept[-1].send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
    say("stalled", count)
    wait()


def push():
    sent = 0
    for _ in range(count):
        kept.append(socket.create_connection(AT))
        kept[-1].send(b"PUT /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        kept[-1].setblocking(False)
    while ready := select.select([], kept, [], 1)[1]:
        for s in ready:
            try:
                sent += s.send(bytes(1 << 20))
            except BlockingIOError:
                pass
    say("pushed", count, "kB", sent // 1000 // count)
    wait()


kept = []
globals()[what]()
