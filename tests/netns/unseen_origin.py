"""unseen_origin: a server that writes down whatever reaches it, and speaks what is wanted of it.

unseen_origin.py CERT KEY CA LOG PORT GREETS DEMANDS: at PORT in the clear or by TLS, whichever comes; at GREETS it
speaks first; at DEMANDS TLS, with a certificate of the client demanded (1.2, where that shows in the handshake).
"""
import socket
import ssl
import sys
import threading

CERT, KEY, CA, LOG = sys.argv[1:5]


def context(demands):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERT, KEY)
    made.set_alpn_protocols(["x-foo", "postgresql", "http/1.1"])
    if demands:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(CA)
    return made


def note(data):
    with open(LOG, "ab") as log:
        log.write(data)


def serve(conn, greets, demands):
    try:
        if greets:
            conn.sendall(b"220 hello\r\n")
        elif conn.recv(1, socket.MSG_PEEK) == b"\x16":
            conn = context(demands).wrap_socket(conn, server_side=True)
        while data := conn.recv(65536):
            note(data)
            if b"Upgrade:" in data:
                conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n")
            elif data.startswith(b"GET"):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                conn.sendall(b"got it\n")
    except OSError:
        pass
    finally:
        conn.close()


def listen(port, greets, demands):
    server = socket.create_server(("127.0.0.1", port))
    while True:
        conn, _ = server.accept()
        threading.Thread(target=serve, args=(conn, greets, demands), daemon=True).start()


threads = [threading.Thread(target=listen, args=(int(port), i == 1, i == 2)) for i, port in enumerate(sys.argv[5:8])]
for thread in threads:
    thread.start()
