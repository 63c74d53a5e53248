"""What two readers could understand differently, said over TLS by a client and by a server.

http1_strict.py origin CERT KEY DIR   prints its port; writes what each connection brought to DIR/NUMBER
http1_strict.py client PORT FILE      says all of it, one connection each; notes what came back in FILE
http1_strict.py check DIR FILE EVENTS holds what both saw, and what was told, against this table"""
import glob
import json
import socket
import ssl
import sys
import threading

POST = b"POST /refused HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HUGE = b"0" * 16 + b"2\r\nab\r\n0\r\n\r\n"

# name, the fields, body and all, reason
BOTH = (
    ("length and chunks", b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
     "Content-Length with Transfer-Encoding"),
    ("chunks and length", CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n", "Content-Length with Transfer-Encoding"),
    ("two lengths", b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "two Content-Length fields"),
    ("the same length twice", b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nabcde", "two Content-Length fields"),
    ("+5", b"Content-Length: +5\r\n\r\nabcde", "an invalid Content-Length"),
    ("-5", b"Content-Length: -5\r\n\r\nabcde", "an invalid Content-Length"),
    ("a list of lengths", b"Content-Length: 5, 5\r\n\r\nabcde", "an invalid Content-Length"),
    ("a length in hex", b"Content-Length: 0x5\r\n\r\nabcde", "an invalid Content-Length"),
    ("a bare LF", b"X: a\nY: b\r\n\r\n", "an LF without its CR"),
    ("a bare CR", b"X: a\rY: b\r\n\r\n", "a CR without its LF"),
    ("a folded field", b"X: a\r\n b\r\n\r\n", "a folded field"),
    ("a length, folded", b"Content-Length:\r\n 5\r\n\r\nabcde", "a folded field"),
    ("NUL in a value", b"X: a\0b\r\n\r\n", "a control byte"),
    ("NUL in a name", b"X\0: a\r\n\r\n", "a control byte"),
    ("a blank before the colon", b"Content-Length : 5\r\n\r\nabcde", "a blank in a field name"),
    ("a tab before the colon", b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "a blank in a field name"),
    ("no colon", b"X\r\n\r\n", "a field without a colon"),
) + tuple(("coding %s" % coding, b"Transfer-Encoding: " + coding.encode() + b"\r\n\r\n0\r\n\r\n",
           "a Transfer-Encoding other than chunked")
          for coding in ("gzip, chunked", "chunked, gzip", "chunked,", ",chunked", "chunked;a=b", "xchunked", "identity",
                         "chunked chunked", '"chunked"')) + (
    ("two codings", CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", "two Transfer-Encoding fields"),
    ("more than 1 MB", b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", "a head over its limit"),
    ("more than 256 fields", b"X: y\r\n" * 257 + b"\r\n", "too many fields"),
)
# the same behind "Transfer-Encoding: chunked": the body
CHUNKS = (
    ("an LF in an extension", b"2;a\nb\r\nab\r\n0\r\n\r\n", "an LF without its CR"),
    ("a CR in an extension", b"2;a\rb\r\nab\r\n0\r\n\r\n", "a CR without its LF"),
    ("an LF for a chunk's line end", b"2\nab\r\n0\r\n\r\n", "an LF without its CR"),
    ("17 digits of chunk size", HUGE, "an overlong chunk size"),
    ("a chunk size of 2^64 and 2", b"1" + HUGE, "an overlong chunk size"),
    ("a negative chunk size for some", b"8000000000000000\r\nab\r\n", "an overlong chunk size"),
    ("a signed chunk size", b"+2\r\nab\r\n0\r\n\r\n", "an invalid chunk size"),
    ("0x2", b"0x2\r\nab\r\n0\r\n\r\n", "an invalid chunk size"),
    ("a blank behind the size", b"2 \r\nab\r\n0\r\n\r\n", "an invalid chunk size"),
    ("a longer chunk than it says", b"2\r\nabc\r\n0\r\n\r\n", "a chunk of another length than it says"),
    ("an LF behind a chunk", b"2\r\nab\n0\r\n\r\n", "a chunk of another length than it says"),
    ("a length in the trailer", b"0\r\nContent-Length: 5\r\n\r\n", "a framing field in a trailer"),
    ("a folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", "a folded field"),
)
# name, all of it, reason
REQUESTS = tuple((name, POST + rest, reason) for name, rest, reason in BOTH) + (
    ("HTTP/1.0 with chunks", b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
    ("two Hosts", POST + b"Host: other\r\n\r\n", "two Host fields"),
    ("the same Host twice", POST + b"host: localhost\r\n\r\n", "two Host fields"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", "no Host"),
    ("no Host beside an absolute target", b"GET http://localhost/ HTTP/1.1\r\n\r\n", "no Host"),
    ("a Host other than the target's", b"GET http://localhost/ HTTP/1.1\r\nHost: other\r\n\r\n",
     "a Host other than the target's"),
    ("a list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "an invalid Host"),
    ("a request line that ends in LF", b"GET / HTTP/1.1\nHost: localhost\n\n", "an LF without its CR"),
    ("a NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", "a control byte"),
    ("two blanks", b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a blank too many in the request line"),
    ("a blank before the first field", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
     "a blank before the first field"),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", "an HTTP version other than 1.0 and 1.1"),
)
OK = b"HTTP/1.1 200 Fine\r\n"
ANSWERS = tuple((name, OK + rest, reason) for name, rest, reason in BOTH) + (
    ("HTTP/1.0 with chunks", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
    ("a status line that ends in LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "an LF without its CR"),
    ("a NUL in the reason phrase", b"HTTP/1.1 200 O\0\r\n\r\n", "a control byte"),
    ("a code of four digits", b"HTTP/1.1 2000 OK\r\n\r\n", "a malformed status code"),
    ("HTTP/2 in letters", b"HTTP/2 200\r\n\r\n", "an HTTP version other than 1.0 and 1.1"),
    ("no HTTP at all", b"hello\r\n\r\n", "a protocol other than HTTP"),
    ("101 unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
     "101 to a request that did not ask to leave HTTP"),
    ("an interim answer with two lengths", b"HTTP/1.1 103 Hints\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
     "two Content-Length fields"),
)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# what has come of the answer when a request's body turns out to be bad
LATE = (("late", "a part of an answer until the end", OK + b"\r\nhalf"),
        ("late", "a part of an answer in chunks", OK + CHUNKED + b"\r\n2\r\nok\r\n"),
        ("late, whole", "an answer", GOOD))


def ask(path):
    return b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()


def cases():
    """kind, name, what the client sends, what the server must see, what it answers to the last, where that may go
    on to, reason"""
    for name, bad, reason in REQUESTS:
        yield "refused", name, bad, b"", None, None, reason
        yield "refused", name + ", second", ask("ok") + bad, ask("ok"), None, GOOD, reason
    for name, chunks, reason in CHUNKS:
        head = POST + CHUNKED + b"\r\n"
        yield "refused", name, head + chunks, b"", None, None, reason
        yield "refused", name + ", second", ask("ok") + head + chunks, ask("ok") + head, None, GOOD, reason
    for name, bad, reason in ANSWERS:
        yield "502", name, ask("bad"), ask("bad"), bad, None, reason
        yield "502", name + ", second", ask("ok") + ask("bad"), ask("ok") + ask("bad"), bad, GOOD, reason
    for name, chunks, reason in CHUNKS:
        head = OK + CHUNKED + b"\r\n"
        yield "cut", name, ask("bad"), ask("bad"), head + chunks, head, reason
        yield "cut", name + ", second", ask("ok") + ask("bad"), ask("ok") + ask("bad"), head + chunks, GOOD + head, reason
    for kind, name, answer in LATE:
        head = b"GET /bad HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"\r\n"
        yield kind, "refused behind " + name, head + b"2\r\nabc\r\n", head, answer, answer, \
            "a chunk of another length than it says"


CASES = list(cases())


def origin(cert, key, directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def one(number, answer, connection):
        data, done = b"", 0
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(connection, server_side=True) as c:
                while more := c.recv(65536):
                    data += more
                    while data[done:].startswith(b"GET ") and (end := data.find(b"\r\n\r\n", done)) > 0:
                        last = data[done:].startswith(b"GET /bad")
                        done = end + 4
                        c.sendall(answer if last else GOOD)
        except OSError:
            pass
        with open("%s/%d" % (directory, number), "wb") as file:
            file.write(data)

    for number, case in enumerate(CASES):  # the client's connections come in this order
        threading.Thread(target=one, args=(number, case[4], listener.accept()[0])).start()


def client(port, path):
    context = ssl.create_default_context()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # a cut is to be seen as one
    context.set_alpn_protocols(["http/1.1"])
    with open(path, "w") as file:
        for kind, name, sent, _, _, passes, _ in CASES:
            s = socket.create_connection(("127.0.0.1", int(port)), 20)
            c = context.wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)
            data, end = b"", "well"
            source = c.getsockname()[1]
            if kind.startswith("late"):
                head = sent.index(b"\r\n\r\n") + 4
                c.sendall(sent[:head])
                while len(data) < len(passes):
                    data += c.recv(65536)
                sent = sent[head:]
            c.sendall(sent)
            try:
                while more := c.recv(65536):
                    data += more
            except (ssl.SSLError, ConnectionResetError):
                end = "cut"
            c.close()
            file.write(json.dumps([source, data.decode("latin-1"), end]) + "\n")


def check(directory, path, events_path):
    events = [json.loads(line) for line in open(events_path)]
    seen = [json.loads(line) for line in open(path)]
    assert len(seen) == len(CASES) and len(glob.glob(directory + "/*")) == len(CASES)
    for number, (kind, name, _, reaches, _, passes, reason) in enumerate(CASES):
        source, got, end = seen[number]
        got = got.encode("latin-1")
        told = [e["process_http"] for e in events if e.get("process_http", {}).get("socket", {}).get("sport") == source]
        close, = [e["process_close"] for e in events if e.get("process_close", {}).get("socket", {}).get("sport") == source]
        said, code = reason, b"400 Bad Request"
        if kind.startswith("late"):
            said = "the request was refused: " + reason
        elif kind != "refused":
            said, code = "the upstream's answer was refused: " + reason, b"502 Bad Gateway"
        text = b"sallyport: %s\n" % said.encode()
        answer = (b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                  % (code, len(text), text))
        want = passes or b""
        wanted = [(200, "allow", None)] if ", second" in name else []
        if kind == "cut" or kind.startswith("late"):
            wanted.append((200, "allow", None))
        else:
            want += answer
            wanted.append((int(code[:3]), "deny", said))
        with open("%s/%d" % (directory, number), "rb") as file:
            brought = file.read()
        for what, wants, has in (
                ("the client saw", want, got), ("the end was", "cut" if kind in ("cut", "late") else "well", end),
                ("the server saw", reaches, brought),
                ("told was", wanted, [(e["code"], e["verdict"], e.get("error")) for e in told]),
                ("the close says", said if kind != "refused" else None, close.get("error"))):
            if wants != has:
                sys.exit("%s (%s): %s %.300r, not %.300r" % (name, kind, what, has, wants))
    print("ok: %d ways to be understood differently" % len(CASES))


{"origin": origin, "client": client, "check": check}[sys.argv[1]](*sys.argv[2:])
