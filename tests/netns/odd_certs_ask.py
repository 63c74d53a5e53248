"""Real clients against the origins of odd_certs.py: odd_certs_ask.py DIR CASES >OUTCOMES.

Prints a JSON object a line: case, client, ok, said (what the client had to say about it)."""
import concurrent.futures
import ipaddress
import json
import re
import socket
import ssl
import subprocess
import sys

DIR, CASES = sys.argv[1:3]


def address(host):
    try:
        ipaddress.ip_address(host)
        return host
    except ValueError:
        return None


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
    return done.returncode == 0, done.stdout, done.stderr


def url(case):
    host = case["host"]
    return f"https://{f'[{host}]' if ':' in host else host}:{case['port']}/"


def curl(case):
    given = ["--cert", f"{DIR}/client.pem", "--key", f"{DIR}/client.key"] if case["client"] else []
    resolve = [] if address(case["host"]) else ["--resolve", f"{case['host']}:{case['port']}:127.0.0.1"]
    ok, out, err = run("curl", "-sS", "-m", "20", *resolve, *given, *case["options"].split(), url(case))
    return ok, out.strip() if ok else err.strip()


def openssl(case):
    host, ip = case["host"], address(case["host"])
    check = ["-verify_ip", host, "-noservername"] if ip else ["-verify_hostname", host.rstrip("."), "-servername", host.rstrip(".")]
    given = ["-cert", f"{DIR}/client.pem", "-key", f"{DIR}/client.key"] if case["client"] else []
    to = f"[{host}]" if ip and ":" in ip else ip or "127.0.0.1"
    ok, out, err = run("openssl", "s_client", "-connect", f"{to}:{case['port']}", "-verify_return_error", *check, *given)
    return ok, " ".join(re.findall(r"verify error.*|alert.*|error:.*", err))


def gnutls(case):
    given = ["--certificate", f"{DIR}/client.pem", "--private-key", f"{DIR}/client.key"] if case["client"] else []
    ok, _, err = run("wget", "-nv", "-O", "/dev/null", "-t", "1", "-T", "20", *given, url(case))
    return ok, err.strip()


def python(case):
    ctx = ssl.create_default_context()
    ctx.verify_flags |= ssl.VERIFY_X509_STRICT
    host = case["host"].rstrip(".")
    try:
        if case["client"]:
            ctx.load_cert_chain(f"{DIR}/client.pem", f"{DIR}/client.key")
        with socket.create_connection((address(host) or "127.0.0.1", case["port"]), 20) as plain:
            with ctx.wrap_socket(plain, server_hostname=host) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return tls.recv(100).startswith(b"HTTP/1.1 200"), ""
    except (OSError, ValueError) as e:
        return False, str(e)


def ask(case_and_client):
    case, client = case_and_client
    ok, said = client(case)
    return dict(case=case["name"], client=client.__name__, ok=ok, said=said)


with open(CASES) as lines:
    cases = [c for c in map(json.loads, lines) if c]
# not all at once: each program has a connection of its own
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for outcome in pool.map(ask, [(case, client) for case in cases for client in (curl, openssl, gnutls, python)]):
        print(json.dumps(outcome))
