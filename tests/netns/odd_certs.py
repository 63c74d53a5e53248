"""Certificates right and wrong, and origins that show them: odd_certs.py DIR.

Writes DIR/bundle.pem (what a pod is to trust), DIR/hosts (names for its /etc/hosts), DIR/client.pem
and .key (which the origins that want one accept), serves each case on a port of its own on
127.0.0.1 and ::1, and prints a JSON object a line: name, port, host (whom the client asks for),
client (has a certificate to give), unknown (and yet the server does not get it), options for curl; and, in case it is refused, the words of the event's reason and of
the alert; and why it is opaque, where we cannot end its TLS. Whether it is to be refused is not said here: that is for
the clients, direct, to say."""
import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU, NameOID

DIR = sys.argv[1]
NOW = datetime.datetime.utcnow()
PEM = serialization.Encoding.PEM
cases, servers = [], []


def day(n):
    return NOW + datetime.timedelta(days=n)


def key_pem(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def weak_but_long(bits):
    """An RSA key of many primes: as good for this test as one of two, and made in a second."""
    primes = []
    while len(primes) * 1024 < bits:
        n = rsa.generate_private_key(65537, 2048).private_numbers()
        primes += [n.p, n.q]
    halves = primes[::2], primes[1::2]
    p, q, phis = 1, 1, [1, 1]
    for a, b in zip(*halves):
        p, q, phis = p * a, q * b, [phis[0] * (a - 1), phis[1] * (b - 1)]
    d = pow(65537, -1, phis[0] * phis[1])
    numbers = [0, p * q, 65537, d, p, q, d % phis[0], d % phis[1], pow(q, -1, p)]
    text = "asn1=SEQUENCE:k\n[k]\n" + "".join(f"v{i}=INTEGER:{hex(n)}\n" for i, n in enumerate(numbers))
    with open(f"{DIR}/long.cnf", "w") as f:
        f.write(text)
    subprocess.run(["openssl", "asn1parse", "-genconf", f"{DIR}/long.cnf", "-noout", "-out", f"{DIR}/long.der"], check=True)
    return subprocess.run(["openssl", "rsa", "-inform", "DER", "-in", f"{DIR}/long.der"],
                          check=True, capture_output=True).stdout, p * q


class Made:
    def __init__(self, cert, key):
        self.cert, self.key = cert, key


def sans(*names):
    out = []
    for name in names:
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            out.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(out)


def make(issuer, *names, subject=None, key=None, public=None, ca=False, pathlen=None, days=(-2, 20), eku=EKU.SERVER_AUTH,
         usage=None, digest=hashes.SHA256(), san=True, extra=()):
    """A certificate by issuer (None: by itself) for names; subject: list of CNs."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = [f"odd {len(cases)} {os.urandom(4).hex()}"] if subject is None else subject
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn) for cn in subject])
    signer = issuer.key if issuer else key
    b = (x509.CertificateBuilder().subject_name(name).issuer_name(issuer.cert.subject if issuer else name)
         .serial_number(x509.random_serial_number()).not_valid_before(day(days[0])).not_valid_after(day(days[1]))
         .public_key(public or key.public_key()).add_extension(x509.BasicConstraints(ca, pathlen), True)
         .add_extension(x509.SubjectKeyIdentifier.from_public_key(public or key.public_key()), False)
         .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False))
    if usage is None:
        usage = ca
    b = b.add_extension(x509.KeyUsage(not usage, False, False, False, False, usage, usage, False, False), True)
    if eku and not ca:
        b = b.add_extension(x509.ExtendedKeyUsage([eku]), False)
    if names and san:
        b = b.add_extension(sans(*names), not subject)
    for extension, critical in extra:
        b = b.add_extension(extension, critical)
    return Made(b.sign(signer, digest), key)


def again(made, issuer, **how):
    """The same subject and key, signed by another."""
    cn = [a.value for a in made.cert.subject]
    return make(issuer, subject=cn, key=made.key, ca=True, **how)


def answer(conn, ctx):
    try:
        with ctx.wrap_socket(conn, server_side=True) as tls:
            data = b""
            while b"\r\n\r\n" not in data:
                more = tls.recv(4096)
                if not more:
                    return
                data += more
            shown = dict(x[0] for x in (tls.getpeercert() or {}).get("subject", ())).get("commonName", "nobody")
            body = f"hello {shown}\n".encode()
            tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            tls.unwrap()
    except OSError:
        pass
    finally:
        conn.close()


def accept(sock, ctx):
    while True:
        conn, _ = sock.accept()
        conn.settimeout(10)
        threading.Thread(target=answer, args=(conn, ctx), daemon=True).start()


def ports():
    """The same port of both families."""
    while True:
        four, six = socket.socket(), socket.socket(socket.AF_INET6)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            four.bind(("127.0.0.1", 0))
            six.bind(("::1", four.getsockname()[1]))
            return four, six
        except OSError:
            four.close()
            six.close()


def context(name, shown, key):
    path = f"{DIR}/{len(cases)}.pem"
    with open(path, "wb") as f:
        f.write((key if isinstance(key, bytes) else key_pem(key)) + b"".join(c.public_bytes(PEM) for c in shown))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_2
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    try:
        ctx.load_cert_chain(path)
    except ssl.SSLError as e:
        sys.exit(f"{name}: {e}")
    return ctx


def case(name, leaf, *chain, host="good.test", reason="", alert="", opaque=None, tune=lambda ctx: None, client=False,
         unknown=False, options="", key=None, staple=None):
    shown = [leaf.cert] + [c.cert for c in chain]
    ctx = context(name, shown, key or leaf.key)
    pair = ports()
    port = pair[0].getsockname()[1]
    cases.append(dict(name=name, port=port, host=host, reason=reason, alert=alert, opaque=opaque,
                      client=client, unknown=unknown, options=options, staple=staple is not None))
    if staple is not None:
        return stapling(port, pair, chain, staple)
    tune(ctx)
    for sock in pair:
        sock.listen(64)
        threading.Thread(target=accept, args=(sock, ctx), daemon=True).start()


def stapling(port, pair, chain, staple):
    """Python's servers cannot staple. openssl reads what case() has written of the certificate."""
    for sock in pair:
        sock.close()
    path = f"{DIR}/{len(cases) - 1}"
    with open(f"{path}.der", "wb") as f:
        f.write(staple)
    with open(f"{path}.chain", "wb") as f:
        f.write(b"".join(c.cert.public_bytes(PEM) for c in chain))
    command = ["openssl", "s_server", "-www", "-accept", f"127.0.0.1:{port}", "-cert", f"{path}.pem", "-key", f"{path}.pem"]
    command += ["-cert_chain", f"{path}.chain"] if chain else []
    command += ["-status_file", f"{path}.der"] if staple else []
    servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)


