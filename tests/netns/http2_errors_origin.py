"""What a server says against RFC 9113, sections 3 to 8, and what must come of it on both of its sides.

http2_errors_origin.py origin CERT KEY       prints its ports: by TLS, plain, and one by TLS for each case of 3.4; tells on
                                             stderr what it did not meet; ends when it is asked for /done
http2_errors_origin.py client FILE PORTS...  asks for each of it; tells on stderr what it did not meet, and in FILE
                                             what it did
http2_errors_origin.py check FILE EVENTS     holds what was told against it"""
import collections
import concurrent.futures
import json
import os
import sys
import time

sys.dont_write_bytecode = True
from h2frames import *

# section, name, what the server says (or how, to a Peer) to the request on stream S, what the client may meet:
#   answer N            that status, and the answer's end
#   [N, ]stream CODE    RST_STREAM, behind a head
#   [N, ]connection     a GOAWAY and the connection's end, before the stream's ("left out": the GOAWAY says so of it)
# and what the server: "stream CODE" and "connection CODE" (a GOAWAY, and the end) are faults that were found,
# "nothing" is none. Where the server meets no "connection", the client's next request is answered.
Case = collections.namedtuple("Case", "section name says client server")
CASES = []
P, SIZE, FLOW, CLOSED, CALM = ("PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR", "STREAM_CLOSED",
                               "ENHANCE_YOUR_CALM")
S = 0x5afe5afe
IDLE = 0x6ffffff1


def section(number, *cases):
    for name, says, client, server in cases:
        CASES.append(Case(number, name, says, client, server))


def stream(*codes):
    return tuple(f"stream {code}" for code in codes)


def whole(*codes):
    return tuple(f"connection {code}" for code in codes)


def either(*codes):  # 5.4.1: a stream error may be taken for one of the connection
    return stream(*codes) + whole(*codes)


def answer(*more, status="200", end=False, done=True, number=S, raw=b""):
    return headers(number, (":status", status), *more, end=end, done=done, raw=raw)


NOTHING = ("nothing",)
OK = ("answer 200",)
FINE = answer() + data(S, b"ok", True)
GATEWAY = ("answer 502",) + stream(P, "INTERNAL_ERROR")  # no head went on
CUT = tuple(f"{head}stream {code}" for code in (P, "INTERNAL_ERROR", "CANCEL") for head in ("200, ", ""))  # one might
CUT_OFF = ("cut", "200, cut")  # the server had said nothing of it
GONE = GATEWAY + stream("REFUSED_STREAM", "CANCEL") + CUT + ("connection", "200, connection")  # the server is
MALFORMED = stream(P)

# ---- 3.4, 4: the preface, frames, header blocks -----------------------------------------------

section("3.4",  # said first on a port of its own
        ("a first frame that is no SETTINGS", frame(PING, 0, 0, bytes(8)), GONE + CUT_OFF + ("left out",), whole(P)),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad" + bytes(64),
         GONE + CUT_OFF + ("left out",), whole(P, SIZE)),
        ("nothing, and the end", b"", GONE + CUT_OFF, whole("none", "NO_ERROR")))
section("4.1",
        ("frames nobody knows", frame(0xee, 0xff, S, b"what") + answer() + frame(0xee, 0, 0, bytes(9000))
         + data(S, b"ok") + frame(0xef, 0, S) + data(S, b"", True), OK, NOTHING),
        ("flags nobody knows", frame(HEADERS, 0xc0 | END_HEADERS, S, block((":status", "200"))) + frame(
            DATA, 0xf6 | END_STREAM, S, b"ok"), OK, NOTHING))
section("4.2",
        ("DATA larger than SETTINGS_MAX_FRAME_SIZE", answer() + data(S, bytes(16385)), GONE, either(SIZE)),
        ("HEADERS larger", answer(("a", "b" * 16384)), GONE, whole(SIZE)))
