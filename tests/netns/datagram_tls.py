#!/usr/bin/env python3
"""A program that says by datagrams what QUIC says first, and its server.

serve LOG ADDRESS PORT...: answers each datagram with its last bytes, and logs them.
say ADDRESS PORT WORD...: each on one socket, and what came of it:
  quic:NAME, quic2:NAME, retry:NAME  a ClientHello for NAME in Initial packets: two datagrams, in pieces,
                    the second half first; version 2; anew, by another connection id and with a token
  junk, unknown     what looks like an Initial; a version that nobody knows
  new               another socket
  TEXT              a datagram with that text in it, again and again until it is answered
The ClientHello is OpenSSL's, of Python's ssl module."""
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import sys
import time

V1, V2 = 1, 0x6b3343cf
SALTS = {V1: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a", V2: "0dede3def700a6db819381be6e269dcbf9bd2ed9"}


def expand(secret, label, size):
    text = b"tls13 " + label.encode()
    info = struct.pack(">HB", size, len(text)) + text + b"\0\1"
    return hmac.digest(secret, info, hashlib.sha256)[:size]


def client_hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h3", "hq"])
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()[5:]  # one record


def initial(version, dcid, number, frames, token=b""):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    client = expand(hmac.digest(bytes.fromhex(SALTS[version]), dcid, hashlib.sha256), "client in", 32)
    prefix = "quicv2 " if version == V2 else "quic "
    key, iv, mask_key = (expand(client, prefix + what, size) for what, size in (("key", 16), ("iv", 12), ("hp", 16)))
    frames = frames.ljust(1162, b"\0")
    header = bytearray(struct.pack(">BIB", 0xc0 | (version == V2) << 4 | 3, version, len(dcid)) + dcid + b"\0")
    header += struct.pack(">H", 0x4000 | len(token)) + token + struct.pack(">H", 0x4000 | (4 + len(frames) + 16))
    at = len(header)
    header += struct.pack(">I", number)
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, bytes(header))
    mask = Cipher(algorithms.AES(mask_key), modes.ECB()).encryptor().update(sealed[:16])
    header[0] ^= mask[0] & 15
    for i in range(4):
        header[at + i] ^= mask[1 + i]
    return bytes(header) + sealed


def crypto(offset, piece):
    return b"\6" + struct.pack(">HH", 0x4000 | offset, 0x4000 | len(piece)) + piece


class Program:
    def __init__(self, address, port):
        self.to = (address, port)
        self.hellos = {}
        self.renew()

    def renew(self):
        self.socket = socket.socket(socket.AF_INET6 if ":" in self.to[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(self.to)

    def send(self, datagram):
        try:
            self.socket.send(datagram)
            return "sent"
        except PermissionError:
            return "EPERM"

    def hello(self, name, version, token=b""):
        if not token:
            self.hellos[name] = client_hello(name)
        hello, dcid = self.hellos[name], os.urandom(8)
        half = len(hello) // 2
        cuts = [half, half + 40, len(hello)]
        late = b"".join(crypto(a, hello[a:b]) + b"\1\0\0" for a, b in zip(cuts, cuts[1:]))
        how = self.send(initial(version, dcid, 0, late, token))
        return how if how != "sent" else self.send(initial(version, dcid, 1, crypto(0, hello[:half]), token))

    def text(self, text):
        datagram = b"\x40" + os.urandom(20) + text.encode()
        for _ in range(500):
            if self.send(datagram) == "EPERM":
                return "EPERM"
            end = time.monotonic() + 0.02
            while select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                if self.socket.recv(2000).endswith(text.encode()):
                    return "answered"
        return "nothing"

    def do(self, word):
        kind, _, name = word.partition(":")
        if kind == "quic":
            return self.hello(name, V1)
        if kind == "quic2":
            return self.hello(name, V2)
        if kind == "retry":
            return self.hello(name, V1, b"a token")
        if kind == "junk":
            return self.send(bytes.fromhex("c00000000108") + os.urandom(8) + b"\0\0\x44\x9e" + os.urandom(1182))
        if kind == "unknown":
            return self.send(bytes.fromhex("c01a2a3a4a08") + os.urandom(8) + b"\0" + os.urandom(1185))
        if kind == "new":
            self.renew()
            return "made"
        return self.text(word)


def serve(log, address, *ports):
    sockets = []
    for port in ports:
        sockets.append(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM))
        sockets[-1].bind((address, int(port)))
    with open(log, "a") as out:
        print("serves", file=out, flush=True)
        while True:
            for s in select.select(sockets, [], [])[0]:
                data, peer = s.recvfrom(2000)
                if data[0] == 0x40:
                    print(data[21:].decode(), file=out, flush=True)
                s.sendto(data[-100:], peer)


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
program = Program(sys.argv[2], int(sys.argv[3]))
for said in sys.argv[4:]:
    print(said, program.do(said), flush=True)
