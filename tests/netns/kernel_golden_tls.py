"""A client that goes on with its TLS sessions. kernel_golden_tls.py HOST NAME PORT...: by each port two
connections of TLS 1.2, and two of 1.3, the second of which offers the session of the first; a line for each:
version, protocol, whether it was resumed."""
import socket, ssl, sys

host, name = sys.argv[1:3]
for port in sys.argv[3:]:
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["http/1.1"])
        session = None
        for _ in range(2):
            with context.wrap_socket(socket.create_connection((host, port)), server_hostname=name, session=session) as tls:
                tls.sendall(b"GET /a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode())
                while tls.recv(65536):
                    pass
                session = tls.session
                print(tls.version(), tls.selected_alpn_protocol(), "resumed" if tls.session_reused else "new", flush=True)
