"""Servers that speak in the clear first, or turn to TLS on request: first_words.py CERT KEY.

Prints "NAME PORT" lines; NAME is what openssl s_client -starttls calls the protocol. Each says what its
RFC wants said up to its client's ClientHello, then "inside" within TLS; "plain_" ones have no TLS today
and go on in the clear."""
import socket
import ssl
import sys
import threading

MYSQL_GREETING = (b"\x0a8.0.36\0" + b"\1\0\0\0" + b"saltsalt\0" + b"\xff\xff" + b"\x2d\2\0\xff\xdf\x15" + bytes(10) +
                  b"saltsaltsalt\0" + b"mysql_native_password\0")
LDAP_OID = b"1.3.6.1.4.1.1466.20037"

# (what the client must have said, or nothing; what it is answered), in turn
LINES = {
    "smtp": [(b"", b"220 mx.test ESMTP\r\n"), (b"EHLO", b"250-mx.test\r\n250 STARTTLS\r\n"),
             (b"STARTTLS", b"220 go ahead\r\n")],
    "lmtp": [(b"", b"220 mx.test LMTP\r\n"), (b"LHLO", b"250-mx.test\r\n250 STARTTLS\r\n"),
             (b"STARTTLS", b"220 go ahead\r\n")],
    "imap": [(b"", b"* OK ready\r\n"), (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n"),
             (b"STARTTLS", b". OK begin\r\n")],
    "pop3": [(b"", b"+OK ready\r\n"), (b"STLS", b"+OK begin\r\n")],
    "ftp": [(b"", b"220 ready\r\n"), (b"AUTH TLS", b"234 AUTH TLS\r\n")],
    "nntp": [(b"", b"200 ready\r\n"), (b"CAPABILITIES", b"101 list\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
             (b"STARTTLS", b"382 go\r\n")],
    "sieve": [(b"", b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK\r\n'), (b"STARTTLS", b"OK\r\n")],
    "xmpp": [(b"<stream:stream", b"<?xml version='1.0'?><stream:stream id='x'><stream:features><starttls "
              b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"),
             (b"<starttls", b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")],
    "ldap": [(LDAP_OID, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")],
    "postgres": [(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S")],
    "mysql": [(b"", len(MYSQL_GREETING).to_bytes(3, "little") + b"\0" + MYSQL_GREETING)],
    "plain_smtp": [(b"", b"220 mx.test ESMTP\r\n"), (b"STARTTLS", b"454 not today\r\n"), (b"QUIT", b"221 bye\r\n")],
    "plain_postgres": [(b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"), (b"user", b"R\0\0\0\x08\0\0\0\0")],
}


def talk(c, lines):
    for wanted, answer in lines:
        said = b""
        while wanted not in said:
            more = c.recv(4096)
            if not more:
                return
            said += more
        c.sendall(answer)


def serve(listener, name, context):
    def one(c):
        try:
            talk(c, LINES[name])
            if name == "mysql":  # its SSLRequest is not answered
                said = b""
                while len(said) < 36:
                    said += c.recv(36 - len(said))
                assert said[:4] == b"\x20\0\0\1" and said[5] & 0x08
            if not name.startswith("plain_"):
                c = context.wrap_socket(c, server_side=True)
                c.sendall(b"inside\n")
                c.unwrap()
        except OSError:
            pass
        c.close()

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
for name in LINES:
    listener = socket.create_server(("127.0.0.1", 0))
    print(name, listener.getsockname()[1], flush=True)
    threading.Thread(target=serve, args=(listener, name, context)).start()
