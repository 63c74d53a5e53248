"""What is right in HTTP/2, but rare, done by a client with frames made by hand: http2_works.py PORTS... [full]

The server is http2_works_origin.py. Tells on stderr what was not as it must be. Full: what takes a minute, too."""
import concurrent.futures
import os
import sys
import time
import traceback

sys.dont_write_bytecode = True
import h2frames
import http2_windows  # whose scenes are played, too
from h2scenes import *

MANY = 1000


@scene
def push_is_off_and_each_leg_has_settings_of_its_own(c):
    c.send(settings((0xabc, 1), (MAX_FRAME, 1 << 20)))
    seen = c.seen()["settings"]
    equal("ENABLE_PUSH", 0, seen.get(str(ENABLE_PUSH)))
    equal("what others do not know", None, seen.get(str(0xabc)))
    equal("SETTINGS_MAX_FRAME_SIZE", None, seen.get(str(MAX_FRAME)))


@scene
def trailers_both_ways(c):
    c.send(headers(1, *head("/echo", ("te", "trailers"), method="POST"), end=False), data(1, b"abc"), data(1, b"def"),
           headers(1, ("sum", "123"), ("more", "x")))
    c.answered(1, b"abcdef")
    equal("trailers", [(b"sum", b"123"), (b"more", b"x")], c.stream(1).heads[-1])


@scene
def trailers_without_a_body(c):
    c.send(headers(1, *head("/echo", method="POST"), end=False), headers(1, ("sum", "0")))
    c.answered(1, b"")
    equal("trailers", [(b"sum", b"0")], c.stream(1).heads[-1])


@scene
def interim_answers(c):
    c.ask(1, *head("/interim"))
    c.answered(1, b"ok")
    equal("heads", [[(b":status", b"100")], [(b":status", b"103"), (b"link", b"</a>")],
                    [(b":status", b"103"), (b"link", b"</b>")], [(b":status", b"200"), (b"a", b"b")]], c.stream(1).heads)


@scene
def connect(c):
    c.send(headers(1, (":method", "CONNECT"), (":authority", "other.test:80"), end=False))
    c.until(lambda: c.stream(1).heads)
    for piece in (b"one", b"two"):
        c.send(data(1, piece))
        c.until(lambda: piece in c.stream(1).data)
    c.send(data(1, b"three", True))
    c.answered(1, b"onetwothree")
    c.ask(3, *head("/echo"))
    c.answered(3, b"")


@scene_with(port="connect")
def extended_connect_to_what_nobody_knows(c):
    c.until(lambda: ENABLE_CONNECT in c.settings)
    c.send(headers(1, (":method", "CONNECT"), (":protocol", "what"), *head("/what")[1:], end=False), data(1, b"hi", True))
    c.answered(1, b"hi")


