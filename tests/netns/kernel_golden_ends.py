"""A server that ends its connections as it is asked to, by path, and who asks it: serve ADDRESS PORT | ask ADDRESS PORT |
leave ADDRESS PORT, which does not wait for the whole answer."""
import contextlib
import socket
import struct
import sys
import threading

HEADERS, SETTINGS, ACK = 1, 4, 1
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut"


def exactly(sock, length):
    got = b""
    while len(got) < length:
        piece = sock.recv(length - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def head_of(sock):
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += exactly(sock, 1)
    return got


def close_http2(sock):
    """With nothing unread, nor anything to come: that would be a reset."""
    exactly(sock, len(b"SM\r\n\r\n"))
    sock.sendall(bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
    awaited = {(HEADERS, 0), (SETTINGS, ACK)}
    while awaited:
        frame = exactly(sock, 9)
        exactly(sock, int.from_bytes(frame[:3], "big"))
        awaited.discard((frame[3], frame[4] & ACK if frame[3] == SETTINGS else 0))
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass


def answer(sock):
    with sock, contextlib.suppress(EOFError):
        while True:
            path = head_of(sock).split(b" ")[1]
            if path == b"*":
                close_http2(sock)
                return
            if path == b"/reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if path in (b"/cut", b"/more"):
                sock.sendall(CUT)
            if path == b"/more":
                sock.recv(1)
            if path != b"/fine":
                return
            sock.sendall(FINE)


def serve(address, port):
    with socket.create_server((address, port)) as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def get(sock, path):
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: ends.example\r\n\r\n".encode())


def ask(address, port, paths, wanted):
    with socket.create_connection((address, port), 30) as sock:
        for path in paths:
            get(sock, path)
            if path == "/fine":
                exactly(sock, len(FINE))
        got = b""
        try:
            while piece := sock.recv(4096):
                got += piece
        except ConnectionResetError:
            got = "reset"
        if got != wanted:
            sys.exit(f"{paths}: {got!r}")


def leave(address, port):
    with socket.create_connection((address, port), 30) as sock:
        get(sock, "/more")
        exactly(sock, len(CUT))


what, where, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
if what == "serve":
    serve(where, at)
elif what == "leave":
    leave(where, at)
else:
    ask(where, at, ["/none"], b"")
    ask(where, at, ["/fine", "/none"], b"")
    ask(where, at, ["/reset"], "reset")
    ask(where, at, ["/fine", "/reset"], "reset")
    ask(where, at, ["/cut"], CUT)
