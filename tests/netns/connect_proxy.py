"""Plain HTTP proxies for CONNECT: connect_proxy.py CERT KEY. Prints "NAME PORT" lines; NAME says what
the proxy, or server, does. To it, six.test is ::1 and other names ending in .test are 127.0.0.1."""
import socket
import ssl
import sys
import threading


def head(c):
    """The head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = c.recv(65536)
        if not more:
            return data, b""
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return head, rest


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def lead(c, request, rest, answer=b"HTTP/1.1 200 Connection established\r\n\r\n", first=b""):
    host, port = request.split()[1].decode().rsplit(":", 1)
    if host.endswith(".test"):
        host = "::1" if host == "six.test" else "127.0.0.1"
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), 20) as s:
        c.sendall(answer + first)
        if rest:
            s.sendall(rest)
        back = threading.Thread(target=pump, args=(s, c))
        back.start()
        pump(c, s)
        back.join()


def proxy(c):
    lead(c, *head(c))


def eager(c):  # its answer and what the server says first come in one piece
    request, rest = head(c)
    lead(c, request, rest, first=b"SSH-2.0-eager\r\n")


def length(c):  # what the answer says of a length means nothing (RFC 9110 section 9.3.6)
    lead(c, *head(c), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


def tls_proxy(c):
    proxy(c)


def asks_password(c):
    request, rest = head(c)
    while b"Proxy-Authorization" not in request:
        c.sendall(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 6\r\n\r\nsecret")
        request, rest = head(c)
    lead(c, request, rest)


def forbids(c):
    head(c)
    c.sendall(b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\nnot there")


def ssh(c):
    c.sendall(b"SSH-2.0-test\r\n")
    c.sendall(b"you are " + c.recv(100))


def echo(c):
    while data := c.recv(65536):
        c.sendall(data)


def serve(listener, behave):
    def one(c):
        try:
            if behave.__name__.startswith("tls_"):
                c = context.wrap_socket(c, server_side=True)
            behave(c)
        except (OSError, IndexError):  # it went away
            pass
        finally:
            c.close()

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
for behave in (proxy, eager, length, tls_proxy, asks_password, forbids, ssh, echo):
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    print(behave.__name__, listener.getsockname()[1], flush=True)
    threading.Thread(target=serve, args=(listener, behave)).start()
