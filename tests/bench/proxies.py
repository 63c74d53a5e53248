"""The proxies that tests/bench/run holds side by side: how each is started for the same work.

All get TLS 1.3 from the client, verify the origin's chain and name, resume nothing, write no access log
(sallyport: every event, as JSON, to /dev/null), and have one worker on the CPU they are pinned to. They
speak upstream what the client speaks to them; nginx cannot with HTTP/2: see upstream().
"""
import collections
import os
import shutil
import subprocess

PORT, NAME = 15001, "origin.test"
Origin = collections.namedtuple("Origin", "name own asked")  # who is asked gets the proxy, which asks own or the same
NGINX = Origin("nginx", "203.0.113.10", "203.0.113.20")
NGHTTPD = Origin("nghttpd", "203.0.113.11", "203.0.113.21")
ECHO = Origin("echo", "203.0.113.12", "203.0.113.22")
ORIGINS = [NGINX, NGHTTPD, ECHO]


class Phase(collections.namedtuple("Phase", "path connections kind pooled origin")):
    """The work. `kind`: as load has it; `pooled`: the origin's connections may be shared and kept, else one
    for each of the client's (HTTP/1.1 alone can be told so)."""

    @property
    def http2(self):
        return self.kind not in ("keep", "close")

    @property
    def said(self):
        if self.kind == "messages":
            return "one stream of HTTP/2, the next of 100 bytes when the last is back"
        return f"{self.kind} streams of HTTP/2 each" if self.http2 else self.kind


def nginx_conf(t, name, body, workers=1):
    path = f"{t}/{name}.conf"
    with open(path, "w") as out:
        out.write(f"""user root; daemon off; worker_processes {workers}; pid {t}/{name}.pid;
error_log {t}/{name}.log; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{ access_log off; default_type application/octet-stream; sendfile on; tcp_nodelay on;
  client_body_temp_path {t}/{name}.tmp; proxy_temp_path {t}/{name}.tmp; fastcgi_temp_path {t}/{name}.tmp;
  uwsgi_temp_path {t}/{name}.tmp; scgi_temp_path {t}/{name}.tmp;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
{body}}}
""")
    return ["nginx", "-c", path, "-e", f"{t}/{name}.log"]


def origins(t):
    """The command of each origin, and an address at which it listens when it is up."""
    files = [f"{t}/origin.key", f"{t}/origin.pem"]
    for address in NGHTTPD.own, NGHTTPD.asked:  # it takes one
        yield address, ["nghttpd", "--htdocs", f"{t}/www", "--address", address, "443", *files]
    yield ECHO.own, [f"{t}/echo", "443", *files, ECHO.own, ECHO.asked]
    yield NGINX.own, nginx_conf(t, "origin", f"""
  server {{ listen {NGINX.own}:443 ssl http2 backlog=4096; listen {NGINX.asked}:443 ssl http2 backlog=4096; root {t}/www;
           ssl_certificate {files[1]}; ssl_certificate_key {files[0]}; }}
  server {{ listen {NGINX.own}:81; location / {{ stub_status; }} }}
""")


def upstream(name, phase):
    """What a proxy speaks there when it is asked in HTTP/2. nghttpd and echo know nothing else: that they
    answered proves it. nginx has HTTP/2 as a gRPC proxy alone, for one request at a time."""
    return "HTTP/1.1" if name == "nginx" and phase.origin is NGINX else "HTTP/2"


def nginx(t, phase):
    pool = "keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s;" if phase.pooled else ""
    kind, how = "grpc", "grpc_pass grpcs://origin;"
    if phase.origin is NGINX:
        kind, how = "proxy", f"""proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Connection "{"" if phase.pooled else "close"}"; proxy_max_temp_file_size 0;"""
    return nginx_conf(t, "nginx", f"""
  upstream origin {{ server {phase.origin.own}:443; {pool} }}
  server {{ listen 127.0.0.1:{PORT} ssl {"http2" if phase.http2 else ""} backlog=4096;
           ssl_certificate {t}/leaf.pem; ssl_certificate_key {t}/leaf.key;
    location / {{ {how}
      {kind}_ssl_verify on; {kind}_ssl_trusted_certificate {t}/ca.pem; {kind}_ssl_name {NAME};
      {kind}_ssl_server_name on; {kind}_ssl_session_reuse off; {kind}_ssl_protocols TLSv1.3; }} }}
""")


def haproxy(t, phase):
    alpn = "h2" if phase.http2 else "http/1.1"
    with open(f"{t}/haproxy.cfg", "w") as out:
        out.write(f"""global
    nbthread 1
    maxconn 4000
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    http-reuse {"always" if phase.pooled else "never"}
frontend client
    bind 127.0.0.1:{PORT} backlog 4096 ssl crt {t}/leaf.both alpn {alpn}
    default_backend origin
backend origin
    server origin {phase.origin.own}:443 ssl verify required ca-file {t}/ca.pem sni str({NAME}) verifyhost {NAME} no-ssl-reuse alpn {alpn}
""")
    return ["haproxy", "-db", "-f", f"{t}/haproxy.cfg"]


def nghttpx(t, phase):
    return ["nghttpx", f"--frontend=127.0.0.1,{PORT}",
            f"--backend={phase.origin.own},443;;tls;sni={NAME};proto={'h2' if phase.http2 else 'http/1.1'}", "--workers=1",
            f"--cacert={t}/ca.pem", "--tls-min-proto-version=TLSv1.3", "--accesslog-file=/dev/null",
            f"--errorlog-file={t}/nghttpx.log", "--no-via", "--no-server-rewrite", "--no-ocsp",
            "--frontend-read-timeout=600s", "--frontend-keep-alive-timeout=600s",
            f"{t}/leaf.key", f"{t}/leaf.pem"]


def sallyport_common(t):
    return ["--ca", f"{t}/proxy-ca", "--upstream-ca", f"{t}/ca.pem", "-o", "json", "--events-file", "/dev/null"]


def listen(program, t, workers=1):
    os.makedirs(f"{t}/run", mode=0o700, exist_ok=True)
    return [program, "run", "--listen", f"127.0.0.1:{PORT}", "--runtime-dir", f"{t}/run",
            "--workers", str(workers), "--admin-address", "", *sallyport_common(t)]


def exec_prefix(program, t):
    """In front of the client's command, which it runs."""
    return [program, "exec", "--loopback", "--ports", "443", *sallyport_common(t), "--"]


PEERS = {"haproxy": haproxy, "nginx": nginx, "nghttpx": nghttpx}


def versions():
    """Of the peers that are installed."""
    ask = {"haproxy": ["-v"], "nginx": ["-v"], "nghttpx": ["--version"]}
    found = {}
    for name, args in ask.items():
        if shutil.which(name):
            said = subprocess.run([name, *args], capture_output=True, text=True, check=False)
            found[name] = (said.stdout + said.stderr).splitlines()[0]
    return found
