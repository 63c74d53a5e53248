#!/usr/bin/env python3
"""kernel_sealed: a program that encrypts by itself, TLS 1.2, and asks with a record as long as the last one of a handshake
of TLS 1.3. kernel_sealed.py ADDRESS PORT PATH: a line for each, with the answer's status, or "no answer"."""
import socket
import ssl
import sys

CIPHERS = {"ECDHE-ECDSA-CHACHA20-POLY1305": (37, 53), "ECDHE-ECDSA-AES256-GCM-SHA384": (29, 45)}  # -> how long requests are


def ask(cipher, length):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    head = b"GET %s HTTP/1.0\r\nX:" % sys.argv[3].encode()
    text = head + b"a" * (length - len(head) - 4) + b"\r\n\r\n"
    assert len(text) == length, (len(text), length)
    try:
        with context.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)) as tls:
            tls.sendall(text)
            answer = tls.recv(1000).split(b" ")  # of a connection that was ended it may be nothing
            return answer[1].decode() if len(answer) > 1 else "no answer"
    except OSError:
        return "no answer"


for name, lengths in CIPHERS.items():
    for size in lengths:
        print(size, ask(name, size))
