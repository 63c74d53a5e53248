"""Every way in which a connection can end, acted out by both of its sides.

endings.py server DIR CERT KEY     serves; DIR/ports has "NAME PORT" lines when all listen
endings.py client DIR CA           acts the client of each
endings.py fetch DIR CA            fetches what the scenes of answers answer, as any program would

Each side writes what it met to DIR/server or DIR/client, a line "NAME what" for each scene. What a scene
meets must not depend on luck: then it is the same whoever is between the two."""
import http.client
import os
import socket
import ssl
import sys
import threading
import urllib.request

sys.dont_write_bytecode = True
from endings_sides import PATIENCE, End, HalfOpen, TlsEnd

MANY = 3_000_000
SCENES = {}  # name: (class of the side, the scene)


def scene(*kinds):
    def add(which):
        for kind in kinds:
            SCENES[f"{kind}_{which.__name__}"] = (TlsEnd if kind in ("tls", "https") else End, which)
        return which
    return add


# ---- one direction ends, the other does not ---------------------------------------------------------

@scene("plain", "tls")
class client_ends_first:
    def client(c):
        c.send(b"\x01question")
        c.end()
        return c.to_the_end()

    def server(s):
        met = s.to_the_end()
        s.send(bytes(MANY))
        s.end()
        return met


@scene("plain", "tls")
class server_ends_first:
    def client(c):
        c.send(b"\x01hello")
        met = c.to_the_end()
        c.send(bytes(MANY))
        c.end()
        return met

    def server(s):
        s.take(6)
        s.send(b"all I have to say")
        s.end()
        return s.to_the_end()


@scene("plain")
class server_ends_before_anything_is_said:
    def client(c):
        met = c.to_the_end()
        c.send(b"\x01well")
        c.end()
        return met

    def server(s):
        s.end()
        return s.to_the_end()


@scene("plain")
class both_say_something_urgent:  # which no end is
    def client(c):
        met = c.take(16)
        c.urgent()
        c.send(b"more")
        c.end()
        return f"{met}, {c.to_the_end()}"

    def server(s):
        s.send(b"greeting")
        s.urgent()
        s.send(b"and more")
        met = s.to_the_end()
        s.end()
        return met


@scene("plain")
class client_ends_before_anything_is_said:
    def client(c):
        c.end()
        return c.to_the_end()

    def server(s):
        met = s.to_the_end()
        s.send(b"the time of day")
        s.end()
        return met


# ---- resets ----------------------------------------------------------------------------------------

@scene("plain")
class server_resets_at_once:
    def client(c):
        c.await_mark("accepted")
        return c.to_the_end()

    def server(s):
        s.reset()
        return "done"


@scene("plain")
class client_resets_at_once:
    def client(c):
        c.await_mark("accepted")
        c.reset()
        return "done"

    def server(s):
        return s.to_the_end()


@scene("plain", "tls")
class server_resets_behind_bytes:
    def client(c):
        c.send(b"\x01hello")
        return c.to_the_end()

    def server(s):
        s.take(6)
        s.send(bytes(1000))
        s.reset()
        return "done"


@scene("plain", "tls")
class client_resets_behind_bytes:
    def client(c):
        c.send(b"\x01hello")
        c.take(5)
        c.send(bytes(1000))
        c.reset()
        return "done"

    def server(s):
        s.take(6)
        s.send(b"hello")
        return s.to_the_end()


@scene("plain", "tls")
class server_closes_with_bytes_unread:  # which is a reset
    def client(c):
        c.send(b"\x01hello")
        c.take(5)
        c.send(bytes(1000))
        return c.to_the_end()

    def server(s):
        s.take(6)
        s.send(b"hello")
        s.sock.recv(1, socket.MSG_PEEK)
        s.send(b"and bye")
        s.sock.close()
        return "done"


