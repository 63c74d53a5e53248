"""A program that lets the kernel encrypt, TLS 1.3, says one thing and closes its socket at once: closing.py CERT KEY.
That waits to leave then, behind the end of its handshake. Its server is here, too, and the last thing is the server's
to say. A line for each: how, what was asked for, what came of saying it, and whether it came, byte for byte."""
import contextlib, socket, ssl, struct, sys, threading

from keys import kernel

OP_ENABLE_KTLS = 1 << 3
TCP_CORK = 3
PATIENCE = 120  # the guest is slow
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


def context(side):
    made = ssl.SSLContext(side)
    made.options |= OP_ENABLE_KTLS
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


SERVER, CLIENT = context(ssl.PROTOCOL_TLS_SERVER), context(ssl.PROTOCOL_TLS_CLIENT)
SERVER.load_cert_chain(*sys.argv[1:3])
SERVER.num_tickets = 0  # a client that closes with these unread takes back what it said, whoever is there
CLIENT.check_hostname, CLIENT.verify_mode = False, ssl.CERT_NONE


def request(path):
    return b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"


# ---- ways to say the last thing --------------------------------------------------------------------------


def closes(sock, text):
    """It may have to wait, by Nagle's algorithm."""
    sock.sendall(text)


def corked(sock, text):
    sock.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
    sock.sendall(text)


def lingers(sock, text):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, PATIENCE))
    corked(sock, text)


def close_notify(sock, text):
    corked(sock, text)
    sock.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        sock.unwrap()


def say(way, sock, text):
    try:
        way(sock, text)
        return "sent"
    except OSError as error:
        return type(error).__name__
    finally:
        sock.close()


# ---- both ends ------------------------------------------------------------------------------------------


def hear(sock):
    data = b""
    with contextlib.suppress(OSError):
        while more := sock.recv(65536):
            data += more
    return data


def meet(listener, at_server):
    """-> the client's end, and a function that waits for what at_server() makes of the other one."""
    result = []

    def serve():
        accepted = listener.accept()[0]
        accepted.settimeout(PATIENCE)
        with SERVER.wrap_socket(accepted, server_side=True) as sock:
            result.append(at_server(sock))

    thread = threading.Thread(target=serve)
    thread.start()
    sock = CLIENT.wrap_socket(socket.create_connection(listener.getsockname()))
    assert kernel(sock).startswith("tx/"), kernel(sock)

    def wait():
        thread.join()
        return result[0]

    return sock, wait


def answer(sock):
    sock.recv(65536)
    return say(corked, sock, ANSWER)


def came(data, text):
    return "whole" if data == text else "nothing" if not data else repr(data)


with socket.create_server(("127.0.0.1", 0)) as listener:
    for way in closes, corked, lingers, close_notify:
        for path in "/allowed", "/denied":
            client, heard = meet(listener, hear)
            said = say(way, client, request(path))
            print(way.__name__, path, said, came(heard(), request(path)), flush=True)
    client, said = meet(listener, answer)
    client.settimeout(PATIENCE)
    client.sendall(request("/allowed"))
    print("server", "/allowed", said(), came(hear(client), ANSWER), flush=True)
