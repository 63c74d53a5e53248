"""client_names: a hostile program that asks for ever new names, and an honest one beside it.

client_names.py PORT COUNT FULL: COUNT TLS handshakes, each for a name of its own, while another thread
asks for /small by one name, again and again. What its agent (our parent) holds in memory is looked at
when FULL names were asked for, and at the end.
"""
import http.client
import os
import socket
import ssl
import sys
import threading

PORT, COUNT, FULL = map(int, sys.argv[1:])
context = ssl.create_default_context()
rss = []
wrong = []
lock = threading.Lock()
names = iter(range(COUNT))
done = threading.Event()


def memory():
    with open(f"/proc/{os.getppid()}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def hostile():
    while True:
        with lock:
            number = next(names, None)
        if number is None:
            return
        if number == FULL:
            rss.append(memory())
        try:
            with socket.create_connection(("127.0.0.1", PORT), timeout=30) as sock:
                context.wrap_socket(sock, server_hostname=f"n{number}.names.test").close()
        except OSError as error:
            wrong.append(f"n{number}: {error}")


def honest():
    served = 0
    while not done.wait(0.02):
        connection = http.client.HTTPSConnection("localhost", PORT, timeout=30, context=context)
        connection.request("GET", "/small")
        answer = connection.getresponse()
        if answer.status != 200 or answer.read() != b"small\n":
            wrong.append(f"honest: {answer.status}")
        connection.close()
        served += 1
    print("honest", served)


threads = [threading.Thread(target=hostile) for _ in range(3)]
beside = threading.Thread(target=honest)
for thread in [beside] + threads:
    thread.start()
for thread in threads:
    thread.join()
done.set()
beside.join()
rss.append(memory())
print("wrong", len(wrong), *wrong[:3])
print("megabytes", rss[-1] - rss[0])