@scene("plain")
class client_resets_what_nobody_reads:
    def client(c):
        c.send(b"\x01hello")
        c.take(5)
        c.stuff()
        c.reset()
        return "done"

    def server(s):
        s.take(6)
        s.send(b"hello")
        return s.lost()


@scene("plain")
class server_resets_what_nobody_reads:
    def client(c):
        c.send(b"\x01hello")
        c.await_mark("gone")
        return c.to_the_end().split(", ")[1]

    def server(s):
        s.take(6)
        s.stuff()
        s.reset()
        s.mark("gone")
        return "done"


@scene("plain", "tls")
class client_leaves_a_server_that_goes_on:
    def client(c):
        c.send(b"\x01hello")
        c.take(1000)
        c.sock.close()
        return "done"

    def server(s):
        s.take(6)
        try:
            while True:
                s.send(bytes(1000))
        except (ConnectionResetError, BrokenPipeError):
            return "reset"


# ---- TLS: cuts, and ends inside of the handshake ---------------------------------------------------

@scene("tls")
class server_cuts:
    def client(c):
        c.send(b"\x01hello")
        return c.to_the_end()

    def server(s):
        s.take(6)
        s.send(bytes(MANY))
        s.cut()
        return s.to_the_end()


@scene("tls")
class client_cuts:
    def client(c):
        c.send(b"\x01hello")
        c.cut()
        return c.to_the_end()

    def server(s):
        met = s.to_the_end()
        s.sock.close()
        return met


def handshake(which):
    SCENES[f"handshake_{which.__name__}"] = (HalfOpen, which)


@handshake
class server_ends:
    def client(c):
        return c.handshake()

    def server(s):
        s.some()
        s.cut()
        return s.what_ends_it()


@handshake
class server_resets:
    def client(c):
        return c.handshake()

    def server(s):
        s.some()
        s.reset()
        return "done"


@handshake
class client_resets:  # while the server takes its time
    def client(c):
        c.hello()
        c.await_mark("asked")
        c.reset()
        return "done"

    def server(s):
        s.some()
        s.mark("asked")
        return s.what_ends_it()


@handshake
class client_resets_within_its_hello:
    def client(c):
        c.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        c.await_mark("accepted")
        c.reset()
        return "done"

    def server(s):
        return s.what_ends_it()


@handshake
class client_ends_within_its_hello:
    def client(c):
        c.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        c.cut()
        return c.what_ends_it()

    def server(s):
        return s.what_ends_it()


# ---- HTTP: what is cut never looks complete ----------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
HEADS = {"length": OK + b"Content-Length: 2000\r\n\r\n", "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n",
         "until_close": OK + b"Connection: close\r\n\r\n"}


def answers():
    """An answer's body, declared in each way, that ends in each way before it is whole."""
    def make(head, leave):
        class Answer:
            def client(c):
                c.send(GET)
                return c.to_the_end()

            def server(s):
                s.take(len(GET))
                s.send(head + bytes(1000))
                getattr(s, leave)()
                return "done" if leave == "reset" else s.to_the_end()
        return Answer
    for kind in ("http", "https"):
        for name, head in HEADS.items():
            for leave in ("end", "reset") + (("cut",) if kind == "https" else ()):
                SCENES[f"{kind}_answer_{name}_{leave}"] = (TlsEnd if kind == "https" else End, make(head, leave))


