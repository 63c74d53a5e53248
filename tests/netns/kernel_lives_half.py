"""A server that answers one request, closes its side, and writes down what is said to it: kernel_lives_half.py PORT FILE."""
import socket
import sys
import threading


def serve(sock):
    with sock, open(sys.argv[2], "ab", buffering=0) as heard:
        asked = sock.recv(65536)
        if not asked:
            return  # it looked whether we listen
        heard.write(asked)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            heard.write(data)


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
