"""A client that lets the kernel encrypt: ktls.py CA URL... A line for each request: its path, the
answer's code or what went wrong, the version of TLS, and what the kernel does: tx, rx. Each by a
connection of its own; 12:URL says TLS 1.2, 13:URL what there is."""
import http.client, ssl, sys, urllib.parse

OP_ENABLE_KTLS = 1 << 3
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2


def kernel(sock):
    """The kernel tells version and cipher of the keys that it has, and fails where it has none."""
    does = []
    for name, option in ("tx", TLS_TX), ("rx", TLS_RX):
        try:
            does.append(name if sock.getsockopt(SOL_TLS, option, 4) else "-")
        except OSError:
            does.append("-")
    return "/".join(does)


for url in sys.argv[2:]:
    version, _, url = url.partition(":")
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options |= OP_ENABLE_KTLS
    if version == "12":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
    connection.connect()
    does = connection.sock.version() + " " + kernel(connection.sock)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
        result = answer.status
    except OSError as error:
        result = type(error).__name__
    print(parts.path, result, does, flush=True)
    connection.close()