def requests():
    """The same for requests. The server says what it met to a client that listens still."""
    heads = {"length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n",
             "chunked": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n",
             "head": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le"}

    def make(head, leave):
        class Request:
            def client(c):
                c.send(head + (bytes(1000) if head.endswith(b"\r\n") else b""))
                c.await_mark("come")
                getattr(c, leave)()
                if leave == "reset":
                    return "done"
                met = c.to_the_end()
                return met if head.endswith(b"\r\n") else met.split(",")[0]

            def server(s):
                count = len(head) + 1000 if head.endswith(b"\r\n") else 0
                s.take(count)
                s.mark("come")
                met = s.to_the_end()
                if leave == "end" and count:
                    s.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    try:
                        s.end()
                    except OSError:  # the client has its answer, and may have gone
                        pass
                return met.split(", ")[1]
        return Request
    for kind in ("http", "https"):
        for name, head in heads.items():
            for leave in ("end", "reset") + (("cut",) if kind == "https" else ()):
                SCENES[f"{kind}_request_{name}_{leave}"] = (TlsEnd if kind == "https" else End, make(head, leave))


UPLOAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"


@scene("http")
class client_resets_its_upload:
    def client(c):
        c.send(UPLOAD)
        c.stuff()
        c.reset()
        return "done"

    def server(s):
        s.sock.recv(1, socket.MSG_PEEK)
        return s.lost()


@scene("plain", "http")
class server_resets_when_nobody_reads:  # who is told it by a send must not take what follows for an end
    def client(c):
        c.send(UPLOAD if c.name.startswith("http") else b"\x01")
        c.stuff()
        c.mark("stuffed")
        c.await_mark("gone")
        return c.to_the_end().split(", ")[1]

    def server(s):
        s.sock.recv(1, socket.MSG_PEEK)
        s.send(HEADS["until_close"])
        s.stuff()
        s.await_mark("stuffed")
        s.reset()
        s.mark("gone")
        return "done"


answers()
requests()

# ---- the stage -------------------------------------------------------------------------------------

lock = threading.Lock()


def act(side, which, sock, name, directory, context, out):
    end = SCENES[name][0](sock, name, directory)
    try:
        if side == "server":
            end.mark("accepted")
        end.open(context, side == "server")
        met = getattr(which, side)(end)
    except (OSError, ssl.SSLError) as error:
        met = f"unexpected {type(error).__name__}: {error}"
    with lock:
        print(name, met, file=out, flush=True)
    sock.close()


def serve(directory, cert, key):
    out = open(f"{directory}/server", "w")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])

    def accept(listener, name, which):
        while True:
            sock, _ = listener.accept()
            act("server", which, sock, name, directory, context, out)

    with open(f"{directory}/ports.new", "w") as ports:
        for name, (_, which) in SCENES.items():
            listener = socket.create_server(("127.0.0.1", 0))
            print(name, listener.getsockname()[1], file=ports)
            threading.Thread(target=accept, args=(listener, name, which)).start()
    os.rename(f"{directory}/ports.new", f"{directory}/ports")


def ports_of(directory):
    return {name: int(port) for name, port in map(str.split, open(f"{directory}/ports"))}


def perform(directory, ca):
    out = open(f"{directory}/client", "w")
    ports = ports_of(directory)
    threads = []
    for name in SCENES:
        context = ssl.create_default_context(cafile=ca)
        if name.startswith("https"):
            context.set_alpn_protocols(["http/1.1"])
        try:
            sock = socket.create_connection(("127.0.0.1", ports[name]))
        except ConnectionResetError:  # by a server that is quicker than our connect() wakes up
            with lock:
                print(name, "0 bytes, reset", file=out, flush=True)
            continue
        threads.append(threading.Thread(target=act, args=("client", SCENES[name][1], sock, name, directory,
                                                          context, out)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def fetch(directory, ca):
    context = ssl.create_default_context(cafile=ca)
    for name, port in ports_of(directory).items():
        if "_answer_" not in name or "https_answer_until_close" in name:
            continue  # Python takes a missing close_notify for an end, and by luck an RST, too
        try:
            url = f"{name.split('_')[0]}://localhost:{port}/"
            met = f"{len(urllib.request.urlopen(url, context=context, timeout=PATIENCE).read())} bytes"
        except TimeoutError:
            met = "silence"
        except (OSError, http.client.HTTPException):  # which one: a race of its reads with the RST
            met = "failure"
        print(name, met)


{"server": serve, "client": perform, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
