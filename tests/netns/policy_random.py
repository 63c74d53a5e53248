"""Random policies and requests: each request is explained by the agent, then made, then what was told of
it is compared with what was explained. Runs as a program of the pod.

    policy_random.py RUN-DIR EVENTS TRUSTED.PEM POD ADDRESS COUNT SEED
"""
import json
import os
import random
import socket
import ssl
import sys
import time

run_dir, events_file, trusted, pod, address, count, seed = sys.argv[1:]
rnd = random.Random(int(seed))
context = ssl.create_default_context(cafile=trusted)
BINARY = os.path.realpath("/proc/self/exe")
PATHS = ["/ok", "/ok/a", "/a/b", "/a//b", "/a/./b", "/a/../ok", "/%6fk", "/ok%2fa", "/b"]
METHODS = ["GET", "POST", "DELETE"]
NAMES = ["origin.test", "localhost"]


class Agent:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{run_dir}/control.sock")
        self.lines = self.socket.makefile("rb")

    def ask(self, request, fds=()):
        socket.send_fds(self.socket, [json.dumps(request).encode() + b"\n"], fds)
        return json.loads(self.lines.readline())

    def apply(self, text):
        fd = os.memfd_create("policies")
        os.write(fd, b"random.yaml\0%d\0%s" % (len(text), text))
        answer = self.ask({"verb": "policy.apply"}, [fd])
        os.close(fd)
        for _ in range(answer.get("policies", 0)):
            self.lines.readline()
        if not answer.get("policies") and "nothing is left of this rule" not in answer.get("story", ""):
            raise SystemExit(f"{text.decode()}\n{answer}")
        return answer.get("policies")


def maybe(chance, value):
    return value if rnd.random() < chance else None


def without_none(**fields):
    return {key: value for key, value in fields.items() if value is not None}


def http_rule():
    return without_none(method=maybe(0.7, rnd.choice(["GET", "GET|POST", "P.*", "[^G].*"])),
                        path=maybe(0.7, rnd.choice(["/ok", "/ok.*", "/a/b", "/.*", "/(ok|b)(/a)?"])),
                        host=maybe(0.2, rnd.choice(NAMES + [".*"])),
                        headers=maybe(0.2, [rnd.choice(["x-a: 1", "x-a"])])) or {"method": "GET"}


def to_ports():
    ports = rnd.sample([443, 8443, 80], rnd.randint(1, 3))
    rules = {"http": [http_rule() for _ in range(rnd.randint(1, 3))]}
    return without_none(ports=[{"port": str(port), "protocol": "TCP"} for port in ports],
                        serverNames=maybe(0.15, [rnd.choice(NAMES)]) if 80 not in ports else None,
                        rules=maybe(0.7, rules))


def rule():
    return without_none(toCIDR=maybe(0.8, [rnd.choice([f"{address}/32", "203.0.113.0/24", "198.51.100.0/24"])]),
                        toPorts=maybe(0.9, [to_ports() for _ in range(rnd.randint(1, 2))])) or {"toCIDR": ["0.0.0.0/0"]}


def policy(number):
    spec = without_none(mode=maybe(0.25, "monitor"),
                        matchBinaries=maybe(0.3, [{"operator": rnd.choice(["In", "NotIn"]), "values": [BINARY]}]),
                        egress=maybe(0.7, [rule() for _ in range(rnd.randint(0, 3))]),
                        egressDeny=maybe(0.3, [rule() for _ in range(rnd.randint(1, 2))]))
    if not set(spec) & {"egress", "egressDeny"}:
        spec["egress"] = [rule()]
    return {"apiVersion": "sallyport.io/v1", "kind": "TrafficPolicy",
            "metadata": {"name": f"random-{number}", "namespace": "shop"}, "spec": spec}


def request():
    tls = rnd.random() < 0.7
    return {"tls": tls, "port": rnd.choice([443, 443, 8443] if tls else [80]), "name": maybe(0.5, rnd.choice(NAMES)),
            "method": rnd.choice(METHODS), "path": rnd.choice(PATHS), "header": maybe(0.3, f"x-a: {rnd.randint(1, 2)}")}


