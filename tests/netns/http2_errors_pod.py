"""What a client says against RFC 9113, sections 3 to 8, one connection each, and what must come of it.

http2_errors_pod.py origin CERT KEY         an upright server: prints its ports, by TLS and plain; tells on stderr what
                                            must not have reached it; ends when it is asked for /done
http2_errors_pod.py client FILE PORTS... says all of it; tells on stderr what did not come of it, and in FILE what did
http2_errors_pod.py check FILE EVENTS       holds what was told against it"""
import collections
import concurrent.futures
import json
import os
import sys
import time

sys.dont_write_bytecode = True
from h2frames import *

# section, name, what the client says (or how), what may come of it:
#   stream CODE      the stream ends by RST_STREAM, and a neighbour on a stream behind it is answered
#   connection CODE  a GOAWAY with the code and the connection's end
#   answer N         the stream is answered, and the neighbour
#   nothing          the neighbour is answered, and that is all
# The stream is 3 where says does not set about. A path /nil may not reach the server, /bad not as a whole.
Case = collections.namedtuple("Case", "section name says wants")
CASES = []
NEIGHBOUR = 100001
P, SIZE, FLOW, CLOSED, CALM = ("PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR", "STREAM_CLOSED",
                               "ENHANCE_YOUR_CALM")


def section(number, *cases):
    for name, says, wants in cases:
        CASES.append(Case(number, name, says, wants))


def stream(*codes):
    return tuple(f"stream {code}" for code in codes)


def whole(*codes):
    return tuple(f"connection {code}" for code in codes)


def either(*codes):  # 5.4.1: a stream error may be taken for one of the connection
    return stream(*codes) + whole(*codes)


MALFORMED = stream(P) + ("answer 400",)  # 8.1.1: a server may answer before it resets
IGNORED = ("nothing",)
ANSWERED = ("answer 200",)


def get(*more, number=3, raw=b"", end=True, done=True, path="/fine", **how):
    return headers(number, *head(path, *more, **how), end=end, done=done, raw=raw)


def nil(*more, **how):
    return get(*more, path="/nil/0000", **how)


def post(*more, number=3, path="/bad/0000"):
    return headers(number, *head(path, *more, method="POST"), end=False)


def fields(*those):  # a head that is not to be had from head()
    return headers(3, *those)


# ---- 3.4, 4: the preface, frames, header blocks -----------------------------------------------

