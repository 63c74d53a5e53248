"""COUNT pods, each a process in a cgroup and a network namespace of its own, with a server there.

pods_many.py CONTROL-SOCKET CGROUPS COUNT: registers them by the agent's control socket, and then does
what it reads line by line: "go" has each fetch http://127.0.0.1/pod-N from its own server, once more than
before; "end" ends them and removes their cgroups. Answers each by a line.
"""
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
control, cgroups, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def bring_up_loopback():
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


def serve(server):
    while True:
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def fetch(number):
    with socket.create_connection(("127.0.0.1", 80), timeout=30) as s:
        s.sendall(f"GET /pod-{number} HTTP/1.1\r\nHost: many.test\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := s.recv(4096):
            answer += part
    return answer.endswith(b"ok")


def live(number, orders, answers):
    with open(f"{cgroups}/pod-{number}/cgroup.procs", "w") as procs:
        procs.write("0")
    if libc.unshare(0x40000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    bring_up_loopback()
    server = socket.create_server(("127.0.0.1", 80))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    os.write(answers, b".")
    while os.read(orders, 1):
        os.write(answers, b"." if fetch(number) else b"!")


class Pod:
    def __init__(self, number, others):
        self.number, self.directory = number, f"{cgroups}/pod-{number}"
        os.mkdir(self.directory)
        its_orders, self.orders = os.pipe()
        self.answers, its_answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for other in [self, *others]:  # else nobody would see the end of his orders
                os.close(other.orders)
            live(number, its_orders, its_answers)
            os._exit(0)
        os.close(its_orders)
        os.close(its_answers)
        self.wait()

    def wait(self):
        if os.read(self.answers, 1) != b".":
            raise SystemExit(f"pod {self.number} failed")

    def register(self, agent, lines):
        request = {"verb": "pods.add", "namespace": "many", "name": f"pod-{self.number}",
                   "labels": {"number": str(self.number)}, "ports": "all", "loopback": True}
        cgroup = os.open(self.directory, os.O_RDONLY)
        netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        socket.send_fds(agent, [json.dumps(request).encode() + b"\n"], [cgroup, netns])
        os.close(cgroup)
        os.close(netns)
        answer = json.loads(lines.readline())
        if not answer.get("ok"):
            raise SystemExit(answer["error"])

    def end(self):
        os.close(self.orders)
        os.waitpid(self.pid, 0)
        os.rmdir(self.directory)


pods = []
for i in range(count):
    pods.append(Pod(i, pods))
with socket.socket(socket.AF_UNIX) as agent:
    agent.connect(control)
    lines = agent.makefile()
    for pod in pods:
        pod.register(agent, lines)
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "go":
        for pod in pods:
            os.write(pod.orders, b".")
        for pod in pods:
            pod.wait()
    elif line.strip() == "end":
        for pod in pods:
            pod.end()
    print(line.strip(), flush=True)
