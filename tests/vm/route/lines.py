"""A client and a server that have the kernel encrypt, and speak another protocol than HTTP: lines, of which the
client says the first, by TLS 1.2, and 1.3.

lines.py CERT KEY: a line for each: the version of TLS, what the kernel does at both ends, and what came back."""
import socket
import ssl
import sys
import threading

from keys import kernel

OP_ENABLE_KTLS = 1 << 3


def context(side):
    made = ssl.SSLContext(side)
    made.options |= OP_ENABLE_KTLS
    return made


def serve(listener, server):
    for _ in range(2):
        with server.wrap_socket(listener.accept()[0], server_side=True) as sock:
            answer = b"250 " + kernel(sock).encode() + b"\n"
            while sock.recv(65536) == b"HELO\n":
                sock.sendall(answer)


server, client = context(ssl.PROTOCOL_TLS_SERVER), context(ssl.PROTOCOL_TLS_CLIENT)
server.load_cert_chain(*sys.argv[1:3])
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
with socket.create_server(("127.0.0.1", 0)) as listener:
    thread = threading.Thread(target=serve, args=(listener, server))
    thread.start()
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        client.maximum_version = version
        with client.wrap_socket(socket.create_connection(listener.getsockname())) as sock:
            for _ in range(3):
                sock.sendall(b"HELO\n")
                said = sock.recv(100).decode().strip()
            print(sock.version(), kernel(sock), said, flush=True)
            sock.sendall(b"QUIT\n")
    thread.join()
