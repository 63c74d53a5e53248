"""Recorded exchanges, said in pieces cut by a seed, both ways: kernel_replay.py serve ADDRESS PORT SEEDS [CERT KEY] |
ask ADDRESS PORT SEED [sealed]. The answers that seed N cuts are at PORT + N. sealed: the kernel encrypts, at both ends.
What shall be refused, or has no end, each on a connection of its own: refused | odd ADDRESS PORT [sealed].
A request in a tunnel in a tunnel, by a proxy: tunnels ADDRESS PORT WHERE; one that goes with the SYN: syn ADDRESS PORT.

Both sides know what is to be said; each waits until it has heard the other's part, whole, and fails if
it is not what was recorded.
"""
import os
import random
import socket
import sys
import threading

from kernel_ends import answers, asks

HOST = b"Host: replay.example\r\n"


def get(path, more=b""):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + more + b"\r\n"


def fine(body, more=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), more, body)


LARGE = b"".join(b"X-Header-%d: %s\r\n" % (i, b"v" * 900) for i in range(70))
BINARY = bytes(range(256)) * 300

# connections, each a list of (what is asked, what is answered)
CONNECTIONS = [
    [
        (get(b"/a"), fine(b"hello")),
        (b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nx=y", fine(b"")),
        (b"HEAD /h HTTP/1.1\r\n" + HOST + b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (get(b"/none"), b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
        (get(b"/204"), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (get(b"/304"), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
    ],
    [  # chunked both ways, with extensions and a trailer
        (b"PUT /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
         b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        (get(b"/after"), fine(b"1")),
    ],
    [  # heads of many pieces, bodies that are much
        (get(b"/large", LARGE), fine(b"", LARGE)),
        (b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(BINARY) + BINARY, fine(BINARY)),
        (get(b"/next"), fine(b"ok")),
    ],
    [  # pipelined, with a HEAD among them
        (get(b"/1") + b"HEAD /2 HTTP/1.1\r\n" + HOST + b"\r\n" + get(b"/3"),
         fine(b"one") + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + fine(b"three")),
    ],
    [  # a WebSocket, with a message in two frames, and both ends' goodbye
        (b"GET /ws HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        (b"\x01\x83\0\0\0\0hel\x80\x82\0\0\0\0lo" + b"\x82\xfe\x7d\0\0\0\0\0" + b"m" * 32000,
         b"\x81\x05there" + b"\x82\x7e\x7d\0" + b"n" * 32000),
        (b"\x88\x82\0\0\0\0\x03\xe8", b"\x88\x02\x03\xe8"),
    ],
    [  # an interim answer, and one that ends with the connection
        (b"POST /e HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n",
         b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"z", fine(b"y")),
        (get(b"/close"), b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ],
]


def say(sock, text, chance):
    while text:
        most = chance.choice([1, 2, 7, 40, 1000, 20000])
        piece = text[:chance.randint(1, most)]
        sock.sendall(piece)
        text = text[len(piece):]


def hear(sock, wanted):
    got = b""
    while len(got) < len(wanted):
        piece = sock.recv(len(wanted) - len(got))
        if not piece:
            break
        got += piece
    if got != wanted:
        sys.exit(f"wanted {wanted[:80]!r}, got {got[:80]!r}")


def prepare(sock):
    sock.settimeout(30 * int(os.environ.get("SALLYPORT_SLOW", "1")))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect(address, port, sealed=False):
    sock = socket.create_connection((address, port), 30)
    prepare(sock)
    return asks(sock) if sealed else sock


def ask(address, port, seed, sealed=False):
    for number, exchanges in enumerate(CONNECTIONS):
        chance = random.Random(f"ask {seed} {number}")
        with connect(address, port, sealed) as sock:
            for asked, answered in exchanges:
                say(sock, asked, chance)
                hear(sock, answered)
            sock.shutdown(socket.SHUT_WR)
            if sock.recv(1):
                sys.exit("more than was recorded")


def answer(sock, seed):
    """Which connection it is shows in what is asked first."""
    begun = b""
    while True:
        byte = sock.recv(1)
        if not byte:
            return  # who only looks whether we are here
        begun += byte
        fits = [e for e in CONNECTIONS if e[0][0].startswith(begun)]
        if len(fits) == 1:
            exchanges = fits[0]
            break
    chance = random.Random(f"answer {seed} {CONNECTIONS.index(exchanges)}")
    for number, (asked, answered) in enumerate(exchanges):
        hear(sock, asked[len(begun):] if number == 0 else asked)
        say(sock, answered, chance)
    if exchanges[-1][1].startswith(b"HTTP/1.0"):
        sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass


def serve(address, port, seed, certificate):
    def run(sock):
        prepare(sock)
        sealed = certificate and sock.recv(1, socket.MSG_PEEK) == b"\x16"
        with answers(sock, *certificate) if sealed else sock as sock:
            answer(sock, seed)

    with socket.create_server((address, port + seed)) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=run, args=(sock,), daemon=True).start()


# to where /a alone is allowed
REFUSED = [
    b"GET /none HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /a HTTP/1.1\r\n\r\n",
    b"GET /a HTTP/1.1\nHost: replay.example\n\n",
    b"FOO /a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://other.example/a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /a HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /a HTTP/1.1\r\n" + HOST + b"X: y\r\n z\r\n\r\n",
]


ENDLESS = b"GET /a HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(1000))
# in pieces, and more than one
ODD = [
    [REFUSED[0][i:i + 1] for i in range(len(REFUSED[0]))],
    [get(b"/a") + REFUSED[0]],
    [b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"0" * 100000 + REFUSED[0]],
    [get(b"/a")[:-2]],
    [ENDLESS],
]


def each(address, port, connections, sealed=False):
    for pieces in connections:
        with connect(address, port, sealed) as sock:
            try:
                for piece in pieces:
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError:
                pass


LAST = b"GET /a HTTP/1.1\r\nHost: last.example\r\nConnection: close\r\n\r\n"


def whole(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def tunnels(address, port, where):
    with socket.create_connection((address, port), 30) as sock:
        for to in f"{address}:{port}", where:
            sock.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
            if b" 200 " not in sock.recv(1000):
                sys.exit("no tunnel")
        sock.sendall(LAST)
        whole(sock)


def with_syn(address, port):
    fast_open, syn_data = 0x20000000, 32
    with socket.socket() as sock:
        sock.sendto(LAST, fast_open, (address, port))
        whole(sock)
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & syn_data


what, where = sys.argv[1:3]
base, *most = [int(arg) if arg.isdigit() else arg for arg in sys.argv[3:]]
if what == "tunnels":
    tunnels(where, base, most[0])
elif what == "syn":
    print("with the SYN" if with_syn(where, base) else "behind it")
elif what == "ask":
    ask(where, base + most[0], *most)
elif what == "refused":
    each(where, base, [[text] for text in REFUSED], *most)
elif what == "odd":
    each(where, base, ODD, *most)
else:
    for number in range(1, most[0] + 1):
        threading.Thread(target=serve, args=(where, base, number, most[1:])).start()