section("4.3", *(
    (name, frame(HEADERS, END_HEADERS | END_STREAM, S, block((":status", "200")) + how), GONE, whole("COMPRESSION_ERROR"))
    for name, how in (
        ("index 0", b"\x80"), ("an index behind the table", b"\xff\x80\x01"),
        ("a table size behind a field", integer(0, 5, 32)), ("a literal that is cut", b"\0\x01a\x05bcd"),
        ("a length of 2^40", b"\0\x01a\x7f\x81\xff\xff\xff\xff\x1f"),
        ("EOS in a Huffman string", b"\0\x01a\x84\xff\xff\xff\xff"))),
        ("a table larger than allowed", frame(HEADERS, 5, S, integer(1 << 20, 5, 32) + block((":status", "200"))), GONE,
         whole("COMPRESSION_ERROR")))

# ---- 5: streams -----------------------------------------------------------------------------------

section("5.1",
        ("DATA on an idle stream", data(IDLE, b"x") + FINE, GONE, whole(P)),
        ("HEADERS on an idle stream", answer(number=IDLE) + FINE, GONE, whole(P)),
        ("WINDOW_UPDATE on an idle stream", window(IDLE, 1) + FINE, GONE, whole(P)),
        ("RST_STREAM on an idle stream", reset(IDLE) + FINE, GONE, whole(P)),
        ("DATA behind END_STREAM", FINE + data(S, b"bad"), OK, NOTHING + either(CLOSED)),
        ("HEADERS behind END_STREAM", FINE + answer(("a", "bad")), OK, NOTHING + either(CLOSED)),
        ("all of it behind RST_STREAM", answer() + reset(S) + data(S, b"bad", True), CUT,
         NOTHING + either(CLOSED)))
section("5.1.1", ("HEADERS on a stream of its own", answer(number=2) + FINE, GONE, whole(P)))
section("5.5",
        ("a frame nobody knows within a header block", answer(done=False) + frame(0xee, 0, S) + frame(CONTINUATION, 4, S),
         GONE, whole(P)))

# ---- 6: frames by type ----------------------------------------------------------------------------

section("6.1",
        ("DATA on stream 0", data(0, b"x"), GONE, whole(P)),
        ("padding as long as its frame", answer() + frame(DATA, PADDED | 1, S, b"\4abc"), GONE, whole(P)),
        ("padded, and empty", answer() + frame(DATA, PADDED | 1, S), GONE, whole(P, SIZE)),
        ("nothing but padding", answer() + data(S, b"ok") + frame(DATA, PADDED | 1, S, b"\3abc"), OK, NOTHING))
section("6.2",
        ("padding as long as its frame", frame(HEADERS, PADDED | 5, S, b"\xff" + block((":status", "200"))), GONE, whole(P)),
        ("a priority that is cut", frame(HEADERS, PRIORITISED | 5, S, b"\0\0\0"), GONE, whole(P, SIZE)),
        ("a block that is empty", frame(HEADERS, 5, S), GATEWAY, MALFORMED))
section("6.4",
        ("RST_STREAM on stream 0", reset(0), GONE, whole(P)),
        ("of 3 bytes", frame(RST_STREAM, 0, S, bytes(3)), GONE, whole(SIZE)))
