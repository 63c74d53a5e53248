"""The proxies that tests/bench/run holds side by side: how each is started for the same work.

All get TLS 1.3 and HTTP/1.1 from the client, verify the origin's chain and name, resume nothing, write
no access log (sallyport: every event, as JSON, to /dev/null), and have one worker on the CPU they are
pinned to. `pooled`: the origin's connections may be shared and kept; else one for each of the client's.
"""
import os
import shutil
import subprocess

ORIGIN, ASKED, PORT, NAME = "203.0.113.10", "203.0.113.20", 15001, "origin.test"


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


def origin(t):
    return nginx_conf(t, "origin", f"""
  server {{ listen {ORIGIN}:443 ssl backlog=4096; listen {ASKED}:443 ssl backlog=4096; root {t}/www;
           ssl_certificate {t}/origin.pem; ssl_certificate_key {t}/origin.key; }}
  server {{ listen {ORIGIN}:81; location / {{ stub_status; }} }}
""")


def nginx(t, pooled):
    pool = "keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s;" if pooled else ""
    return nginx_conf(t, "nginx", f"""
  upstream origin {{ server {ORIGIN}:443; {pool} }}
  server {{ listen 127.0.0.1:{PORT} ssl backlog=4096;
           ssl_certificate {t}/leaf.pem; ssl_certificate_key {t}/leaf.key;
    location / {{ proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Connection "{"" if pooled else "close"}"; proxy_max_temp_file_size 0;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {t}/ca.pem; proxy_ssl_name {NAME};
      proxy_ssl_server_name on; proxy_ssl_session_reuse off; proxy_ssl_protocols TLSv1.3; }} }}
""")


def haproxy(t, pooled):
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
    http-reuse {"always" if pooled else "never"}
frontend client
    bind 127.0.0.1:{PORT} backlog 4096 ssl crt {t}/leaf.both alpn http/1.1
    default_backend origin
backend origin
    server origin {ORIGIN}:443 ssl verify required ca-file {t}/ca.pem sni str({NAME}) verifyhost {NAME} no-ssl-reuse alpn http/1.1
""")
    return ["haproxy", "-db", "-f", f"{t}/haproxy.cfg"]


def nghttpx(t, _pooled):
    return ["nghttpx", f"--frontend=127.0.0.1,{PORT}",
            f"--backend={ORIGIN},443;;tls;sni={NAME};proto=http/1.1", "--workers=1",
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
