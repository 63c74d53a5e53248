"""Origins that do what well-behaved ones do not: odd_server.py CERT KEY. Prints "NAME PORT" lines.

NAME says what the server does to a connection once it has read a request's head; "tls_" ones do
it inside TLS."""
import socket
import ssl
import struct
import sys
import threading

BODY = b"x" * 5_000_000


def head(c):
    data = b""
    while b"\r\n\r\n" not in data:
        more = c.recv(65536)
        if not more:
            break
        data += more
    return data


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def tls_cut_length(c):  # no close_notify: what many servers do
    head(c)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    c.close()


def tls_cut_close(c):
    head(c)
    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
    c.close()


def reset_behind_bytes(c):
    head(c)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
    reset(c)


def early_413(c):
    head(c)
    c.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    c.close()  # with the upload unread: the kernel sends RST


def two_bytes_too_many(c):
    head(c)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\r")
    c.recv(1)
    c.close()


def unasked_answer(c):
    head(c)
    c.sendall(2 * b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    c.recv(1)
    c.close()


def echo_after_end(c):  # half-close: the answer comes when the client has said everything
    data = b""
    while more := c.recv(65536):
        data += more
    c.sendall(data[::-1])
    c.close()


def speaks_first(c):
    c.sendall(b"220 hello\r\n")
    c.sendall(b"you said " + c.recv(100))
    c.close()


def upgrade(c):
    head(c)
    c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    while data := c.recv(100):
        c.sendall(data.upper())
    c.close()


def lenient(c):  # takes any request, whatever its method and blanks, and empty lines before it
    while data := head(c):
        name = data.split()[1]
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name)
    c.close()


def closes(c):
    head(c)
    c.close()


def tls_closes(c):
    closes(c)


def tls_lenient(c):
    lenient(c)


def serve(listener, behave, context):
    def one(connection):
        try:
            if behave.__name__.startswith("tls_"):
                connection = context.wrap_socket(connection, server_side=True)
            behave(connection)
        except OSError:
            pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.set_alpn_protocols(["http/1.1"])
for behave in (tls_cut_length, tls_cut_close, reset_behind_bytes, early_413, two_bytes_too_many,
               unasked_answer, echo_after_end, speaks_first, upgrade, closes, tls_closes,
               lenient, tls_lenient):
    listener = socket.create_server(("127.0.0.1", 0))
    print(behave.__name__, listener.getsockname()[1], flush=True)
    threading.Thread(target=serve, args=(listener, behave, context)).start()
