"""WebSockets and gRPC-web over HTTP/1.1 in TLS, said by a client and by a server.

http1_streams.py origin CERT KEY   prints its port
http1_streams.py client PORT       says all of it, a connection each
http1_streams.py check EVENTS      holds what was told against what was said"""
import base64
import json
import socket
import ssl
import struct
import sys
import threading

BIG = bytes(range(256)) * 300
WELCOME = b"welcome"


# ---- frames and messages ----

def frame(opcode, payload, fin=True, mask=b""):
    head = bytes([opcode | (0x80 if fin else 0)])
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + mask + payload


def read_frame(stream):
    """opcode, fin, payload; None at the end."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    size = head[1] & 0x7f
    if size == 126:
        size = struct.unpack("!H", stream.read(2))[0]
    elif size == 127:
        size = struct.unpack("!Q", stream.read(8))[0]
    mask = stream.read(4) if head[1] & 0x80 else bytes(4)
    payload = stream.read(size)
    return head[0] & 0xf, bool(head[0] & 0x80), bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def message(payload, flags=0):
    return struct.pack("!BI", flags, len(payload)) + payload


def chunks(body, sizes):
    out = b""
    while body:
        size = sizes[len(out) % len(sizes)]
        out += b"%x\r\n%s\r\n" % (len(body[:size]), body[:size])
        body = body[size:]
    return out + b"0\r\n\r\n"


# ---- the table: gRPC-web ----

TRAILERS = message(b"grpc-status:5\r\ngrpc-message:no%20such%20cart\r\n", 0x80)
GOOD = message(b"", 0) + message(b"x" * 1000) + message(b"grpc-status: 0\r\n", 0x80)


def answer(kind, body, fields=b"", status=b"200 OK"):
    return (b"HTTP/1.1 %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n%s\r\n" % (status, kind, fields) +
            chunks(body, (1, 3, 7, 50)))


# path, content type, the request's body, the answer, what is told
CALLS = (
    ("/shop.Cart/Add", b"application/grpc-web+proto", message(b"0123456789"), answer(b"application/grpc-web+proto",
     message(b"abc") + message(b"defg") + TRAILERS),
     {"service": "shop.Cart", "method": "Add", "status": 5, "status_name": "NOT_FOUND",
      "status_message": "no such cart", "request_messages": "1", "request_bytes": "10",
      "response_messages": "2", "response_bytes": "7"}),
    ("/shop.Cart/List", b"application/grpc-web-text", base64.b64encode(message(b"a") + message(b"bc")),
     answer(b"application/grpc-web-text", base64.b64encode(GOOD[:7]) + base64.b64encode(GOOD[7:])),
     {"service": "shop.Cart", "method": "List", "status": 0, "status_name": "OK", "request_messages": "2",
      "request_bytes": "3", "response_messages": "2", "response_bytes": "1000"}),
    ("/shop.Cart/Drop", b"application/grpc-web", message(b""), b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web"
     b"\r\nContent-Length: 0\r\ngrpc-status: 7\r\ngrpc-message: not yours\r\n\r\n",
     {"service": "shop.Cart", "method": "Drop", "status": 7, "status_name": "PERMISSION_DENIED",
      "status_message": "not yours", "request_messages": "1", "request_bytes": "0", "response_messages": "0"}),
    ("/", b"application/grpc-web", message(b"abc"), answer(b"text/html", b"<p>down</p>", status=b"502 Bad Gateway"),
     {"method": "/", "request_messages": "1", "response_messages": "0", "response_bytes": "0",
      "error": "the answer is not gRPC: HTTP status 502"}),
    ("/shop.Cart/Cut", b"application/grpc-web", message(b"abc"),
     answer(b"application/grpc-web", message(b"abc") + message(b"defg"))[:-20],
     {"method": "Cut", "request_messages": "1", "response_messages": "1",
      "error": "the upstream's answer was cut short"}),
)


# ---- the origin ----

def read_head(stream):
    lines = []
    while True:
        line = stream.readline()
        if not line:
            return None
        if line == b"\r\n":
            return lines[0].split()[1].decode(), {
                n.lower(): v.strip() for n, v in (line.split(b":", 1) for line in lines[1:])}
        lines.append(line)


def read_body(stream, fields):
    if b"content-length" in fields:
        return stream.read(int(fields[b"content-length"]))
    body = b""
    while True:
        size = int(stream.readline(), 16)
        body += stream.read(size)
        stream.readline()
        if not size:
            return body


def echo(tls, stream, path):
    """Says hello in the same breath as its 101, then sends back whole messages, and pongs."""
    tls.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" + frame(1, WELCOME))
    whole, kind = b"", 1
    while True:
        got = read_frame(stream)
        if not got:
            return
        opcode, fin, payload = got
        if opcode == 8:
            tls.sendall(frame(8, payload))
            return
        if opcode == 9:
            tls.sendall(frame(10, payload))
            continue
        kind = opcode or kind
        whole += payload
        if fin:
            tls.sendall(frame(kind, whole))
            whole = b""


def serve(tls):
    stream = tls.makefile("rb")
    wanted = {path: (body, said) for path, _, body, said, _ in CALLS}
    while True:
        head = read_head(stream)
        if not head:
            return
        path, fields = head
        if path.startswith("/chat"):
            echo(tls, stream, path)
            return
        if path == "/no":
            tls.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            continue
        body, said = wanted[path]
        if read_body(stream, fields) != body:
            print("%s came with another body" % path, file=sys.stderr, flush=True)
        tls.sendall(said)
        if path.endswith("Cut"):
            return


def origin(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def one(plain):
        try:
            with context.wrap_socket(plain, server_side=True) as tls:
                serve(tls)
        except OSError:
            pass  # a client that resets is one of the cases

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


# ---- the client ----

def connect(port):
    return ssl.create_default_context().wrap_socket(socket.create_connection(("127.0.0.1", port)),
                                                    server_hostname="localhost")


def upgrade(port, path):
    tls = connect(port)
    tls.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % path)
    stream = tls.makefile("rb")
    status = stream.readline()
    while stream.readline() != b"\r\n":
        pass
    return tls, stream, status


def expect(wanted, got):
    if got != wanted:
        sys.exit("wanted %.80r, got %.80r" % (wanted, got))


def chat(port):
    tls, stream, _ = upgrade(port, b"/chat?room=1")
    expect((1, True, WELCOME), read_frame(stream))
    tls.sendall(frame(1, b"hello", mask=b"abcd"))
    expect((1, True, b"hello"), read_frame(stream))
    for byte in frame(1, b"ab", fin=False, mask=b"\0\1\2\3") + frame(9, b"?", mask=b"wxyz") + \
            frame(0, b"cd", mask=b"\xff\xfe\xfd\xfc"):
        tls.sendall(bytes([byte]))
    expect((10, True, b"?"), read_frame(stream))
    expect((1, True, b"abcd"), read_frame(stream))
    tls.sendall(frame(2, BIG, mask=b"efgh"))
    expect((2, True, BIG), read_frame(stream))
    tls.sendall(frame(8, struct.pack("!H", 1000) + b"bye", mask=b"ijkl"))
    expect((8, True, struct.pack("!H", 1000) + b"bye"), read_frame(stream))
    tls.close()


def reset(port):
    tls, stream, _ = upgrade(port, b"/chat/reset")
    tls.sendall(frame(1, b"hello", mask=b"abcd"))
    expect((1, True, WELCOME), read_frame(stream))
    expect((1, True, b"hello"), read_frame(stream))
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
    tls.close()


def calls(port):
    tls = connect(port)
    stream = tls.makefile("rb")
    for i, (path, kind, body, said, _) in enumerate(CALLS):
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n" % (path.encode(), kind)
        if i % 2:
            tls.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body, (2,)))
        else:
            tls.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        expect(said, stream.read(len(said)))
    tls.close()


def client(port):
    chat(port)
    reset(port)
    tls, stream, status = upgrade(port, b"/no")
    expect(b"HTTP/1.1 403 Forbidden\r\n", status)
    tls.close()
    calls(port)


# ---- what was told ----

CHAT = {"path": "/chat", "url": "/chat?room=1", "stream": 1, "request_messages": "3", "request_frames": "6",
        "request_bytes": str(9 + len(BIG)), "response_messages": "4", "response_frames": "6",
        "response_bytes": str(9 + len(WELCOME) + len(BIG)), "close_code": 1000, "close_reason": "bye"}
RESET = {"path": "/chat/reset", "request_messages": "1", "request_bytes": "5", "response_messages": "2",
         "response_frames": "2"}


def hold(told, wanted, protocol="HTTP/1.1"):
    name = wanted.get("path") or wanted["method"]
    for key, value in wanted.items():
        if told.get(key) != value:
            sys.exit("%s: %s: wanted %r, told %r" % (name, key, value, told.get(key)))
    for key in ("error", "status", "close_code"):
        if key in told and key not in wanted and not (key == "error" and wanted is RESET):
            sys.exit("%s: %s is told: %r" % (name, key, told[key]))
    if told["host"] != "localhost" or told["protocol"] != protocol or int(told["duration_ns"]) <= 0:
        sys.exit("%s: %r" % (name, told))


def check(path):
    lines = [json.loads(line) for line in open(path)]
    kinds = {}
    for line in lines:
        for kind in line.keys() & {"process_http", "process_grpc", "process_websocket"}:
            kinds.setdefault(kind, []).append(line[kind])
    sockets = kinds["process_websocket"]
    if len(sockets) != 2 or len(kinds["process_grpc"]) != len(CALLS):
        sys.exit("%d WebSockets and %d calls are told" % (len(sockets), len(kinds["process_grpc"])))
    hold(sockets[0], CHAT)
    hold(sockets[1], RESET)
    if "Connection reset" not in sockets[1].get("error", ""):
        sys.exit("no reset is told: %r" % sockets[1].get("error"))
    for told, call in zip(kinds["process_grpc"], CALLS):
        hold(told, call[-1])
    codes = [event["code"] for event in kinds["process_http"]]
    if codes != [101, 101, 403, 200, 200, 200, 502, 200]:
        sys.exit("the answers are told as %r" % codes)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        origin(*sys.argv[2:])
    elif sys.argv[1] == "client":
        client(int(sys.argv[2]))
    else:
        check(*sys.argv[2:])
