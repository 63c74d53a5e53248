"""The scenes of http2_works.py that are about windows (RFC 9113 5.2, 6.9): credit goes where bytes went."""
import sys

sys.dont_write_bytecode = True
from h2scenes import *


@scene
def credit_goes_where_bytes_went(c):  # 8 MB into a server that takes nothing, and one that does
    c.send(headers(1, *head("/deaf", method="POST"), end=False))
    c.until(lambda: c.settings)
    c.body(1, bytes(8 << 20))
    sent = c.settles(lambda _: (8 << 20) - len(c.bodies.get(1, [b""])[0]))
    if not CREDIT <= sent <= 4 * CREDIT:
        raise Wrong(f"{sent} bytes were taken of the client")


@scene_with(generous=False)
def who_takes_nothing_stops_the_server(c):
    c.send(headers(1, *head(f"/big/{8 << 20}")))
    c.until(lambda: c.credit == 0)
    equal("came", CREDIT, len(c.stream(1).data))

    def waits(seen):
        c.give(0, len(c.stream(max(c.streams)).data))
        return seen["waits"]

    c.give(0, CREDIT)
    left = c.settles(waits)
    equal("came", CREDIT, len(c.stream(1).data))
    if not 0 < (8 << 20) - left <= 4 * CREDIT:
        raise Wrong(f"{(8 << 20) - left} bytes were taken of the server")


@scene_with((WINDOW, 0), generous=False)
def a_window_of_one_byte_at_a_time(c):
    c.send(headers(1, *head("/big/300")))
    for at in range(300):
        c.give(1, 1)
        c.until(lambda: len(c.stream(1).data) > at)
    c.answered(1, pattern(300))


@scene_with(generous=False)
def a_stream_that_stalls_beside_one_that_goes_on(c):
    c.give(0, 16 << 20)
    c.send(headers(1, *head(f"/big/{1 << 20}")), headers(3, *head(f"/big/{1 << 20}")))
    c.give(3, 2 << 20)
    c.answered(3, pattern(1 << 20))
    equal("of the one that stalls", CREDIT, len(c.stream(1).data))
    c.give(1, 2 << 20)
    c.answered(1, pattern(1 << 20))


@scene
def an_upload_that_stalls_beside_one_that_goes_on(c):
    c.send(headers(1, *head("/silent", method="POST"), end=False), headers(3, *head("/echo", method="POST"), end=False))
    c.body(3, pattern(1 << 20))
    c.answered(3, pattern(1 << 20))
    c.send(data(1, b"x", True))
    c.sees("ended", True, lambda seen: seen["streams"]["/silent"]["ended"])


@scene
def padding_is_given_credit_for(c):
    c.send(frame(HEADERS, PADDED | PRIORITISED | END_HEADERS, 1,
                 b"\xff" + u32(0) + b"\x0f" + block(*head("/echo", method="POST")) + bytes(255)))
    for _ in range(1000):
        c.until(lambda: min(c.may[0], c.may.get(1, CREDIT)) >= 257)
        c.may[0], c.may[1] = c.may[0] - 257, c.may.get(1, CREDIT) - 257
        c.send(frame(DATA, PADDED, 1, b"\xffx" + bytes(255)))
    c.send(data(1, b"", True))
    c.answered(1, 1000 * b"x")


@scene
def streams_that_were_reset_take_no_credit_with_them(c):
    for number in range(1, 61, 4):
        c.send(headers(number, *head(f"/big/{CREDIT * 2}")),
               headers(number + 2, *head("/cut/CANCEL/x", method="POST"), end=False))
        c.until(lambda: c.stream(number).data and c.stream(number + 2).over)
        c.until(lambda: c.may[0] >= 16384)
        c.may[0] -= 16384
        c.send(reset(number), data(number + 2, bytes(16384)))
    c.send(headers(101, *head("/echo", method="POST"), end=False))
    c.body(101, pattern(200000))
    c.answered(101, pattern(200000))
    c.ask(103, *head("/big/200000"))
    c.answered(103, pattern(200000))


@scene
def both_ways_at_once(c):
    body = pattern(3 << 20)
    c.send(headers(1, *head("/echo", method="POST"), end=False))
    c.body(1, body)
    c.send(headers(3, *head(f"/big/{3 << 20}")))
    c.answered(1, body)
    c.answered(3, body)


@scene_with(generous=False)
def a_window_that_gets_smaller_than_what_has_gone(c):  # RFC 9113 6.9.2: below 0
    c.give(0, 1 << 20)
    c.send(headers(1, *head("/big/200000")))
    c.until(lambda: len(c.stream(1).data) == CREDIT)
    c.send(settings((WINDOW, 10)), window(1, CREDIT))
    c.until(lambda: len(c.stream(1).data) > CREDIT)
    c.send(frame(PING, 0, 0, b"enough??"))
    c.until(lambda: c.pongs)
    equal("came", CREDIT + 10, len(c.stream(1).data))
    c.send(window(1, 200000))
    c.over(1)
    equal("body", pattern(200000), bytes(c.stream(1).data))
    c.faults.clear()  # of windows that it does not know to be smaller


@scene_with((WINDOW, 0), generous=False)
def a_window_that_settings_open(c):
    c.send(headers(1, *head("/big/1000")), headers(3, *head("/big/1000")))
    c.until(lambda: c.stream(1).heads and c.stream(3).heads)
    c.send(settings((WINDOW, 400)))
    c.until(lambda: len(c.stream(1).data) + len(c.stream(3).data) == 800)
    equal("came", (400, 400), (len(c.stream(1).data), len(c.stream(3).data)))
    c.send(settings((WINDOW, 1000)))
    c.over(1, 3)
    equal("bodies", (pattern(1000), pattern(1000)), (bytes(c.stream(1).data), bytes(c.stream(3).data)))
    c.faults.clear()  # of windows that it does not know to be open
