"""Both ends of a connection that the kernel encrypts and decrypts, TLS 1.2, for what OpenSSL 3.0 leaves to it of
later ones is sending alone. Who asks goes on by OpenSSL, a record at a time; who answers by the socket itself."""
import socket
import ssl

OP_ENABLE_KTLS = 1 << 3
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2


def context(side):
    made = ssl.SSLContext(side)
    made.options |= OP_ENABLE_KTLS
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


def has_keys(sock):
    """An OSError where the kernel has none."""
    for option in TLS_TX, TLS_RX:
        sock.getsockopt(SOL_TLS, option, 4)
    return sock


def asks(sock):
    client = context(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return has_keys(client.wrap_socket(sock))


def answers(sock, certificate, key):
    server = context(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    patience = sock.gettimeout()
    sock = socket.socket(fileno=server.wrap_socket(sock, server_side=True).detach())
    sock.settimeout(patience)
    return has_keys(sock)
