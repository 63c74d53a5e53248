"""kernel_taken_pod: what the ways of kernel_taken.py have: sockets that know what of theirs may arrive, and the origin to
ask what did."""
import collections
import ctypes
import json
import os
import socket
import time

SITE, SITE6, CALLER = "203.0.113.10", "2001:db8:2::10", "203.0.113.99"
WRAPPED = "2001:db8:5::66"  # where what leaves for it is put into packets for another one: kernel_taken.sh
ANSWERS, WAITS, UPGRADES, NAMED = 80, 81, 82, 83  # the ports of the origin, by what it does there
ALLOWED = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = b"GET /ok HTTP/1.1\r\nHost: x\r\nX: " + b"A" * 60000  # a head without an end
SO_COOKIE = 57
PATIENCE = 20 * int(os.environ.get("SALLYPORT_SLOW", "1"))
libc = ctypes.CDLL(None, use_errno=True)


class Way:
    """The one that is tried just now."""

    name, origin, events = "", "", None
    sockets, told = [], collections.defaultdict(collections.Counter)


class Conn(socket.socket):
    """Of what it says, `allowed` is to arrive; None: how much of it does is chance. Of one that is `fine` no denial is
    awaited. `past` are the connections it had before: how each is to be told."""

    def __init__(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, fileno=None):
        super().__init__(family, kind, protocol, fileno)
        self.allowed, self.fine, self.past = b"", False, {}
        self.settimeout(PATIENCE)
        Way.sockets.append(self)

    def say(self, data):
        self.allowed += data
        self.sendall(data)

    def ask(self, data=ALLOWED):
        """The status of the answer."""
        self.say(data)
        return self.recv(1000).split(b" ")[1].decode()

    def cookie(self):
        return int.from_bytes(self.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")

    def origin_reads(self):
        ask_origin("read", self)

    def arrives(self):
        """What of it the origin has, when it has all that it is to have."""
        return ask_origin("got", self, len(self.allowed or b""))


def ask_origin(verb, sock, *count):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(2 * PATIENCE)
        asked.connect(Way.origin)
        asked.sendall(" ".join(map(str, (verb, sock.getsockname()[1], *count))).encode() + b"\n")
        return b"".join(iter(lambda: asked.recv(1 << 18), b""))


def dial(port=ANSWERS, address=SITE, family=socket.AF_INET, **kind):
    sock = Conn(family, **kind)
    sock.connect((address, port))
    return sock


def path():
    return b"/denied-" + Way.name.encode()


def denied():
    return b"GET " + path() + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def read_events():
    """What was told since it was asked last, of each connection: how often what, requests by their path."""
    for line in Way.events:
        while not line.endswith("\n"):
            line += Way.events.readline()
        kind, event = next(iter(json.loads(line).items()))
        if "cookie" in event.get("socket", {}):
            of = event["socket"]
            what = {"process_http": event.get("path"), "process_policy": event.get("verdict")}
            Way.told[int(of["cookie"]), of["sport"]][what.get(kind, "%s %d" % (kind, of["dport"]))] += 1


def comes_true(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
        read_events()
    return True


def is_told(sock, times=1):
    of = sock.cookie(), sock.getsockname()[1]
    return comes_true(lambda: Way.told[of]["deny"] >= times)


def whole_story(port, *requests):
    """What is to be told of a connection to the port: each request is a path, of which those that say so are denied."""
    told = collections.Counter(["process_connect %d" % port, "process_close %d" % port, *requests])
    told["deny"] = sum("/denied" in request for request in requests)
    return +told


def is_told_apart(cookie, stories):
    """Each of a socket's connections, by its source port, as its own, and nothing else of it."""
    def is_so():
        of_it = {sport: +told for (by, sport), told in Way.told.items() if by == cookie and +told}
        return of_it == stories
    return comes_true(is_so)


def in_child(function):
    """What became of it, by another process that has all that this one has: its errno, or 0."""
    pid = os.fork()
    if not pid:
        try:
            function()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
