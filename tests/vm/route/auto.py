# A program that asks for URLs as it is told, each by a connection of its own: "on URL" lets the kernel
# encrypt, "off URL" does not. It answers a line each: the status and whether the kernel did, or why not.
import http.client, socket, ssl, sys, urllib.parse

OP_ENABLE_KTLS = 1 << 3
TCP_ULP = 31

print("ready", flush=True)
for line in sys.stdin:
    if line == "ready\n":
        continue
    how, url = line.split()
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options = context.options | OP_ENABLE_KTLS if how == "on" else context.options & ~OP_ENABLE_KTLS
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
    try:
        connection.request("GET", parts.path)
        upper = connection.sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16)
        print(connection.getresponse().status, "kernel" if upper.startswith(b"tls") else "itself", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
    connection.close()
