#!/usr/bin/python3
"""What no client of a distribution does: policy_bodies_client.py PORT WHAT [FILE].

bytes: posts FILE a byte at a time, each in a record of its own. early: the same when the answer has come before the body.
trailer, extension, trailer-h2: FILE beside a short body, a
byte at a time as well where that can be. unasked: asks, and says how many cards come behind the answer.
ws, ws-deflate: sends FILE in a WebSocket's message, in masked fragments; ws-ping, ws-close: in such a frame.
Says how it ended: the status of the answer, or
"reset".
"""
import os
import socket
import ssl
import sys
import zlib

import h2.config
import h2.connection
import h2.events

PORT, WHAT = int(sys.argv[1]), sys.argv[2]
TEXT = open(sys.argv[3], "rb").read() if len(sys.argv) > 3 else b""

raw = socket.create_connection(("127.0.0.1", PORT))
raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
context = ssl.create_default_context()
if WHAT == "trailer-h2":
    context.set_alpn_protocols(["h2"])
tls = context.wrap_socket(
    raw, server_hostname="localhost", suppress_ragged_eofs=False)


def frame(first, payload):
    mask = os.urandom(4)
    return bytes([first, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def ending():
    try:
        got = tls.recv(65536)
    except (ConnectionError, ssl.SSLError):
        return "reset"
    return got.split(b" ")[1].decode() if got.startswith(b"HTTP/") else repr(got)


def post(path):
    tls.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, len(TEXT)))
    if path == b"/early":
        print(ending(), end=" ")
    try:
        for byte in TEXT:
            tls.sendall(bytes([byte]))
    except OSError:
        pass
    print(ending())


def unasked():
    """What comes behind the answer."""
    tls.sendall(b"GET /up?408 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    try:
        while more := tls.recv(65536):
            got += more
    except (ConnectionError, ssl.SSLError):
        pass
    print(got.split(b" ")[1].decode(), got.count(b"41111111"))


def beside():
    before, behind = {"trailer": (b"3\r\nabc\r\n0\r\nX-More: ", b"\r\n\r\n"),
                      "extension": (b'3;x="', b'"' b"\r\nabc\r\n0\r\n\r\n")}[WHAT]
    tls.sendall(b"POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + before)
    try:
        for byte in TEXT:
            tls.sendall(bytes([byte]))
        tls.sendall(behind)
    except OSError:
        pass
    print(ending())


def beside_h2():
    conn = h2.connection.H2Connection(h2.config.H2Configuration())
    conn.initiate_connection()
    conn.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/up")])
    conn.send_data(1, b"abc")
    conn.send_headers(1, [("x-more", TEXT)], end_stream=True)
    tls.sendall(conn.data_to_send())
    while got := tls.recv(65536):
        for event in conn.receive_data(got):
            if isinstance(event, h2.events.ResponseReceived):
                print(dict(event.headers)[b":status"].decode())
                return
            if isinstance(event, h2.events.StreamReset):
                print("reset")
                return


def websocket(deflate):
    extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else b""
    tls.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + extension + b"\r\n")
    print(ending(), end=" ")
    if WHAT in ("ws-ping", "ws-close"):
        tls.sendall(frame(0x89, TEXT) if WHAT == "ws-ping" else frame(0x88, b"\x03\xe8" + TEXT))
        print(ending())
        return
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    for text in b"hello", TEXT:
        message = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH) if deflate else text
        message = message[:-4] if deflate else message
        half = len(message) // 2
        tls.sendall(frame(0x41 if deflate else 0x01, message[:half]))
        tls.sendall(frame(0x80, message[half:]))
        print(ending(), end=" ")
    print()


if WHAT == "bytes":
    post(b"/up")
elif WHAT == "early":
    post(b"/early")
elif WHAT == "unasked":
    unasked()
elif WHAT == "trailer-h2":
    beside_h2()
elif WHAT in ("trailer", "extension"):
    beside()
else:
    websocket(WHAT == "ws-deflate")