def certificate_cases(root, mid):
    good = make(mid, "good.test")
    other = make(root, ca=True)
    stranger = make(None, ca=True)
    case("good", good, mid)
    expired = dict(reason="expired", alert="expired")
    case("expired", make(mid, "good.test", days=(-9, -1)), mid, **expired)
    case("not yet valid", make(mid, "good.test", days=(1, 9)), mid, reason="not yet valid", alert="expired")
    case("valid until 9999", make(mid, "good.test", days=(-9000, 365 * 7970)), mid)
    case("valid since 1951", make(mid, "good.test", days=(-27500, 9)), mid)
    case("expired intermediate", good, again(mid, root, days=(-9, -1)), **expired)
    case("wrong name", make(mid, "other.test"), mid, reason="not for that name", alert="bad certificate")
    case("self-signed", make(None, "good.test"), reason="self.signed", alert="unknown ca")
    case("self-signed authority", make(None, "good.test", ca=True, usage=False), reason="self.signed", alert="unknown ca")
    unknown = dict(reason="unknown to the program|self-signed root", alert="unknown ca")
    case("unknown root", make(stranger, "good.test"), stranger, **unknown)
    case("unknown root, not shown", make(stranger, "good.test"), **unknown)
    case("missing intermediate", good, **unknown)
    case("wrong intermediate", good, other, **unknown)
    twin = make(root, subject=[a.value for a in mid.cert.subject], ca=True)
    case("an intermediate of the same name and another key", good, twin, reason="issuer|signature", alert="unknown ca|decrypt|bad certificate")
    case("wrong purpose: a client's", make(mid, "good.test", eku=EKU.CLIENT_AUTH), mid,
         reason="purpose", alert="unsupported certificate")
    case("wrong purpose: for signing code", make(mid, "good.test", eku=EKU.CODE_SIGNING), mid,
         reason="purpose", alert="unsupported certificate")
    case("no purpose said", make(mid, "good.test", eku=None), mid)
    case("a CA as leaf", make(mid, "good.test", ca=True), mid, reason="purpose", alert="unsupported certificate")
    case("a leaf as CA", make(good, "good.test"), good, mid, reason="CA certificate|invalid CA", alert="unknown ca|bad certificate")
    narrow = make(root, ca=True, pathlen=0)
    below = make(narrow, ca=True)
    case("path length exceeded", make(below, "good.test"), below, narrow, reason="path length", alert="unknown ca")
    limited = make(root, ca=True, extra=[(x509.ExtendedKeyUsage([EKU.CLIENT_AUTH]), False)])
    case("an intermediate for clients only", make(limited, "good.test"), limited, reason="purpose|CA", alert="unsupported certificate|unknown ca")
    case("no subject", make(mid, "good.test", subject=[]), mid)
    case("signature broken", Made(x509.load_der_x509_certificate(
        (lambda d: d[:-1] + bytes([d[-1] ^ 1]))(good.cert.public_bytes(serialization.Encoding.DER))), good.key), mid,
        reason="signature", alert="decrypt|bad certificate|unknown ca")
    case("an unknown critical extension", make(mid, "good.test", extra=[(x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\0"), True)]), mid, reason="critical extension", alert="certificate")
    case("an unknown extension", make(mid, "good.test", extra=[(x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\0"), False)]), mid)


def strength_cases(root, mid):
    rsa2048 = make(root, ca=True, key=rsa.generate_private_key(65537, 2048))
    weak = dict(reason="weak|small", alert="bad certificate|certificate unknown|security")
    small = rsa.generate_private_key(65537, 1024)
    case("weak key: RSA-1024", make(mid, "good.test", key=small), mid, **weak)
    small_ca = make(root, ca=True, key=small)
    case("weak key of the authority", make(small_ca, "good.test"), small_ca, **weak)
    case("weak curve: P-192", make(mid, "good.test", key=ec.generate_private_key(ec.SECP192R1())), mid, reason="handshake failure", alert="handshake failure", tune=lambda ctx: setattr(ctx, "maximum_version", ssl.TLSVersion.TLSv1_2))
    case("weak signature: SHA-1", make(rsa2048, "good.test", digest=hashes.SHA1()), rsa2048, **weak)
    case("weak signature: MD5", make(rsa2048, "good.test", digest=hashes.MD5()), rsa2048, **weak)
    case("weak signature of the root by itself", make(WEAK_ROOT, "good.test"), WEAK_ROOT)
    case("RSA-2048", make(mid, "good.test", key=rsa.generate_private_key(65537, 2048)), mid)
    case("P-521", make(mid, "good.test", key=ec.generate_private_key(ec.SECP521R1())), mid)
    pem, n = weak_but_long(16384)
    case("RSA-16384", make(mid, "good.test", public=rsa.RSAPublicNumbers(65537, n).public_key()), mid, key=pem)


def constraint_cases(root):
    def under(permitted=None, excluded=None):
        def tree(name):
            return x509.IPAddress(ipaddress.ip_network(name)) if "/" in name else x509.DNSName(name)
        return make(root, ca=True, extra=[(x509.NameConstraints(
            [tree(n) for n in permitted] if permitted else None, [tree(n) for n in excluded] if excluded else None), True)])
    for what, ca, host, fine in [
        ("permitted DNS", under(["good.test"]), "a.good.test", True),
        ("not permitted DNS", under(["good.test"]), "x.wild.test", False),
        ("excluded DNS", under(None, ["good.test"]), "a.good.test", False),
        ("not excluded DNS", under(None, ["good.test"]), "x.wild.test", True),
        ("permitted address", under(["127.0.0.0/8"]), "127.0.0.1", True),
        ("not permitted address", under(["192.0.2.0/24"]), "127.0.0.1", False),
        ("excluded address", under(None, ["::/0"]), "::1", False),
        ("permitted DNS, so addresses are free", under(["good.test"]), "127.0.0.1", True),
    ]:
        case(f"constraint: {what}", make(ca, host), ca, host=host,
             **({} if fine else dict(reason="name constraint", alert="bad certificate")))
    ca = under(["good.test"])
    case("constraint: on a name in CN alone", make(ca, subject=["x.wild.test"]), ca, host="x.wild.test",
         reason="name constraint", alert="bad certificate")


def name_cases(mid):
    wrong = dict(reason="not for that name", alert="bad certificate")
    w = "w.x.wild.test"
    for pattern, host, fine in [
        ("*.x.wild.test", w, True), ("w*.x.wild.test", w, False), ("*w.x.wild.test", w, False),
        ("w.*.wild.test", w, False), ("*", "single", False), ("*.test", "good.test", False), ("*.wild.test", w, False),
        ("*.*.wild.test", w, False), ("*.x.wild.test", "x.wild.test", False), ("**.x.wild.test", w, False),
        ("*.xn--bcher-kva.test", "w.xn--bcher-kva.test", True), ("xn--*.wild.test", "xn--bcher-kva.wild.test", False),
        ("*.wild.test", "xn--bcher-kva.wild.test", True), ("*.wild.test", "a_b.wild.test", True),
        ("*.a_b.test", "w.a_b.test", True), ("*.0.0.1", "127.0.0.1", False), ("*.x.wild.test.", w, True), ("", "good.test", False),
        ("W.X.Wild.TEST", w, True), (w, "W.X.WILD.test", True), ("good.test.", "good.test", True), ("good.test", "good.test.", True),
        ("xn--bcher-kva.test", "xn--bcher-kva.test", True), ("a_b.test", "a_b.test", True), ("single", "single", True),
        ("good.test\0.evil.test", "good.test", False), ("good.test\0", "good.test", False), (" good.test", "good.test", False),
        ("127.0.0.1", "127.0.0.1", True), ("::1", "::1", True), ("127.0.0.2", "127.0.0.1", False), ("::2", "::1", False),
    ]:
        case(f"name: {pattern!r} for {host}", make(mid, pattern, subject=["nobody"]), mid, host=host, **({} if fine else wrong))
    text = x509.SubjectAlternativeName([x509.DNSName("127.0.0.1")])
    case("name: an address as DNS name", make(mid, subject=["nobody"], extra=[(text, False)]), mid, host="127.0.0.1", **wrong)
    for what, cns, names, host in [
        ("CN only", ["good.test"], [], "good.test"), ("CN only, an address", ["127.0.0.1"], [], "127.0.0.1"),
        ("CN only, an IPv6 address", ["::1"], [], "::1"), ("CN only, a wildcard", ["*.wild.test"], [], "x.wild.test"),
        ("CN beside another SAN", ["good.test"], ["other.test"], "good.test"),
        ("CN beside an address in SAN", ["good.test"], ["127.0.0.1"], "good.test"),
        # (without SNI and for DNS names only: the client judges, see client_tls.sh)
        ("two CNs, the first right", ["good.test", "other.test"], [], "good.test"),
        ("two CNs, the last right", ["other.test", "good.test"], [], "good.test"),
        ("NUL in CN", ["good.test\0.evil.test"], [], "good.test"), ("a closing dot in CN", ["good.test."], [], "good.test"),
        ("upper case in CN", ["GOOD.test"], [], "good.test"), ("nothing at all", [], [], "good.test"),
    ]:
        case(f"name: {what}", make(mid, *names, subject=cns), mid, host=host, **wrong)
    mail = x509.SubjectAlternativeName([x509.RFC822Name("a@good.test"), x509.UniformResourceIdentifier("https://good.test/")])
    case("name: CN beside mail and URI", make(mid, subject=["good.test"], extra=[(mail, False)]), mid)
    case("name: mail and URI alone", make(mid, subject=["nobody"], extra=[(mail, False)]), mid, **wrong)
    case("name: the last of 1000", make(mid, *[f"n{i}.many.test" for i in range(999)], "good.test"), mid)
    long = ".".join(["l" * 60] * 3 + ["test"])
    case("name: longer than a CN", make(mid, long), mid, host=long)


def chain_cases(root, mid):
    good = make(mid, "good.test")
    extras = [make(None, ca=True) for _ in range(5)]
    second = make(mid, ca=True)
    deep = make(second, "good.test")
    case("chain shuffled", deep, mid, second)
    case("root shown, too", good, mid, root)
    case("certificates of others in between", good, *extras, mid)
    case("the same one many times", good, *[mid] * 20)
    case("partial: an intermediate of the pod's bundle", make(ANCHOR, "good.test"))
    case("partial: and it is shown", make(ANCHOR, "good.test"), ANCHOR)
    case("partial: and what the pod lacks is shown, too", make(ANCHOR, "good.test"), ANCHOR, ANCHOR_ROOT)
    leaf = make(None, "good.test", key=PINNED.key, subject=["pinned"])
    case("self-signed, and in the pod's bundle", PINNED)
    case("self-signed with the key of one in the bundle", leaf, reason="self.signed|issuer|signature", alert="unknown ca|decrypt|bad certificate")
    case("cross-signed, the old root expired and shown", make(CROSSED, "good.test"), again(CROSSED, EXPIRED_ROOT), EXPIRED_ROOT)
    case("cross-signed, the old root expired in the bundle", make(CROSSED, "good.test"), again(CROSSED, EXPIRED_ROOT))
    case("only an expired root", make(EXPIRED_ROOT, "good.test"), reason="expired", alert="expired")
    for depth, want in [(10, {}), (15, {}), (98, {}), (101, dict(reason="chain|issuer|depth", alert="unknown ca"))]:
        key, ca, above = ec.generate_private_key(ec.SECP256R1()), root, []
        for _ in range(depth):
            ca = make(ca, ca=True, key=key)
            above.insert(0, ca)
        case(f"chain of {depth}", make(ca, "good.test"), *above, **want)
    for kilobytes, want in [(90, {}), (110, dict(reason="excessive|too (large|long)", alert="illegal parameter|handshake failure"))]:
        fat = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), os.urandom(kilobytes * 1000))
        case(f"a certificate of {kilobytes} kB", make(mid, "good.test", extra=[(fat, False)]), mid, **want)


def version_cases(mid):
    good = make(mid, "good.test")
    v = ssl.TLSVersion

    def only(version):
        def tune(ctx):
            ctx.minimum_version = ctx.maximum_version = version
        return tune
    old = "--tls-max 1.2 --tlsv1.0 --ciphers DEFAULT@SECLEVEL=0"
    for name, version in [("TLS 1.0", v.TLSv1), ("TLS 1.1", v.TLSv1_1)]:
        case(f"{name} only", good, mid, tune=only(version), opaque="old tls")
        case(f"{name} only, for who takes that", good, mid, tune=only(version), opaque="old tls", options=old)
        case(f"{name} only, for who does not", good, mid, tune=only(version), options="--tlsv1.2",
             reason="protocol version|unsupported protocol", alert="protocol version")
    for name, version in [("TLS 1.2", v.TLSv1_2), ("TLS 1.3", v.TLSv1_3)]:
        case(f"{name} only", good, mid, tune=only(version))
        for what, mode in [("wanted", ssl.CERT_OPTIONAL), ("demanded", ssl.CERT_REQUIRED)]:
            def tune(ctx, version=version, mode=mode):
                only(version)(ctx)
                ctx.verify_mode = mode
                ctx.load_verify_locations(f"{DIR}/bundle.pem")
            why = "client certificate" if what == "demanded" else None
            case(f"client certificate {what}, {name}, none", good, mid, tune=tune, opaque=why)
            case(f"client certificate {what}, {name}, given", good, mid, tune=tune, opaque=why, client=True,
                 unknown=what == "wanted")


def staple_cases(root, mid):
    leaf, other = make(mid, "good.test"), make(mid, "good.test")
    delegate, stranger = make(mid, eku=EKU.OCSP_SIGNING), make(None, ca=True)
    revoked = dict(revocation_time=day(-1), revocation_reason=x509.ReasonFlags.key_compromise)
    good, no = ocsp.OCSPCertStatus.GOOD, dict(revocation_time=None, revocation_reason=None)

    def says(status, about=leaf, signer=mid, dates=(-1, 1), digest=hashes.SHA1(), **how):
        b = (ocsp.OCSPResponseBuilder()
             .add_response(about.cert, mid.cert, digest, status, day(dates[0]), day(dates[1]), **(how or no))
             .responder_id(ocsp.OCSPResponderEncoding.NAME, signer.cert))
        b = b.certificates([signer.cert]) if signer is not mid else b
        return b.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    damaged = bytearray(says(good))
    damaged[-9] ^= 1
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    said = says(ocsp.OCSPCertStatus.REVOKED, **revoked)
    for what, staple, words in [
        ("good", says(good), ""), ("none", b"", ""), ("good, by a delegate", says(good, signer=delegate), ""),
        ("revoked", said, "revoked"), ("unknown", says(ocsp.OCSPCertStatus.UNKNOWN), ""),
        ("good, no longer", says(good, dates=(-9, -2)), ""), ("good from tomorrow", says(good, dates=(1, 2)), ""),
        ("good, by SHA-256", says(good, digest=hashes.SHA256()), ""), ("another's", says(good, about=other), ""),
        ("a stranger's", says(good, signer=stranger), ""), ("damaged", bytes(damaged), ""),
        ("try later", later.public_bytes(serialization.Encoding.DER), ""),
    ]:
        case(f"staple: {what}", leaf, mid, staple=staple, options="--cert-status", reason=words)
    case("staple: revoked, and nobody asks", leaf, mid, staple=said)
    case("staple: good, the issuer not shown", make(root, "good.test"), staple=says(good), options="--cert-status")
    must = make(mid, "good.test", extra=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)])
    case("staple: demanded by the certificate, good", must, mid, staple=says(good, about=must))
    case("staple: demanded by the certificate, none", must, mid, staple=b"")


def serve():
    root, mid = BASE
    staple_cases(root, mid)
    certificate_cases(root, mid)
    strength_cases(root, mid)
    constraint_cases(root)
    name_cases(mid)
    chain_cases(root, mid)
    version_cases(mid)


ROOT = make(None, ca=True, subject=["odd root"])
BASE = ROOT, make(ROOT, ca=True, subject=["odd intermediate"])
WEAK_ROOT = make(None, ca=True, subject=["odd weak root"], key=rsa.generate_private_key(65537, 2048), digest=hashes.SHA1())
ANCHOR_ROOT = make(None, ca=True, subject=["odd absent root"])
ANCHOR = make(ANCHOR_ROOT, ca=True, subject=["odd anchor"])
PINNED = make(None, "good.test", subject=["pinned"])
EXPIRED_ROOT = make(None, ca=True, subject=["odd old root"], days=(-9, -1))
CROSSED = make(None, ca=True, subject=["odd new root"])
CLIENT = make(ROOT, subject=["odd client"], eku=EKU.CLIENT_AUTH)

with open(f"{DIR}/bundle.pem", "wb") as out:
    for made in (ROOT, WEAK_ROOT, ANCHOR, PINNED, EXPIRED_ROOT, CROSSED):
        out.write(made.cert.public_bytes(PEM))
with open(f"{DIR}/client.pem", "wb") as out:
    out.write(CLIENT.cert.public_bytes(PEM))
with open(f"{DIR}/client.key", "wb") as out:
    out.write(key_pem(CLIENT.key))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
serve()
with open(f"{DIR}/hosts", "w") as out:
    for host in sorted({c["host"].rstrip(".").lower() for c in cases}):
        if host[0].isalpha():
            out.write(f"127.0.0.1 {host}\n")
for c in cases:
    print(json.dumps(c), flush=True)
print("{}", flush=True)
try:
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
finally:
    for server in servers:
        server.kill()
        server.wait()