section("3.4",
        ("a preface that is none", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r" + bytes(64), whole(P, "none")),
        ("a first frame that is no SETTINGS", PREFACE + frame(PING, 0, 0, bytes(8)), whole(P)))
section("4.1",
        ("a frame of a type nobody knows", frame(0xee, 0xff, 3, b"what") + frame(0xee, 0, 0, bytes(9000)), IGNORED),
        ("flags nobody knows", frame(HEADERS, 0xc0 | END_HEADERS | END_STREAM, 3, block(*head("/fine"))), ANSWERED),
        ("the reserved bit", frame(HEADERS, END_HEADERS | END_STREAM, 3 | 1 << 31, block(*head("/fine"))), ANSWERED))
section("4.2",
        ("DATA larger than SETTINGS_MAX_FRAME_SIZE", post() + data(3, bytes(16385)), either(SIZE)),
        ("HEADERS larger", nil(("a", "b" * 16384)), whole(SIZE)),
        ("SETTINGS larger", frame(SETTINGS, 0, 0, struct.pack(">HI", 77, 0) * 2731), whole(SIZE)),
        ("a frame nobody knows larger", frame(0xee, 0, 0, bytes(16385)), whole(SIZE) + IGNORED))
section("4.3", *(
    (name, frame(HEADERS, END_HEADERS | END_STREAM, 3, how), whole("COMPRESSION_ERROR")) for name, how in (
        ("index 0", block(*head("/nil/0000")) + b"\x80"),
        ("an index behind the table", block(*head("/nil/0000")) + b"\xff\x80\x01"),
        ("a name's index behind the table", block(*head("/nil/0000")) + b"\x7f\x80\x01\x01a"),
        ("a table larger than allowed", integer(1 << 20, 5, 32) + block(*head("/nil/0000"))),
        ("a table size behind a field", block(*head("/nil/0000")) + integer(0, 5, 32)),
        ("a literal that is cut", block(*head("/nil/0000")) + b"\0\x01a\x05bcd"),
        ("a length of 2^40", block(*head("/nil/0000")) + b"\0\x01a\x7f\x81\xff\xff\xff\xff\x1f"),
        ("EOS in a Huffman string", block(*head("/nil/0000")) + b"\0\x01a\x84\xff\xff\xff\xff"),
        ("Huffman padding of 8 bits", block(*head("/nil/0000")) + b"\0\x01a\x82\x1f\xff"),
        ("Huffman padding of zeros", block(*head("/nil/0000")) + b"\0\x01a\x81\x18"))))
section("4.3",
        ("a block that does not decode on a stream that was reset", lambda p: (
            p.send(get(path="/hang", end=False), reset(3)), p.send(frame(HEADERS, 5, 3, b"\x80"))),
         whole("COMPRESSION_ERROR", CLOSED, P)),
        ("a block in single bytes", lambda p: p.send(
            frame(HEADERS, END_STREAM, 3, b""), *(frame(CONTINUATION, END_HEADERS if last else 0, 3, bytes((byte,)))
                                                  for byte, last in in_bytes(block(*head("/fine"))))),
         either(CALM) + ANSWERED))  # a flood of CONTINUATIONs for some


def in_bytes(payload):
    return ((byte, at == len(payload) - 1) for at, byte in enumerate(payload))


# ---- 5: streams ---------------------------------------------------------------------------------

def past_the_streams(p):
    p.until(lambda: MAX_STREAMS in p.settings)
    most = p.settings.get(MAX_STREAMS, 100)
    p.about = 3 + 2 * most
    p.send(*(get(path="/hang", number=number) for number in range(3, p.about, 2)))
    p.send(nil(number=p.about))
    p.until(lambda: p.stream(p.about).over)
    p.send(reset(3), reset(5))


def answered_first(*pieces):
    def say(p):
        p.ask(3, *head("/fine"))
        p.streams[3] = Stream(0)
        p.send(*pieces)
    return say


section("5.1",
        ("DATA on an idle stream", data(3, b"x"), whole(P)),
        ("WINDOW_UPDATE on an idle stream", window(3, 1), whole(P)),
        ("RST_STREAM on an idle stream", reset(3), whole(P)),
        ("PRIORITY on an idle stream", frame(PRIORITY, 0, 3, u32(0) + b"\1"), IGNORED),
        ("DATA behind END_STREAM", get(path="/hang") + data(3, b"x"), either(CLOSED)),
        ("HEADERS behind END_STREAM", get(path="/hang") + headers(3, ("a", "b")), either(CLOSED)),
        ("DATA on a stream that has ended", answered_first(data(3, b"x")), either(CLOSED) + IGNORED),
        ("HEADERS on a stream that has ended", answered_first(nil()), either(CLOSED) + whole(P) + IGNORED),
        ("WINDOW_UPDATE, RST_STREAM, PRIORITY on a stream that has ended", answered_first(
            window(3, 1), reset(3), frame(PRIORITY, 0, 3, u32(0) + b"\1")), IGNORED),
        ("DATA behind its own RST_STREAM", get(path="/hang", end=False) + reset(3) + data(3, b"x"),
         either(CLOSED) + IGNORED),
        ("HEADERS behind its own RST_STREAM", get(path="/hang", end=False) + reset(3) + nil(),
         either(CLOSED, P) + IGNORED))
section("5.1.1",
        ("a stream with an even number", nil(number=4), whole(P)),
        # nobody opened it; but it is closed by then, and what comes there may be ignored
        ("a stream with a lower number than the last", get(number=5) + nil(number=3), whole(P, CLOSED) + IGNORED),
        ("HEADERS on stream 0", nil(number=0), whole(P)))
section("5.1.2", ("more streams than allowed", past_the_streams, either("REFUSED_STREAM", P)))
section("5.3",
        ("HEADERS on a stream that depends on itself", frame(
            HEADERS, 0x25, 3, u32(3) + b"\1" + block(*head("/fine"))), either(P) + ANSWERED),
        ("PRIORITY on a stream that depends on itself", frame(PRIORITY, 0, 3, u32(3) + b"\1"), either(P) + IGNORED))
section("5.5",
        ("a frame nobody knows within a header block", nil(done=False) + frame(0xee, 0, 3) + frame(CONTINUATION, 4, 3),
         whole(P)))

# ---- 6: frames by type --------------------------------------------------------------------------

section("6.1",
        ("DATA on stream 0", data(0, b"x"), whole(P)),
        ("padding as long as its frame", post() + frame(DATA, PADDED | 1, 3, b"\4abc"), whole(P)),
        ("a padding longer than its frame", post() + frame(DATA, PADDED | 1, 3, b"\xffabc"), whole(P)),
        ("padded, and empty", post() + frame(DATA, PADDED | 1, 3), whole(P, SIZE)),
        ("nothing but padding", post(path="/fine") + frame(DATA, PADDED | 1, 3, b"\3abc"), ANSWERED))
section("6.2",
        ("padding as long as its frame", frame(HEADERS, PADDED | 5, 3, b"\xff" + block(*head("/nil/0000"))), whole(P)),
        ("padded, and empty", frame(HEADERS, PADDED | 5, 3), whole(P, SIZE)),
        ("a priority that is cut", frame(HEADERS, PRIORITISED | 5, 3, b"\0\0\0"), whole(P, SIZE)),
        ("a block that is empty", frame(HEADERS, 5, 3), MALFORMED))
section("6.3",
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, u32(1) + b"\1"), whole(P)),
        ("of 4 bytes", frame(PRIORITY, 0, 3, bytes(4)), either(SIZE)),
        ("of 6 bytes", frame(PRIORITY, 0, 3, bytes(6)), either(SIZE)))
