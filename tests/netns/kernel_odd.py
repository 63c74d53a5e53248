"""Says what is no request, or none yet, to a server of its own, a connection each, and a line of it: its
name, its port, whether all came both ways, and how much that was. What hangs ends by a time-out.
kernel_odd.py [CERT KEY]: with a certificate and its key the kernel encrypts it, at both ends."""
import os, socket, struct, sys, threading

from kernel_ends import answers, asks

socket.setdefaulttimeout(60 * int(os.environ.get("SALLYPORT_SLOW", "1")))
SEALED = sys.argv[1:]

GET = b"GET /%d HTTP/1.1\r\nHost: odd.example\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BINARY = bytes(range(256)) * 4000
ODD = {  # what is said, what is answered, in pieces of how many bytes
    "nothing": (b"", b"", 1),
    "lines": (b"HELO odd.example\nQUIT\n" * 100, b"250 odd\n" * 100, 7),
    "binary": (BINARY, BINARY[::-1], 20000),
    "zeros": (bytes(100000), bytes(100000), 3000),
    "one line": (b"G" * 1000000, b"H" * 1000000, 65536),
    "blank lines": (b"\r\n" * 50000, b"\r\n" * 50000, 4096),
    "no end": (b"GET /no-end HTTP/1.1\r\nHost: odd.example\r\n" + b"x: y\r\n" * 300000, b"", 50000),
    "no end answered": (GET % 9, b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300000, 50000),
    "a method, byte by byte": (b"FOO /m HTTP/1.1\r\nHost: odd.example\r\n\r\n" + GET % 7 * 2, FINE * 3, 1),
    "half a method": (b"GE", b"", 2),
    "half a head": (b"GET /half HTTP/1.1\r\nHos", b"", 5),
    "half, and gone": (b"GET /gone HTTP/1.1\r\nHos", b"", 5),
    "byte by byte": (b"".join(GET % i for i in range(3)), FINE * 3, 1),
    "a method": (b"FOO /m HTTP/1.1\r\nHost: odd.example\r\n\r\n" + GET % 7 * 2, FINE * 3, len(GET % 7)),
    "two hosts": (b"GET /2 HTTP/1.1\r\nHost: odd.example\r\nHost: b\r\n\r\n" + GET % 7 * 2, FINE * 3, 9),
    "a bare line feed": (b"GET /3 HTTP/1.1\nHost: odd.example\n\n" + GET % 7 * 2, FINE * 3, 5),
    "two blanks": (b"GET /4  HTTP/1.1\r\nHost: odd.example\r\n\r\n" + GET % 7 * 2, FINE * 3, 11),
    "fields": (b"GET /5 HTTP/1.1\r\nHost: odd.example\r\n" + b"x: y\r\n" * 256 + b"\r\n" + GET % 7 * 2, FINE * 3, 300),
    "behind the last": (b"GET /6 HTTP/1.1\r\nx: " + b"y" * 200000 + b"\r\nHost: odd.example\r\nConnection: close\r\n\r\nX", FINE, 50000),
    "more than was said": (b"PUT /4 HTTP/1.1\r\nHost: odd.example\r\nContent-Length: 1\r\n\r\n" + b"?" * 10000, FINE, 9),
    "HTTP/2, and rubbish": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BINARY, BINARY, 10000),
}


def say(sock, text, piece):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(text), piece):
        sock.sendall(text[at:at + piece])


def hear(sock, most=1 << 30):
    heard = b""
    while len(heard) < most and (piece := sock.recv(min(65536, most - len(heard)))):
        heard += piece
    return heard


def serve(listener, text, answer, piece, heard):
    sock, _ = listener.accept()
    with answers(sock, *SEALED) if SEALED else sock as sock:
        heard.append(hear(sock, len(text)))
        say(sock, answer, piece)
        sock.shutdown(socket.SHUT_WR)
        try:
            heard[0] += hear(sock)
        except ConnectionResetError:
            heard.append("reset")


for name, (text, answer, piece) in ODD.items():
    heard, gone = [], name.endswith("gone")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, text, answer, piece, heard))
        server.start()
        sock = socket.create_connection(listener.getsockname())
        with asks(sock) if SEALED else sock as sock:
            say(sock, text, piece)
            back = hear(sock)
            if gone:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.join()
        came = heard == [text, "reset"] if gone else heard == [text] and back == answer
        print(name, listener.getsockname()[1], "came" if came else "did not come", len(text), len(answer), sep="\t")