section("6.5",
        ("an acknowledgement with a payload", frame(SETTINGS, ACK, 0, bytes(6)), GONE, whole(SIZE)),
        ("of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), GONE, whole(SIZE)),
        ("on a stream", frame(SETTINGS, 0, S, bytes(6)), GONE, whole(P)))
section("6.5.2",
        ("SETTINGS_ENABLE_PUSH of 1", settings((ENABLE_PUSH, 1)), GONE, whole(P)),
        ("SETTINGS_INITIAL_WINDOW_SIZE of 2^31", settings((WINDOW, 1 << 31)), GONE, whole(FLOW)),
        ("SETTINGS_MAX_FRAME_SIZE of 16383", settings((MAX_FRAME, 16383)), GONE, whole(P)),
        ("SETTINGS_MAX_FRAME_SIZE of 2^24", settings((MAX_FRAME, 1 << 24)), GONE, whole(P)),
        ("RFC 8441: SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", settings((ENABLE_CONNECT, 2)), GONE, whole(P)),
        ("a setting nobody knows", settings((0xabcd, 7)) + FINE, OK, NOTHING))
section("6.6",  # 8.4: push was switched off
        ("PUSH_PROMISE", frame(PUSH_PROMISE, 4, S, u32(2) + block(*head("/pushed"))) + FINE, GONE, whole(P)))
section("6.7",
        ("PING on a stream", frame(PING, 0, S, bytes(8)), GONE, whole(P)),
        ("of 7 bytes", frame(PING, 0, 0, bytes(7)), GONE, whole(SIZE)),
        ("an answer nobody asked for", frame(PING, ACK, 0, bytes(8)) + FINE, OK, NOTHING))
section("6.8",
        ("GOAWAY on a stream", frame(GOAWAY, 0, S, bytes(8)), GONE, whole(P)),
        ("of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), GONE, whole(SIZE)))


def more_than_its_window(peer):
    peer.send(answer(), *(data(S, bytes(16384)) for _ in range(300)))


section("6.9",
        ("WINDOW_UPDATE of 0 on a stream", window(S, 0), GONE, either(P)),
        ("of 0 on the connection", window(0, 0), GONE, whole(P)),
        ("of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), GONE, whole(SIZE)))
section("6.9.1",
        ("a stream's window over 2^31-1", window(S, MOST), GONE, either(FLOW)),
        ("the connection's window over 2^31-1", window(0, MOST), GONE, whole(FLOW)),
        ("DATA past the window", more_than_its_window, GONE, either(FLOW)))
section("6.10",
        ("CONTINUATION of nothing", frame(CONTINUATION, 4, S, block((":status", "200"))), GONE, whole(P)),
        ("behind END_HEADERS", answer() + frame(CONTINUATION, 4, S, block(("a", "b"))), GONE, whole(P)),
        ("on another stream", answer(done=False) + frame(CONTINUATION, 4, IDLE), GONE, whole(P)),
        ("PING within a header block", answer(done=False) + frame(PING, 0, 0, bytes(8)), GONE, whole(P)),
        ("a head in CONTINUATIONs", frame(HEADERS, 0, S, b"") + frame(CONTINUATION, 0, S, block((":status", "200")))
         + frame(CONTINUATION, 4, S, block(("a", "b"))) + data(S, b"ok", True), OK, NOTHING))

# ---- 7: codes, and how they go on -------------------------------------------------------------------

section("7",
        *((f"RST_STREAM with {code}", reset(S, code), stream(code), NOTHING) for code in CODES + ("255",)),
        *((f"RST_STREAM with {code} behind a part of the answer", answer() + data(S, b"ok") + reset(S, code),
           (f"200, stream {code}",), NOTHING) for code in ("NO_ERROR", "INTERNAL_ERROR", "CANCEL", "255")),
        ("RST_STREAM behind the answer, for a request that goes on", FINE + reset(S, "NO_ERROR"), OK, NOTHING),
        ("GOAWAY, and the answer", lambda peer: peer.send(goaway(peer.asked) + FINE), OK, NOTHING),
        ("GOAWAY that leaves it out", lambda peer: peer.send(goaway(0)), stream("REFUSED_STREAM") + ("left out",), NOTHING),
        ("GOAWAY with a code", lambda peer: (peer.send(goaway(peer.asked, "INTERNAL_ERROR")), peer.sock.close()), GONE,
         whole("none")),
        ("the connection's end", lambda peer: peer.sock.close(), GONE + CUT_OFF, whole("none")),
        ("the connection's end behind a part of the answer", lambda peer: (
            peer.send(answer(("content-length", "5")), data(S, b"ok")), peer.sock.close()),
         CUT + CUT_OFF + ("200, connection",), whole("none")))

# ---- 8: HTTP ------------------------------------------------------------------------------------------

length = "content-length"
section("8.1",
        ("DATA before HEADERS", data(S, b"bad", True), GONE, either(P)),
        ("an interim answer, and the end", answer(status="103", end=True), GATEWAY, MALFORMED),
        ("an interim answer behind the final one", answer() + answer(status="103") + data(S, b"bad", True), CUT, MALFORMED),
        ("DATA behind an interim answer", answer(status="103") + data(S, b"bad", True), GONE, either(P)),
        ("two final answers", answer() + answer(end=True), CUT, MALFORMED),
        ("trailers that do not end the stream", answer() + headers(S, ("a", "b"), end=False), CUT, MALFORMED),
        ("HEADERS behind trailers", answer() + headers(S, ("a", "b")) + headers(S, ("a", "b")), OK,
         NOTHING + either(CLOSED)),
        ("interim answers, trailers", answer(status="100") + answer(status="103") + answer() + data(S, b"ok")
         + headers(S, ("a", "b")), OK, NOTHING))
section("8.1.1",
        ("a content-length without DATA", answer((length, "5"), end=True), GATEWAY, MALFORMED),
        ("fewer bytes of DATA than content-length says", answer((length, "5")) + data(S, b"ok", True), CUT, MALFORMED),
        ("more of them", answer((length, "1")) + data(S, b"ok", True), CUT, MALFORMED),
        ("fewer of them, then trailers", answer((length, "5")) + data(S, b"ok") + headers(S, ("a", "b")), CUT, MALFORMED),
        *((f"a content-length of {value!r}", answer((length, value)) + data(S, b"bad12", True), GATEWAY, MALFORMED)
          for value in ("+5", "-5", "0x5", "5, 5", "", "18446744073709551621")),
        ("two content-lengths", answer((length, "5"), (length, "6")) + data(S, b"bad12", True), GATEWAY, MALFORMED),
        ("204 with DATA", answer(status="204") + data(S, b"bad", True), ("204, stream PROTOCOL_ERROR",) + GATEWAY + (
            "204, stream CANCEL", "204, stream INTERNAL_ERROR"), MALFORMED),
        ("304 with a content-length", answer((length, "5"), status="304", end=True), ("answer 304",), NOTHING))
section("8.2.1",
        *((f"a field name {name!r}", answer((name, "b")) + data(S, b"bad", True), GATEWAY, MALFORMED)
          for name in ("Upper", "a b", "a:b", "a\r\nb", "a\0b", "a\x7fb", "a\xe4b", "")),
        *((f"a value {value!r}", answer(("a", value)) + data(S, b"bad", True), GATEWAY, MALFORMED)
          for value in ("b\rc", "b\nc", "b\r\nc: d", "b\0c", " b", "b ", "b\t")),
        ("an upper case name in an interim answer", answer(("A", "b"), status="103") + FINE, GATEWAY, MALFORMED),
        ("an upper case name in a trailer", answer() + data(S, b"ok") + headers(S, ("A", "b")), CUT, MALFORMED),
        ("a CR/LF in a trailer", answer() + data(S, b"ok") + headers(S, ("a", "b\r\nc")), CUT, MALFORMED))
section("8.2.2",
        *((f"{name}: {value}", answer((name, value)) + data(S, b"bad", True), GATEWAY, MALFORMED) for name, value in (
            ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"), ("upgrade", "websocket"))))
section("8.3",
        ("a pseudo-header field behind another", headers(S, ("a", "b"), (":status", "200")), GATEWAY, MALFORMED),
        ("one that nobody knows", answer((":what", "b"), end=True), GATEWAY, MALFORMED),
        ("one of a request", answer((":path", "/"), end=True), GATEWAY, MALFORMED),
        ("two of :status", answer((":status", "200"), end=True), GATEWAY, MALFORMED),
        ("one in a trailer", answer() + data(S, b"ok") + headers(S, (":status", "200")), CUT, MALFORMED))
section("8.3.2",
        ("no :status", headers(S, ("a", "b")), GATEWAY, MALFORMED),
        *((f":status: {value!r}", answer(status=value, end=True), GATEWAY, MALFORMED)
          for value in ("", "20", "2000", "two", "+20", "200 OK")))
section("8.6", ("101 Switching Protocols", answer(status="101", end=False) + data(S, b"bad", True), GATEWAY, MALFORMED))
section("10.5.1",
        ("fields of 2 MB", lambda peer: peer.send(
            answer(done=False), *(frame(CONTINUATION, 0, S, block(("a", "b" * 16000))) for _ in range(128)),
            frame(CONTINUATION, 4, S)), GONE, either(CALM, P, "CANCEL")),
        ("10000 fields", lambda peer: peer.send(
            answer(done=False), *(frame(CONTINUATION, 0, S, block(("a", "b")) * 2000) for _ in range(5)),
            frame(CONTINUATION, 4, S)), GONE, either(CALM, P, "CANCEL")))


# ---- the server ------------------------------------------------------------------------------------------

class Speaker(Peer):
    """Says a case on the stream that asks for it."""
    asked, case = S, None

    def send(self, *pieces):
        return super().send(*(piece.replace(u32(S), u32(self.asked)) for piece in pieces))

    def note_headers(self, got):
        super().note_headers(got)
        if self.faults or self.header:
            return
        path = self.stream(got.stream).field(b":path", 0)
        if path == "/next":
            self.send(headers(got.stream, (":status", "200"), end=False), data(got.stream, b"ok", True))
        elif path == "/lie":
            self.send(answer(("content-length", "1"), number=got.stream), data(got.stream, b"ok", True))
        elif path == "/quit":
            self.sock.close()
        elif path == "/done":
            os._exit(0)
        elif not self.case:
            self.asked, self.case = got.stream, CASES[int(path[1:])]
            self.say()

    def say(self):
        if self.case.section == "3.4":  # it has been said
            return
        if callable(self.case.says):
            self.case.says(self)
        else:
            self.send(self.case.says)

    def outcome(self):
        stream = self.stream(self.asked)
        if self.goaway not in (None, "NO_ERROR"):
            return f"connection {self.goaway}"
        return f"stream {stream.reset}" if stream.reset else "nothing"


def answer_badly(sock):
    peer = Speaker(sock, server=True)
    while peer.read():
        pass
    met = peer.outcome()
    for fault in peer.faults:
        print("at the server:", peer.case and peer.case[:2], fault, file=sys.stderr, flush=True)
    if peer.case and met not in peer.case.server and not {"connection none", "nothing"} <= {met, *peer.case.server}:
        print(f"{peer.case.section} {peer.case.name}: the server wanted {' or '.join(peer.case.server)}, met {met} "
              f"({peer.closed})", file=sys.stderr, flush=True)


def greet_badly(case):
    def greet(sock):
        peer = Speaker(sock, server=True, greet=False)
        peer.case = case
        peer.send(case.says)
        if not case.says:
            return
        while peer.read():
            pass
        met = f"connection {peer.goaway or 'none'}"
        if met not in case.server:
            print(f"{case.section} {case.name}: the server wanted {' or '.join(case.server)}, met {met}", file=sys.stderr)
    return greet


# ---- the client ------------------------------------------------------------------------------------------

def outcome(peer):
    """None: not yet."""
    stream = peer.stream(1)
    if not stream.over and not peer.closed:
        return None
    status = stream.status
    if stream.ended:
        return f"answer {status}"
    if not stream.reset and peer.goaway and peer.last < 1:
        return "left out"
    ended = f"stream {stream.reset}" if stream.reset else "connection" if peer.goaway else "cut"
    return (f"{status}, " if status else "") + ended


def act(number, case, port, tls):
    faults = []
    with connect(port, tls) as sock:
        here = cookie(sock)
        peer = Peer(sock, generous="past the window" not in case.name)
        peer.send(headers(1, *head(f"/{number}")))
        peer.until(lambda: outcome(peer))
        met, stream = outcome(peer), peer.stream(1)
        if met not in case.client:
            faults.append(f"the client wanted {' or '.join(case.client)}, met {met} {stream.heads}")
        if b"bad" in stream.data and stream.status == "200" or met == "answer 200" and stream.data not in (b"ok", b""):
            faults.append(f"it has come to the client: {bytes(stream.data)}")
        if not any(fault.startswith("connection") for fault in case.server) and not peer.goaway:
            following = peer.ask(3, *head("/next"))
            if following.status != "200":
                faults.append(f"the neighbour is met with {following.status or following.reset or peer.goaway}")
    name = f"{case.section} {case.name}{' (plain)' if not tls else ''}"
    for fault in faults + peer.faults:
        print(f"{name}: {fault}", file=sys.stderr, flush=True)
    return here, name, met, not {"nothing", "connection none"} & set(case.server)


LATE = "faults behind the heads of answers, among good ones, and the connection's end"
LATE_ASKS = {1: "/lie", 3: "/next", 5: "/lie", 7: "/next", 9: "/quit"}


def late(port, tls):
    with connect(port, tls) as sock:
        here = cookie(sock)
        peer = Peer(sock)
        for number, path in LATE_ASKS.items():
            peer.send(headers(number, *head(path)))
            peer.until(lambda: peer.closed or peer.stream(number).over)
    return here, LATE, None, True


def late_told(close, streams):
    """One stream's fault is no other's."""
    told = [(streams[number].get("code"), streams[number].get("error")) for number in LATE_ASKS]
    return close.get("error", "").startswith("the upstream's HTTP/2: ") and told == 4 * [(200, None)] + [
        (None, "the server closed without an answer")]


def guarded(number, case, port, tls):
    try:
        return act(number, case, port, tls)
    except (OSError, ValueError) as error:
        return print(f"{case.section} {case.name}: {error!r}", file=sys.stderr, flush=True)


def client(path, tls, plain, *rude):
    only = os.environ.get("ONLY", "")
    rude = iter(rude)
    jobs = []
    for number, case in enumerate(CASES):
        ports = ((next(rude) if case.section == "3.4" else tls, True), (plain, False))
        if case.section[0] in "38":  # what answers say is the same on a plain port
            ports = ports[:1]
        jobs += ((number, case, *port) for port in ports if only in f"{case.section} {case.name}")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        went = list(pool.map(lambda job: guarded(*job), jobs))
    if not only:
        went += [late(tls, True), late(plain, False)]
    with open(path, "w", encoding="utf-8") as file:
        json.dump([one for one in went if one], file)
    Peer(connect(tls, True)).ask(1, *head("/done"))
    print(len(jobs), "cases")


def check(path, events_path):
    """Each fault is told with its reason, and whose it was."""
    closes, streams = told_of(events_path, "process_close"), told_of(events_path, "process_http")
    with open(path, encoding="utf-8") as file:
        went = json.load(file)
    wrong = 0
    for here, name, met, faulty in went:
        stream, close = streams.get((here, 1)), closes.get((here, None), {})
        told = (stream or {}).get("error", "") + close.get("error", "")
        right = faulty == ("the upstream's HTTP/2: " in told) and "the program's" not in told
        if "leaves it out" in name:
            right &= told == "the upstream did not take the request: REFUSED_STREAM"
        if name == LATE:
            right = late_told(close, {number: streams.get((here, number), {}) for number in LATE_ASKS})
        if not right or stream is None and not name.startswith("3.4"):
            wrong += 1
            print(f"{name}: met {met}, told {close.get('error')} {stream}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        print(serve(*listen(*sys.argv[2:]), answer_badly), serve(*listen(), answer_badly), *(
            serve(*listen(*sys.argv[2:]), greet_badly(case)) for case in CASES if case.section == "3.4"), flush=True)
        time.sleep(3600)
    elif sys.argv[1] == "client":
        client(sys.argv[2], *(int(port) for port in sys.argv[3:]))
    else:
        check(*sys.argv[2:])