@scene_with(port="connect")
def extended_connect_where_the_server_announced_it(c):
    c.until(lambda: ENABLE_CONNECT in c.settings)
    equal("announced", 1, c.settings.get(ENABLE_CONNECT))
    c.send(headers(1, (":method", "CONNECT"), (":protocol", "websocket"), *head("/echo")[1:],
                   ("sec-websocket-version", "13"), end=False))
    c.until(lambda: c.stream(1).heads)
    c.send(data(1, b"\x81\x82\0\0\0\0hi"))
    c.until(lambda: b"hi" in c.stream(1).data)
    c.send(data(1, b"\x88\x80\0\0\0\0", True))
    c.answered(1, b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0")


@scene
def extended_connect_where_it_did_not(c):
    c.ask(1, *head("/"))
    equal("announced", None, c.settings.get(ENABLE_CONNECT))


@scene
def goaway_of_the_server_lets_streams_finish(c):
    c.send(*(headers(number, *head("/echo", method="POST"), end=False) + data(number, b"one") for number in (1, 3, 5)))
    c.until(lambda: all(c.stream(number).data for number in (1, 3, 5)))
    c.send(headers(7, *head("/leave/NO_ERROR")))
    c.until(lambda: c.goaway)
    equal("GOAWAY", ("NO_ERROR", 7), (c.goaway, c.last))
    c.answered(7, b"left")
    for number in (1, 3, 5):
        c.send(data(number, b"two", True))
    for number in (1, 3, 5):
        c.answered(number, b"onetwo")


@scene
def goaway_of_the_client_lets_streams_finish(c):
    c.send(headers(1, *head("/held/2")), headers(3, *head("/held/2")), goaway(0))
    c.answered(1, b"1")
    c.answered(3, b"3")


@scene
def goaway_of_the_client_with_a_code(c):
    c.send(headers(1, *head("/silent"), end=False), goaway(0, "INTERNAL_ERROR", b"words"))
    c.sees("GOAWAY", "INTERNAL_ERROR", lambda seen: seen["goaway"])


@scene
def goaway_of_the_server_with_a_code(c):
    c.ask(1, *head("/leave/ENHANCE_YOUR_CALM"))
    c.answered(1, b"left")
    equal("GOAWAY", ("ENHANCE_YOUR_CALM", 1), (c.goaway, c.last))


@scene
def ping_of_the_client_is_answered_by_the_server(c):
    c.ask(1, *head("/slowpong"))
    c.send(frame(PING, 0, 0, b"program!"))
    equal("the server's PINGs", 1, len(c.seen(3)["pings"]))
    equal("before it has answered", [], c.pongs)
    c.ask(5, *head("/pong"))
    c.until(lambda: c.pongs)
    equal("answered", [b"program!"], c.pongs)


@scene
def ping_of_the_server_is_answered_by_the_client(c):
    c.ask(1, *head("/ping"))
    c.answered(1, b"ok")
    equal("PINGs", 1, sum(got.kind == PING for got in c.frames))


@scene
def reset_of_the_client_behind_its_bytes(c):
    codes = CODES + ("255",)

    def at_the_origin(seen, *names):
        return [tuple(seen["streams"].get(f"/silent/{why}", {}).get(name) for name in names) for why in codes]

    for at, why in enumerate(codes):  # the first bytes wait for those at the origin: a request need not go on after its reset
        c.send(headers(2 * at + 1, *head(f"/silent/{why}", method="POST"), end=False), data(2 * at + 1, why.encode()))
    c.sees("bytes", [(why,) for why in codes], lambda seen: at_the_origin(seen, "data"))
    for at, why in enumerate(codes):
        c.send(data(2 * at + 1, b"."), reset(2 * at + 1, why))
    c.sees("codes", [(why + ".", why, False) for why in codes], lambda seen: at_the_origin(seen, "data", "reset", "ended"))


@scene
def reset_of_the_server_behind_its_bytes(c):
    for at, why in enumerate(CODES + ("255",)):
        stream = c.ask(2 * at + 1, *head(f"/cut/{why}/half"))
        equal(why, (why, b"half", "200"), (stream.reset, bytes(stream.data), stream.status))


@scene
def altsvc_and_origin_are_dropped(c):
    c.ask(1, *head("/altsvc"))
    c.answered(1, b"ok")
    c.seen()
    equal("they came", [], [got for got in c.frames if got.kind in (ALTSVC, ORIGIN)])


@scene_with(port="tls")  # a plain connection has no name
def another_authority_is_misdirected(c):
    c.send(headers(1, *head("/held/2")), headers(3, *head("/held/2", authority="other.test")),
           headers(5, *head("/up", authority="other.test", method="POST"), end=False), data(5, bytes(16384)),
           headers(7, *head("/held/2")))
    c.answered(1, b"1")
    c.over(3, 5, 7)
    equal("status", ["421", "421", "200"], [c.stream(number).status for number in (3, 5, 7)])
    c.send(data(5, bytes(16384), True))
    equal("what the server has seen", {"/held/2", "/seen"}, set(c.seen()["streams"]))
    c.until(lambda: c.window_back >= 32768, 5)
    equal("credit for what was dropped", True, c.window_back >= 32768)


@scene
def weights_reach_the_server(c):
    c.send(frame(HEADERS, 0x25, 1, u32(0) + bytes((219,)) + block(*head("/held/2"))),
           frame(HEADERS, 0x25, 3, u32(1) + bytes((21,)) + block(*head("/held/2", ("priority", "u=1, i")))))
    c.answered(3, b"3")
    seen = c.seen()
    equal("weights", [219, 21], [int(payload[8:], 16) for kind, payload in seen["priorities"] if kind == HEADERS])
    equal("priority", "u=1, i", dict(seen["streams"]["/held/2"]["heads"][0]).get("priority"))


@scene
def bodies_in_every_cut_with_padding(c):
    body = pattern(3000)
    c.send(headers(1, *head("/echo", method="POST"), end=False))
    at = 0
    for size in list(range(70)) + [580]:
        c.send(frame(DATA, PADDED, 1, bytes((size % 256,)) + body[at:at + size] + bytes(size % 256)))
        at += size
    c.send(data(1, body[at:], True))
    c.answered(1, body)
    c.ask(3, *head("/padded/300"))
    c.answered(3, pattern(300))


@scene
def frames_in_single_bytes(c):
    for byte in headers(1, *head("/echo", method="POST"), end=False) + data(1, b"hello", True):
        c.send(bytes((byte,)))
    c.answered(1, b"hello")


@scene
def a_thousand_streams_at_once(c):
    c.until(lambda: c.settings)
    equal("allowed", True, c.settings.get(MAX_STREAMS, 1 << 31) >= MANY)
    numbers = range(1, 2 * MANY, 2)
    c.send(*(headers(number, *head(f"/held/{MANY}")) for number in numbers))
    c.over(*numbers, patience=60)
    equal("answered", [("200", True)] * MANY, [(c.stream(n).status, c.stream(n).data.isdigit()) for n in numbers])


@scene_with(port="one")
def a_server_that_takes_one_stream_at_a_time(c):
    c.send(*(headers(number, *head(f"/{number}")) for number in range(1, 40, 2)))  # before it has said so
    c.over(*range(1, 40, 2))
    for number in range(1, 40, 2):
        if (c.stream(number).status, c.stream(number).reset) not in (("200", None), ("", "REFUSED_STREAM")):
            raise Wrong(f"stream {number} is met with {c.stream(number).status} {c.stream(number).reset}")
    equal("SETTINGS_MAX_CONCURRENT_STREAMS", 1, c.settings.get(MAX_STREAMS))
    for number in range(41, 80, 2):
        c.ask(number, *head(f"/{number}"))
        c.answered(number, b"/%d" % number)


@scene
def a_head_of_100_kB(c):
    fields = [(f"x-{n}", "v" * 1000) for n in range(96)]
    payload = block(*head("/echo", *fields))
    c.send(frame(HEADERS, END_STREAM, 1, payload[:16384]), *(
        frame(CONTINUATION, 0, 1, payload[at:at + 16384]) for at in range(16384, len(payload), 16384)),
        frame(CONTINUATION, END_HEADERS, 1))
    c.answered(1, b"")
    equal("fields", 100, len(c.seen()["streams"]["/echo"]["heads"][0]))


@scene_with((HEADER_TABLE_SIZE, 0))
def a_client_without_a_header_table(c):
    for number in (1, 3, 5):
        stream = c.ask(number, *head("/echo", ("x", "the same")))
        equal("x", "the same", stream.field(b"x"))
    equal("the table", 0, c.decoder.header_table_size)


@scene
def a_client_that_uses_its_header_table(c):
    encoder = hpack.Encoder()
    for number in range(1, 200, 2):
        c.send(frame(HEADERS, 5, number, encoder.encode([*head("/echo"), ("x", f"{number % 10}"), ("y", "z" * 200)])))
    c.over(*range(1, 200, 2))
    equal("x", [f"{n % 10}" for n in range(1, 200, 2)], [c.stream(n).field(b"x") for n in range(1, 200, 2)])


@scene
def fields_keep_their_order_and_crumbs(c):
    c.ask(1, *head("/echo", ("cookie", "a=1"), ("b", "2"), ("cookie", "c=3"), ("b", "1"), ("empty", "")))
    equal("fields", [["cookie", "a=1"], ["b", "2"], ["cookie", "c=3"], ["b", "1"], ["empty", ""]],
          c.seen()["streams"]["/echo"]["heads"][0][4:])


@scene
def host_in_place_of_authority(c):
    c.ask(1, (":method", "GET"), (":scheme", "https"), (":path", "/echo"), ("host", "localhost"))
    c.answered(1, b"")


@scene
def answers_without_a_body(c):
    c.ask(1, *head("/status/200", method="HEAD"))
    c.ask(3, *head("/status/304"))
    c.ask(5, *head("/bare/204"))
    c.ask(7, *head("/bare/205"))
    equal("status", ["200", "304", "204", "205"], [c.stream(n).status for n in (1, 3, 5, 7)])
    equal("content-length", "5", c.stream(1).field(b"content-length"))


@scene
def an_answer_before_the_request_is_whole(c):
    c.send(headers(1, *head("/early", method="POST"), end=False))
    c.body(1, bytes(200000), end=False)
    c.over(1)
    equal("early", ("413", b"too large"), (c.stream(1).status, bytes(c.stream(1).data)))
    c.ask(3, *head("/next"))
    c.answered(3, b"/next")


@scene
def an_answer_that_ends_with_its_head_before_the_request_is_whole(c):  # as gRPC servers refuse a call
    c.send(headers(1, *head("/only", method="POST"), end=False), data(1, b"x"))
    c.over(1)
    equal("answer", ("400", True), (c.stream(1).status, c.stream(1).ended))


@scene
def trailers_before_the_request_is_whole(c):  # as gRPC servers end a call
    c.send(headers(1, *head("/trailed", method="POST"), end=False), data(1, b"x"))
    c.over(1)
    equal("answer", ("200", b"ok", [(b"grpc-status", b"3")]), (
        c.stream(1).status, bytes(c.stream(1).data), c.stream(1).heads[-1]))


@scene
def an_answer_that_is_only_a_head_and_then_reset(c):
    c.send(headers(1, *head("/headed")))
    c.over(1)
    equal("answer", ("200", "INTERNAL_ERROR"), (c.stream(1).status, c.stream(1).reset))
    equal("heads", 2, len(c.stream(1).heads))


@scene
def an_answer_with_a_head_of_100_kB(c):
    c.ask(1, *head("/fields/96"))
    c.answered(1, b"ok")
    equal("fields", 97, len(c.stream(1).heads[0]))


@scene
def a_header_table_that_changes(c):
    for number, size in ((1, 4096), (5, 100), (9, 0), (13, 4096)):
        c.send(settings((HEADER_TABLE_SIZE, size)))
        for more in (0, 2):
            equal(f"x, with a table of {size}", "y" * 50, c.ask(number + more, *head("/echo", ("x", "y" * 50))).field(b"x"))
        equal("the table", True, c.decoder.header_table_size <= size)


@scene
def a_request_that_is_cut_is_not_seen_as_whole(c):
    name = f"/silent/{c.sock.getsockname()[1]}"
    with h2frames.connect(c.port, c.safe) as sock:
        other = Client(sock)
        other.send(headers(1, *head(name, method="POST"), end=False), data(1, b"some"))
        other.sees("bytes", "some", lambda seen: seen["streams"].get(name, {}).get("data"))
    c.sees("that it is gone", [False, 4], lambda seen: seen["gone"].get(name))


def ends_in_time(c):
    start = time.monotonic()
    c.until(lambda: c.closed, 90)
    if not 55 < time.monotonic() - start < 75:
        raise Wrong(f"it is closed after {time.monotonic() - start:.1f} s: {c.closed}")


@scene_with(port="tls", greet=False, polite=False, full=True)
def a_preface_that_stops(c):
    c.send(PREFACE[:10])
    ends_in_time(c)


@scene_with(port="tls", polite=False, full=True)
def a_head_that_stops(c):
    c.send(headers(1, *head("/x"), done=False))
    ends_in_time(c)


@scene_with(port="mute", full=True)
def a_server_that_says_nothing(c):
    c.send(headers(1, *head("/x")))
    ends_in_time(c)


def act(scene, port, tls):
    play, ours, how = scene
    name = f"{play.__name__}{'' if tls else ' (plain)'}"
    try:
        with h2frames.connect(port, tls) as sock:
            c = Client(sock, *ours, **{k: v for k, v in how.items() if k not in ("port", "full")})
            c.port, c.safe = port, tls
            play(c)
        return [f"{name}: {fault}" for fault in c.faults]
    except Wrong as wrong:
        return [f"{name}: {wrong}"]
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        return [f"{name}: {error!r} at {traceback.extract_tb(error.__traceback__)[1].line}"]


if __name__ == "__main__":
    only = os.environ.get("ONLY", "")
    ports = dict(zip(("tls", "plain", "connect", "one", "mute"), (int(port) for port in sys.argv[1:6])))
    jobs = []
    for one in SCENES:
        if one[2].get("full") and sys.argv[-1] != "full":
            continue
        own = one[2].get("port")
        jobs += ((one, ports[port], port != "plain") for port in ((own,) if own else ("tls", "plain"))
                 if only in one[0].__name__)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for faults in pool.map(lambda job: act(*job), jobs):
            for fault in faults:
                print(fault, file=sys.stderr, flush=True)
    Peer(h2frames.connect(ports["tls"], True)).ask(1, *head("/done"))
    print(len(jobs), "scenes")
