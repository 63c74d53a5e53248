"""A client that lets the kernel encrypt.

ktls.py CA URL...: asks for each by a connection of its own; 12:URL says TLS 1.2, 13:URL what there is.
ktls.py CA golden HOST:PORT: what golden.sh has both routes tell of, on one connection for each version.

A line for each request: its path, the answer's code or what went wrong, the version of TLS, and what the
kernel does: tx, rx."""
import http.client, ssl, sys, urllib.parse

OP_ENABLE_KTLS = 1 << 3
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2

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


def kernel(sock):
    """The kernel tells version and cipher of the keys that it has, and fails where it has none."""
    does = []
    for name, option in ("tx", TLS_TX), ("rx", TLS_RX):
        try:
            does.append(name if sock.getsockopt(SOL_TLS, option, 4) else "-")
        except OSError:
            does.append("-")
    return "/".join(does)


def connect(version, host, port):
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options |= OP_ENABLE_KTLS
    if version == "12":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(host, port, context=context)
    connection.connect()
    return connection


def ask(connection, method, path, body=None, headers={}):
    does = connection.sock.version() + " " + kernel(connection.sock)
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
        connection = connect(version, *sys.argv[3].split(":"))
        for method, path, body, headers in GOLDEN:
            ask(connection, method, path, body, {"X-Tls": version, **headers})
        connection.close()
else:
    for url in sys.argv[2:]:
        version, _, url = url.partition(":")
        parts = urllib.parse.urlsplit(url)
        connection = connect(version, parts.hostname, parts.port)
        ask(connection, "GET", parts.path)
        connection.close()