def question(what):
    host = what["name"] or address
    return without_none(verb="policy.explain", namespace="shop", pod=pod, binary=BINARY, method=what["method"],
                        url=f"{'https' if what['tls'] else 'http'}://{host}:{what['port']}{what['path']}",
                        address=address, resolved=["nobody.test"], headers=[what["header"]] if what["header"] else None)


def make(what):
    """The port that it was made from; None: the connect was refused."""
    while True:
        connection = socket.socket()
        connection.bind(("0.0.0.0", 0)) # so that it is known whatever becomes of it
        port = connection.getsockname()[1]
        if port not in used: # the kernel may give one again, and events go by it
            break
        connection.close()
    used.add(port)
    connection.settimeout(20)
    try:
        connection.connect((address, what["port"]))
        if what["tls"]:
            connection = context.wrap_socket(connection, server_hostname=what["name"] or address)
        head = f"{what['method']} {what['path']} HTTP/1.1\r\nHost: {what['name'] or address}:{what['port']}\r\n" \
               f"Content-Length: 0\r\nConnection: close\r\n{what['header'] + chr(13) + chr(10) if what['header'] else ''}\r\n"
        connection.sendall(head.encode())
        while connection.recv(65536):
            pass
    except PermissionError:
        return None
    except OSError:
        pass
    connection.close()
    return port


def decided(events):
    """Of one connection: what denies; else what tells, the last of it; else who allows."""
    found = [(event["verdict"], event["point"], event["policy"], event.get("rule"))
             for event in (line.get("process_policy") for line in events) if event]
    found += [(event.get("verdict", "allow"), "http", event.get("policy"), event.get("rule"))
              for event in (line.get("process_http") for line in events) if event]
    order = ["deny", "alert", "allow"]
    return min(reversed(found), key=lambda one: order.index(one[0]), default=None)


def wait_for_events(start, ports):
    """Those of each port, when all have been closed."""
    for _ in range(600):
        with open(events_file, encoding="utf-8") as file:
            file.seek(start)
            told = {port: [] for port in ports}
            closed = set()
            for line in file:
                if not line.endswith("\n"):
                    break
                event = json.loads(line)
                socket_ = next((value.get("socket", {}) for value in event.values() if isinstance(value, dict)), {})
                if socket_.get("sport") in told:
                    told[socket_["sport"]].append(event)
                    if "process_close" in event:
                        closed.add(socket_["sport"])
        if closed == set(ports):
            return told
        time.sleep(0.05)
    raise SystemExit(f"not told: the close of {set(ports) - closed}")


def agrees(explained, happened):
    if happened is None:
        return explained[:2] == ("deny", "connect")
    if happened[0] == "allow" and happened[2] is None: # no policy had a say
        return explained[0] == "allow"
    return explained == happened


agent = Agent()
used = set()
left = int(count)
while left > 0:
    text = "\n---\n".join(json.dumps(policy(number)) for number in range(3)).encode()
    if not agent.apply(text):
        continue # a rule that contradicts another one is a fault
    start = os.stat(events_file).st_size
    cases = []
    for _ in range(min(left, 20)):
        what = request()
        answer = agent.ask(question(what))
        explained = tuple(answer.get(key) for key in ("verdict", "point", "policy", "rule"))
        cases.append((what, explained, answer, make(what)))
    left -= 20
    told = wait_for_events(start, {port for *_, port in cases if port})
    for what, explained, answer, port in cases:
        happened = decided(told[port]) if port else None
        if not agrees(explained, happened):
            print(f"seed {seed}: explained {explained}, happened {happened}", what, *told.get(port, []),
                  *(step["text"] for step in answer["steps"]), text.decode(), sep="\n")
            raise SystemExit(1)
print(f"{count} requests were what they were explained to be")