section("6.4",
        ("RST_STREAM on stream 0", reset(0), whole(P)),
        ("of 3 bytes", get(path="/hang") + frame(RST_STREAM, 0, 3, bytes(3)), whole(SIZE)),
        ("of 5 bytes", get(path="/hang") + frame(RST_STREAM, 0, 3, bytes(5)), whole(SIZE)))
section("6.5",
        ("an acknowledgement with a payload", frame(SETTINGS, ACK, 0, bytes(6)), whole(SIZE)),
        ("of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), whole(SIZE)),
        ("on a stream", frame(SETTINGS, 0, 1, bytes(6)), whole(P)))
section("6.5.2",
        ("SETTINGS_ENABLE_PUSH of 2", settings((ENABLE_PUSH, 2)), whole(P)),
        ("SETTINGS_INITIAL_WINDOW_SIZE of 2^31", settings((WINDOW, 1 << 31)), whole(FLOW)),
        ("SETTINGS_MAX_FRAME_SIZE of 16383", settings((MAX_FRAME, 16383)), whole(P)),
        ("SETTINGS_MAX_FRAME_SIZE of 2^24", settings((MAX_FRAME, 1 << 24)), whole(P)),
        ("a setting nobody knows", settings((0xabcd, 7), (0x10, 1)), IGNORED),
        ("a setting twice", settings((MAX_FRAME, 16384), (MAX_FRAME, 16385)), IGNORED))
section("6.6", ("PUSH_PROMISE from a client", frame(PUSH_PROMISE, 4, 1, u32(2) + block(*head("/nil/0000"))), whole(P)))
section("6.7",
        ("PING on a stream", frame(PING, 0, 3, bytes(8)), whole(P)),
        ("of 7 bytes", frame(PING, 0, 0, bytes(7)), whole(SIZE)),
        ("an answer nobody asked for", frame(PING, ACK, 0, bytes(8)), IGNORED))
section("6.8",
        ("GOAWAY on a stream", frame(GOAWAY, 0, 3, bytes(8)), whole(P)),
        ("of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), whole(SIZE)))


def more_than_its_window(p):
    p.send(post(path="/bad/0000/stall"), *(data(3, bytes(16384)) for _ in range(300)))


section("6.9",
        ("WINDOW_UPDATE of 0 on a stream", get(path="/hang") + window(3, 0), either(P)),
        ("of 0 on the connection", window(0, 0), whole(P)),
        ("of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), whole(SIZE)),
        ("of 5 bytes on a stream", get(path="/hang") + frame(WINDOW_UPDATE, 0, 3, bytes(5)), whole(SIZE)))
section("6.9.1",
        ("a stream's window over 2^31-1", get(path="/hang") + window(3, MOST), either(FLOW)),
        ("the connection's window over 2^31-1", window(0, MOST), whole(FLOW)),
        ("DATA past the window", more_than_its_window, either(FLOW)))
section("6.9.2",
        ("a SETTINGS_INITIAL_WINDOW_SIZE that brings a stream over 2^31-1",
         get(path="/hang") + window(3, MOST - 65535) + settings((WINDOW, 65536)), either(FLOW)))
section("6.10",
        ("CONTINUATION of nothing", frame(CONTINUATION, 4, 3, block(*head("/nil/0000"))), whole(P)),
        ("behind END_HEADERS", get(path="/hang") + frame(CONTINUATION, 4, 3, block(("a", "b"))), whole(P)),
        ("on another stream", nil(done=False) + frame(CONTINUATION, 4, 5, block(("a", "b"))), whole(P)),
        ("on stream 0", nil(done=False) + frame(CONTINUATION, 4, 0, block(("a", "b"))), whole(P)),
        ("PING within a header block", nil(done=False) + frame(PING, 0, 0, bytes(8)), whole(P)),
        ("DATA within a header block", nil(done=False, end=False) + data(3, b"x"), whole(P)),
        ("HEADERS within a header block", nil(done=False) + nil(), whole(P)))

# ---- 8: HTTP --------------------------------------------------------------------------------------

length = "content-length"
section("8.1",
        ("trailers that do not end the stream", post() + headers(3, ("a", "b"), end=False), MALFORMED),
        ("DATA behind trailers", post(path="/hang") + headers(3, ("a", "b")) + data(3, b"x", True), either(CLOSED)))
section("8.1.1",
        ("a content-length without DATA", headers(3, *head("/nil/0000", (length, "5"), method="POST")), MALFORMED),
        ("fewer bytes of DATA than content-length says", post((length, "5")) + data(3, b"abcd", True), MALFORMED),
        ("more of them", post((length, "5")) + data(3, b"abcdef", True), MALFORMED),
        ("more of them, later", post((length, "5")) + data(3, b"abcde") + data(3, b"f", True), MALFORMED),
        ("fewer of them, then trailers", post((length, "5")) + data(3, b"abcd") + headers(3, ("a", "b")), MALFORMED),
        *((f"a content-length of {value!r}", headers(3, *head("/nil/0000", (length, value), method="POST"), end=False)
           + data(3, b"abcde", True), MALFORMED)
          for value in ("+5", "-5", "0x5", "5, 5", "5 5", "", "18446744073709551621", "five")),
        ("two content-lengths", nil((length, "5"), (length, "6"), end=False) + data(3, b"abcde", True), MALFORMED),
        ("the same content-length twice", nil((length, "5"), (length, "5"), end=False) + data(3, b"abcde", True),
         MALFORMED))
section("8.2.1",
        *((f"a field name {name!r}", nil((name, "b")), MALFORMED) for name in (
            "Upper", "CaSe", "a b", "a:b", "a\r\nb", "a\nb", "a\0b", "a\x7fb", "a\xe4b", "", "a(b")),
        *((f"a value {value!r}", nil(("a", value)), MALFORMED) for value in (
            "b\rc", "b\nc", "b\r\nc: d", "b\0c", " b", "b ", "\tb", "b\t")),
        ("an upper case name in a trailer", post() + headers(3, ("Upper", "b")), MALFORMED),
        ("a CR/LF in a trailer", post() + headers(3, ("a", "b\r\nc")), MALFORMED))
section("8.2.2",
        *((f"{name}: {value}", nil((name, value)), MALFORMED) for name, value in (
            ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"), ("te", "trailers, gzip"))),
        ("te: trailers", get(("te", "trailers")), ANSWERED),
        ("connection in a trailer", post() + headers(3, ("connection", "close")), MALFORMED))
METHOD, SCHEME, AUTHORITY, PATH = head("/nil/0000")
section("8.3",
        ("a pseudo-header field behind another", fields(METHOD, SCHEME, AUTHORITY, ("a", "b"), PATH), MALFORMED),
        ("one that nobody knows", nil((":what", "b")), MALFORMED),
        ("one of an answer", nil((":status", "200")), MALFORMED),
        *((f"two of {field[0]}", fields(field, METHOD, SCHEME, AUTHORITY, PATH), MALFORMED)
          for field in (METHOD, SCHEME, AUTHORITY, PATH)),
        ("one in a trailer", post() + headers(3, (":path", "/other")), MALFORMED))
section("8.3.1",
        *((f"no {without[0]}", fields(*(f for f in head("/nil/0000", ("a", "b")) if f != without)), MALFORMED)
          for without in (METHOD, SCHEME, PATH)),
        ("no :authority and no host", fields(METHOD, SCHEME, PATH), MALFORMED + ("answer 421",)),
        *((f"{field[0]}: {value!r}", fields(*((field[0], value) if f == field else f for f in head("/nil/0000"))),
           MALFORMED) for field, value in (
               (PATH, ""), (PATH, "nil"), (PATH, "/nil /0"), (PATH, "/nil\t"), (PATH, "/nil\r\nx: y"), (PATH, "/n\0"),
               (PATH, "*"), (METHOD, ""), (METHOD, "GE T"), (METHOD, "GET / HTTP/1.1\r\nx: y\r\n\r\n"),
               (SCHEME, ""), (SCHEME, "ht tp"), (SCHEME, "https\r\n"))),
        *((f":authority: {value!r}", nil(authority=value), MALFORMED + ("answer 421",)) for value in (
            "", "local host", "localhost\r\n", "me@localhost", "localhost:x", "localhost/nil",
            "user:hunter2@localhost")),
        (":authority and a host that differ", nil(("host", "other")), MALFORMED + ("answer 421",)),
        (":authority and a host with a password", nil(("host", "user:hunter2@localhost")), MALFORMED + ("answer 421",)),
        ("two hosts", fields(METHOD, SCHEME, PATH, ("host", "localhost"), ("host", "other")), MALFORMED + ("answer 421",)))
section("8.5",
        ("CONNECT with :scheme and :path", fields((":method", "CONNECT"), SCHEME, AUTHORITY, PATH), MALFORMED),
        ("CONNECT with a password", fields((":method", "CONNECT"), (":authority", "user:hunter2@localhost:443")), MALFORMED),
        ("CONNECT without :authority", fields((":method", "CONNECT")), MALFORMED),
        ("RFC 8441: :protocol that was not announced", fields(
            (":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY, PATH), MALFORMED))
section("10.5.1",
        ("fields of 2 MB", lambda p: p.send(
            nil(done=False), *(frame(CONTINUATION, 0, 3, block(("a", "b" * 16000))) for _ in range(128)),
            frame(CONTINUATION, 4, 3)), either(CALM, P) + ("answer 431",)),
        ("10000 fields", lambda p: p.send(
            nil(done=False), *(frame(CONTINUATION, 0, 3, block(("a", "b")) * 2000) for _ in range(5)),
            frame(CONTINUATION, 4, 3)), either(CALM, P) + ("answer 431",)))


# ---- the client -------------------------------------------------------------------------------------

class Speaker(Peer):
    def __init__(self, number, *args, **how):
        self.number, self.about = b"%04d" % number, 3
        super().__init__(*args, **how)

    def send(self, *pieces):
        return super().send(*(piece.replace(b"/0000", b"/" + self.number) for piece in pieces))

    def outcome(self):
        """None: not yet."""
        if self.closed:
            return f"connection {self.goaway or 'none'}"
        stream, neighbour = self.stream(self.about), self.stream(NEIGHBOUR)
        if self.goaway not in (None, "NO_ERROR") or not neighbour.over:
            return None
        if (neighbour.status, bytes(neighbour.data), neighbour.reset) != ("200", b"ok", None):
            return f"the neighbour is met with {neighbour.status or neighbour.reset}"
        if stream.over and (stream.status or stream.ended):
            return f"answer {stream.status}"
        if stream.over:
            return f"stream {stream.reset}"
        return "nothing" if b"neighbor" in self.pongs else None


def act(number, case, port, tls):
    with connect(port, tls) as sock:
        here = cookie(sock)
        peer = Speaker(number, sock, greet=case.section != "3.4")
        if callable(case.says):
            case.says(peer)
        else:
            peer.send(case.says)
        peer.send(get(number=NEIGHBOUR))
        peer.until(lambda: peer.outcome() or peer.stream(NEIGHBOUR).over)
        peer.send(frame(PING, 0, 0, b"neighbor"))
        peer.until(lambda: peer.outcome() in case.wants or peer.outcome() not in (None, "nothing"))
        outcome = peer.outcome()
    told = [] if outcome in case.wants else [f"wanted {' or '.join(case.wants)}, got {outcome}"]
    name = f"{case.section} {case.name}{' (plain)' if not tls else ''}"
    for fault in told + peer.faults:
        print(f"{name}: {fault}", file=sys.stderr, flush=True)
    return here, name, outcome, peer.about


def guarded(number, case, port, tls):
    try:
        return act(number, case, port, tls)
    except (OSError, ValueError) as error:
        return print(f"{case.section} {case.name}: {error!r}", file=sys.stderr, flush=True)


def client(path, tls, plain):
    only = os.environ.get("ONLY", "")
    jobs = [(number, case, port, safe) for port, safe in ((tls, True), (plain, False))
            for number, case in enumerate(CASES) if only in f"{case.section} {case.name}"
            # a plain port tells by the preface that it is HTTP/2; and what requests say is the same there
            and (safe or case.section[0] not in "38")]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        went = list(pool.map(lambda job: guarded(*job), jobs))
    with open(path, "w", encoding="utf-8") as file:
        json.dump([one for one in went if one], file)
    Peer(connect(tls, True)).ask(1, *head("/done"))
    print(len(jobs), "cases")


def check(path, events_path):
    """Each fault is told with its reason: the connection's when it is closed, a stream's with its request."""
    closes, streams = told_of(events_path, "process_close"), told_of(events_path, "process_http")
    with open(path, encoding="utf-8") as file:
        went = json.load(file)
    wrong = 0
    for here, name, outcome, about in went:
        close, stream = closes.get((here, None), {}), streams.get((here, about), {})
        told = stream.get("error", "") + close.get("error", "")
        if outcome in ("answer 200", "nothing"):
            right = close and "HTTP/2" not in close.get("error", "")
        elif outcome.startswith("connection"):
            right = close.get("error", "").startswith("the program's HTTP/2: ")
        else:
            right = len(stream.get("error", "")) > 3 and stream["protocol"] == "HTTP/2"
        right = right and "the upstream's" not in told
        if not right:
            wrong += 1
            print(f"{name}: met {outcome}, told {close.get('error')} {stream.get('error')} {stream.get('code')}")
    sys.exit(wrong > 0)


# ---- the server ---------------------------------------------------------------------------------------

class Upright(Peer):
    """Answers all that is complete, but what asks it to /hang, and gives no credit where it is asked to stall."""

    def note_headers(self, got):
        super().note_headers(got)
        stream = self.stream(got.stream)
        path = stream.field(b":path", 0)
        self.generous &= "stall" not in path
        if path.startswith("/nil"):
            self.faults.append(f"{case_of(path)} has reached the server: {stream.heads}")


def case_of(path):
    case = CASES[int(path[5:9])] if path[5:9].isdigit() else None
    return f"{case.section} {case.name}" if case else path


def upright(sock):
    peer = Upright(sock, server=True)
    while got := peer.read():
        stream = peer.streams.get(got.stream)
        if got.kind not in (HEADERS, CONTINUATION, DATA) or not stream.ended or not stream.heads:
            continue
        path = stream.field(b":path", 0)
        if path.startswith("/bad"):
            peer.faults.append(f"{case_of(path)} has reached the server as a whole")
        if path != "/hang":
            peer.send(headers(got.stream, (":status", "200"), end=False), data(got.stream, b"ok", True))
        if path == "/done":
            os._exit(0)
    for fault in peer.faults:
        print("at the server:", fault, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        print(serve(*listen(*sys.argv[2:]), upright), serve(*listen(), upright), flush=True)
        time.sleep(3600)
    elif sys.argv[1] == "client":
        client(sys.argv[2], *(int(port) for port in sys.argv[3:]))
    else:
        check(*sys.argv[2:])
