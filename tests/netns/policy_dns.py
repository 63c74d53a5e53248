#!/usr/bin/env python3
"""The odd ends of policy_dns.sh.

sink ADDRESS            reads datagrams and connections at port 53, and says in hexadecimal what came
dot ADDRESS CERT KEY    passes connections to port 853, without their TLS, on to its port 53
resolve NAME            what this program is told by its resolver
say SERVER HEX...       each as a datagram to SERVER's port 53, then as bytes of one connection each;
                        and what came back
"""
import contextlib
import socket
import ssl
import sys
import threading

PATIENCE = 0.3  # seconds; servers here are as near as the next namespace


def sink(address):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 53))
    listener = socket.create_server((address, 53))

    def connections():
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if data := connection.recv(65536):
                    print("TCP", data.hex(), flush=True)

    threading.Thread(target=connections, daemon=True).start()
    while True:
        print("UDP", datagrams.recv(65536).hex(), flush=True)


def dot(address, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server((address, 853))

    def serve(connection):
        try:
            program = context.wrap_socket(connection, server_side=True)
        except OSError:
            return  # who looked whether we listen
        with program, socket.create_connection((address, 53)) as server:
            while question := program.recv(65536):
                server.sendall(question)
                program.sendall(server.recv(65536))

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def heard(speaker):
    try:
        answer = speaker.recv(65536)
        return f"rcode {answer[3] & 15}" if answer else "end"
    except socket.timeout:
        return "nothing"
    except OSError as error:
        return error.strerror


def say(server, messages):
    for message in map(bytes.fromhex, messages):
        for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
            with socket.socket(socket.AF_INET, kind) as speaker:
                speaker.settimeout(PATIENCE)
                speaker.connect((server, 53))
                length = len(message).to_bytes(2, "big") if kind == socket.SOCK_STREAM else b""
                speaker.send(length + message)
                print("TCP" if length else "UDP", heard(speaker))


def resolve(name):
    try:
        print(socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        print(error.strerror)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    {"sink": sink, "dot": dot, "resolve": resolve, "say": lambda server, *hexes: say(server, hexes)}[what](*rest)
