"""A client that lets the kernel encrypt.

ktls.py CA URL...: asks for each by a connection of its own; 12:URL says TLS 1.2, 13:URL what there is.
ktls.py CA golden HOST:PORT: what golden.sh has both routes tell of, on one connection for each version, and a
request on another one, which goes on with the session of that.

A line for each request: its path, the answer's code or what went wrong, the version of TLS, what the kernel
does: tx, rx, and whether a session goes on."""
import http.client, socket, ssl, sys, urllib.parse

from keys import kernel

OP_ENABLE_KTLS = 1 << 3

GOLDEN = [
    ("GET", "/a", None, {}),
    ("GET", "/a?q=1", None, {"X-Large": "v" * 5000}),
    ("HEAD", "/a", None, {}),
    ("GET", "/empty", None, {"Accept": "text/plain"}),
    ("GET", "/none", None, {}),
    ("GET", "/204", None, {}),
    ("POST", "/post/small", b"x=y", {}),
    ("POST", "/post/large", b"0123456789" * 10000, {}),
    ("PUT", "/put/chunked", (b"one", b"two" * 5000), {}),
    ("GET", "/chunked/a", None, {}),
]


def context_of(version):
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options |= OP_ENABLE_KTLS
    context.set_alpn_protocols(["http/1.1"])
    if version == "12":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def connect(context, host, port, session=None):
    connection = http.client.HTTPSConnection(host, port)
    connection.sock = context.wrap_socket(socket.create_connection((host, port)), server_hostname=host, session=session)
    return connection


def ask(connection, method, path, body=None, headers={}):
    does = connection.sock.version() + " " + kernel(connection.sock) + (" resumed" if connection.sock.session_reused else "")
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        result = answer.status
    except OSError as error:
        result = type(error).__name__
    print(path, result, does, flush=True)


if sys.argv[2] == "golden":
    for version in "12", "13":
        context, session = context_of(version), None
        for requests in GOLDEN, GOLDEN[:1]:
            connection = connect(context, *sys.argv[3].split(":"), session)
            for method, path, body, headers in requests:
                ask(connection, method, path, body, {"X-Tls": version, **headers})
            session = connection.sock.session
            connection.close()
else:
    for url in sys.argv[2:]:
        version, _, url = url.partition(":")
        parts = urllib.parse.urlsplit(url)
        connection = connect(context_of(version), parts.hostname, parts.port)
        ask(connection, "GET", parts.path)
        connection.close()
