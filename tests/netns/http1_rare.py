"""What is valid but rare, each byte held against a script by both who send and who receive it.

http1_rare.py origin CERT KEY        prints its ports, TLS and plain
http1_rare.py client TLS PLAIN FILE  plays every script by TLS and in the clear; notes its ports in FILE
http1_rare.py check FILE EVENTS      holds what was told against the scripts"""
import json
import os
import socket
import ssl
import sys

H = b"Host: rare.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BINARY = bytes(range(256)) * 300
BIG = b"".join(b"X-Field-%d: %s\r\n" % (i, b"%02x" % i * 4096) for i in range(99))
WAYS = ("tls", "plain")


def get(path="/", fields=b""):
    return b"GET %s HTTP/1.1\r\n%s%s\r\n" % (path.encode(), H, fields)


# Whose turn it is, and what that one says; the other reads it. "shut": its end, well; "cut": without
# close_notify (in the clear: the same); "leave": with bytes unread. "each": one request, one answer, while the
# client sends all at once. "unread": the other does not read it.
C, S = "client", "server"
PIPELINED = [(get("/%d" % i), b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(i)), i)) for i in range(1000)]
SCRIPTS = {
    "trailers both ways": (["POST / 200", "GET / 200"], [
        (C, b"POST / HTTP/1.1\r\n" + H + b"Trailer: Digest\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\nDigest: a b\r\nx:\r\n\r\n"),
        (S, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"00A\r\n0123456789\r\n0\r\nDigest:  c\r\nSERVER-timing: d \r\n\r\n"),
        (C, get()), (S, OK)]),
    "interim answers": (["GET / 200", "GET /2 204"], [
        (C, get()), (S, b"HTTP/1.1 102 Processing\r\n\r\n"), (S, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (S, b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 199 x\r\nX: y\r\n\r\n" + OK), (C, get("/2")), (S, b"HTTP/1.1 204 x\r\n\r\n")]),
    "100-continue": (["PUT / 201"], [
        (C, b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 76800\r\n\r\n"),
        (S, b"HTTP/1.1 100 Continue\r\n\r\n"), (C, BINARY), (S, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")]),
    "100-continue that was not waited for": (["PUT / 201"], [
        (C, b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 76800\r\n\r\n" + BINARY),
        (S, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")]),
    "417": (["PUT / 417"], [
        (C, b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 76800\r\n\r\n"),
        (S, b"HTTP/1.1 417 No\r\nContent-Length: 4\r\n\r\nwhat"), (C, "shut")]),
    "417, and the body all the same": (["PUT / 417", "GET / 200"], [
        (C, b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 76800\r\n\r\n"),
        (S, b"HTTP/1.1 417 No\r\nContent-Length: 4\r\n\r\nwhat"), (C, BINARY), (C, get()), (S, OK)]),
    "an answer before the body": (["POST / 413"], [
        (C, b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1000000\r\n\r\n" + BINARY),
        (S, b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"), (S, "shut")]),
    "an answer before the chunks": (["POST / 401"], [
        (C, b"POST / HTTP/1.1\r\n" + H + CHUNKED + b"3\r\nabc\r\n"),
        (S, b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"), (C, b"2\r\nde\r\n0\r\n\r\n")]),
    "an answer and the end with bytes unread": (["POST / 413"], [
        (C, b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1000000\r\n\r\n"), (C, BINARY, "unread"),
        (S, b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"), (S, "leave")]),
    "a thousand, pipelined": (["GET /%d 200" % i for i in range(1000)], [("each", PIPELINED)]),
    "two hundred, pipelined, and then the end": (["GET /%d 200" % i for i in range(200)], [
        ("each and shut", PIPELINED[:200])]),
    "a hundred fields of 8 kB": (["GET / 200", "GET / 200"], [
        (C, get("/", BIG)), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + BIG + b"\r\nok"), (C, get()), (S, OK)]),
    "chunk extensions": (["POST / 200"], [
        (C, b"POST / HTTP/1.1\r\n" + H + CHUNKED + b'2;a\r\nab\r\n2;a=b;c="d e"\r\ncd\r\n000;z\r\n\r\n'),
        (S, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"1;a=1\r\nx\r\n0;q=r\r\n\r\n")]),
    "no reason phrase": (["GET /1 200", "GET /2 404"], [
        (C, get("/1")), (S, b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        (C, get("/2")), (S, b"HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nno")]),
    "HTTP/1.0 that stays": (["GET /1 200", "GET /2 200"], [
        (C, b"GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
        (S, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
        (C, b"GET /2 HTTP/1.0\r\n\r\n"), (S, b"HTTP/1.0 200 OK\r\n\r\nuntil the end"), (S, "shut")]),
    "absolute-form, and whom it is for": (["GET /x 200", "GET / 200"], [
        (C, b"GET http://rare.test/x?y HTTP/1.1\r\n" + H + b"\r\n"), (S, OK),
        (C, b"GET HTTP://Rare.Test.:80 HTTP/1.1\r\n" + H + b"\r\n"), (S, OK)]),
    "OPTIONS *": (["OPTIONS * 200"], [(C, b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n"), (S, OK)]),
    "names in their letters and order": (["GET /%zz 200"], [
        (C, b"GET /%zz?\xff\\ HTTP/1.1\r\nzebra: 1\r\nhOsT:rare.test\r\nZEBRA:  2\t\r\nempty:\r\n!#$%&'*+-.^_`|~: \xe4\r\nA: a\r\n\r\n"),
        (S, b"HTTP/1.1 200 O\xe4K\r\nset-cookie: b\r\nSet-Cookie: a\r\nCONTENT-length:2 \r\nServer:\r\n\r\nok")]),
    "blank lines before a request": (["GET /1 200", "GET /2 200"], [
        (C, b"\r\n\r\n" + get("/1")), (S, OK), (C, b"\r\n" + get("/2")), (S, OK)]),
    "a GET and a DELETE with a body": (["GET /1 200", "DELETE /2 200"], [
        (C, get("/1", b"Content-Length: 3\r\n") + b"abc"), (S, OK),
        (C, b"DELETE /2 HTTP/1.1\r\n" + H + b"Content-Length: 003\r\n\r\nGET"), (S, OK)]),
    "a websocket": (["GET /ws 101"], [
        (C, get("/ws", b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n")),
        (S, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"),
        (C, b"\x81\x82abcd" + BINARY), (S, BINARY + b"\r\nHTTP/1.1 500 x\r\n\r\n"), (C, get("/not-told")), (S, OK)]),
    "an upgrade that was not taken": (["GET /ws 200", "GET / 200"], [
        ("each", [(get("/ws", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), OK), (get(), OK)])]),
    "an upgrade, answered before its body": (["POST /1 200", "POST /2 200", "GET /3 200"], [
        (C, b"POST /1 HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n"), (S, OK),
        (C, b"abc"), (C, b"POST /2 HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED), (S, OK),
        (C, b"3\r\nabc\r\n0\r\n\r\n" + get("/3")), (S, OK)]),
    "no body, whatever the length says": (["HEAD /1 200", "GET /2 304", "GET /3 204", "HEAD /4 404", "GET /5 200"], [
        (C, b"HEAD /1 HTTP/1.1\r\n" + H + b"\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (C, get("/2")), (S, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (C, get("/3")), (S, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (C, b"HEAD /4 HTTP/1.1\r\n" + H + b"\r\n"), (S, b"HTTP/1.1 404 x\r\n" + CHUNKED), (C, get("/5")), (S, OK)]),
    "a body until the end": (["GET / 200"], [(C, get()), (S, b"HTTP/1.1 200 OK\r\n\r\n" + BINARY), (S, "shut")]),
    "a body until the end, cut": (["GET / 200"], [(C, get()), (S, b"HTTP/1.1 200 OK\r\n\r\n" + BINARY), (S, "cut")]),
    "a body shorter than its length": (["GET / 200"], [
        (C, get()), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 76801\r\n\r\n" + BINARY), (S, "cut")]),
    "the same with close_notify": (["GET / 200"], [
        (C, get()), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 76801\r\n\r\n" + BINARY), (S, "shut")]),
    "chunks without a last one": (["GET / 200"], [
        (C, get()), (S, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"12c00\r\n" + BINARY + b"\r\n"), (S, "cut")]),
    "a request cut short": ([], [(C, get()[:-2], "unread"), (C, "shut")]),
}


def read_exactly(c, length):
    data = b""
    while len(data) < length:
        got = c.recv(min(65536, length - len(data)))
        if not got:
            raise EOFError("the end after %d of %d bytes: %r" % (len(data), length, data[-60:]))
        data += got
    return data


def expect(c, wanted):
    got = read_exactly(c, len(wanted))
    if got != wanted:
        at = next(i for i in range(len(got)) if got[i] != wanted[i])
        raise ValueError("at %d came %r, not %r" % (at, got[at:at + 40], wanted[at:at + 40]))


def read_end(c):
    """How the peer's bytes end: "shut", "cut" or, beside these, bytes that nobody sent."""
    try:
        more = c.recv(100)
    except (ssl.SSLError, ConnectionResetError):
        return "cut"
    return repr(more) if more else "shut"


def shut(c):
    if isinstance(c, ssl.SSLSocket):
        try:
            c.unwrap()  # sends close_notify; may wait for the peer's
        except (OSError, ssl.SSLError):
            pass
    else:
        c.shutdown(socket.SHUT_WR)


def play(me, c, script):
    for turn, what, *how in script:
        if turn.startswith("each"):
            if me == C:
                c.sendall(b"".join(request for request, _ in what))
                if turn == "each and shut" and not isinstance(c, ssl.SSLSocket):
                    shut(c)
            for request, answer in what:
                if me == C:
                    expect(c, answer)
                else:
                    expect(c, request)
                    c.sendall(answer)
        elif what == "shut" and turn == me:
            return shut(c)
        elif what in ("cut", "leave") and turn == me:
            if isinstance(c, ssl.SSLSocket):
                return os.close(c.detach())
            return c.close()
        elif what in ("shut", "cut", "leave"):
            end = read_end(c)
            if me == S or what == "leave":
                wanted = (end,)
            else:
                wanted = (what if isinstance(c, ssl.SSLSocket) else "shut",)
            if end not in wanted:
                raise ValueError("it ended with %s, not %s" % (end, what))
        elif turn == me:
            try:
                c.sendall(what)
            except OSError:
                if not how:
                    raise
        elif not how:
            expect(c, what)
    if me == S and not any(turn == S and what in ("shut", "cut", "leave") for turn, what, *_ in script):
        end = read_end(c)
        if end.startswith("b"):
            raise ValueError("behind all came %s" % end)


def origin(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in WAYS]
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    for way, listener in zip(WAYS, listeners):
        for name, (_, script) in SCRIPTS.items():
            c, _ = listener.accept()
            c.settimeout(20)
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if way == "tls":
                    c = context.wrap_socket(c, server_side=True)
                play(S, c, script)
            except (OSError, ValueError, EOFError) as error:
                print("the server, %s, %s: %s" % (way, name, error), file=sys.stderr, flush=True)
            c.close()


def client(tls, plain, path):
    context = ssl.create_default_context()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # a cut is to be seen as one
    context.set_alpn_protocols(["http/1.1"])
    ports = []
    for way, port in zip(WAYS, (tls, plain)):
        for name, (_, script) in SCRIPTS.items():
            c = socket.create_connection(("127.0.0.1", int(port)), 20)
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ports.append(c.getsockname()[1])
            try:
                if way == "tls":
                    c = context.wrap_socket(c, server_hostname="localhost", suppress_ragged_eofs=False)
                play(C, c, script)
            except (OSError, ValueError, EOFError) as error:
                print("the client, %s, %s: %s" % (way, name, error), file=sys.stderr, flush=True)
            c.close()
    with open(path, "w") as file:
        json.dump(ports, file)


def check(path, events_path):
    events = [json.loads(line) for line in open(events_path)]
    ports = iter(json.load(open(path)))
    for way in WAYS:
        for name, (wanted, _) in SCRIPTS.items():
            port = next(ports)
            told = [e["process_http"] for e in events
                    if e.get("process_http", {}).get("socket", {}).get("sport") == port]
            lines = ["%s %s %s" % (e["method"], e["path"], e.get("code")) for e in told]
            if lines != wanted or any(e.get("error") for e in told):
                sys.exit("told of %s, %s: %r, not %r; %r" % (way, name, lines[:5], wanted[:5],
                                                             [e.get("error") for e in told][:5]))
    print("ok: %d rarities, by TLS and in the clear" % len(SCRIPTS))


{"origin": origin, "client": client, "check": check}[sys.argv[1]](*sys.argv[2:])
