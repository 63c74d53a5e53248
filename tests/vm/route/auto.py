# A program that asks for URLs as it is told, each by a connection of its own: "on URL" lets the kernel
# encrypt, "off URL" does not; "h2 URL" is the first by HTTP/2. "keep URL" is the first, too, whose connection
# stays, and "again PATH BODY" posts by that one. It answers a line each: the status and whether the kernel
# did, or why not.
import http.client, os, socket, ssl, sys, urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../netns"))
from h2frames import HEADERS, PREFACE, headers, settings
import hpack

OP_ENABLE_KTLS = 1 << 3
TCP_ULP = 31
kept = None


def encrypted(sock):
    return "kernel" if sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16).startswith(b"tls") else "itself"


def exactly(sock, size):
    got = b""
    while len(got) < size:
        more = sock.recv(size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def ask_http2(sock, host, path):
    sock.sendall(PREFACE + settings() + headers(1, (":method", "GET"), (":scheme", "https"), (":authority", host),
                                                (":path", path)))
    while True:
        head = exactly(sock, 9)
        payload = exactly(sock, int.from_bytes(head[:3], "big"))
        if head[3] == HEADERS:
            return dict(hpack.Decoder().decode(payload))[":status"]


def ask(how, url):
    global kept
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options = context.options & ~OP_ENABLE_KTLS if how == "off" else context.options | OP_ENABLE_KTLS
    if how == "h2":
        context.set_alpn_protocols(["h2"])
        with socket.create_connection((parts.hostname, parts.port)) as plain:
            with context.wrap_socket(plain, server_hostname=parts.hostname) as sock:
                return f"{ask_http2(sock, parts.netloc, parts.path)} {encrypted(sock)}"
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
    try:
        connection.request("GET", parts.path)
        how_sent, answer = encrypted(connection.sock), connection.getresponse()
        if how == "keep":
            answer.read()
            kept, connection = connection, None
        return f"{answer.status} {how_sent}"
    finally:
        if connection:
            connection.close()


def ask_again(path, body):
    global kept
    connection, kept = kept, None
    try:
        connection.request("POST", path, body)
        return f"{connection.getresponse().status} {encrypted(connection.sock)}"
    finally:
        connection.close()


print("ready", flush=True)
for line in sys.stdin:
    if line == "ready\n":
        continue
    words = line.split()
    try:
        print(ask_again(*words[1:]) if words[0] == "again" else ask(*words), flush=True)
    except (OSError, EOFError) as error:
        print(type(error).__name__, flush=True)
