"""h2scenes: what the scenes of http2_works.py share. A scene is a function that a Client is given, on a connection of
its own to http2_works_origin.py, by TLS and again without."""
import json
import sys
import time

sys.dont_write_bytecode = True
from h2frames import *
from http2_works_origin import pattern

CREDIT = 65535  # a window as it is unless something is said
SCENES = []


class Wrong(Exception):
    pass


def equal(what, wanted, got):
    if wanted != got:
        raise Wrong(f"{what}: wanted {wanted!r:.300}, got {got!r:.300}")


class Client(Peer):
    def over(self, *numbers, patience=PATIENCE):
        if not self.until(lambda: all(self.stream(n).over for n in numbers), patience):
            left = [n for n in numbers if not self.stream(n).over]
            raise Wrong(f"{len(left)} streams are not over, {left[:5]}; {self.goaway} {self.closed} "
                        f"{len(self.stream(left[0]).data)} bytes of the first")

    def answered(self, number, body, status="200"):
        self.over(number)
        stream = self.stream(number)
        equal(f"stream {number}", (status, None), (stream.status, stream.reset))
        equal(f"body of stream {number}", body, bytes(stream.data))

    def seen(self, number=99001):
        self.ask(number, *head("/seen"))
        self.over(number)
        stream = self.stream(number)
        equal("/seen", "200", stream.status)
        return json.loads(stream.data)

    def sees(self, what, wanted, of):
        """The server sees this, sooner or later: streams do not wait for each other."""
        number, deadline = 90001, time.monotonic() + PATIENCE
        while (got := of(self.seen(number))) != wanted and time.monotonic() < deadline:
            number += 2
        equal(what, wanted, got)

    def settles(self, figure):
        """What figure says of /seen, once five more requests have come back and it was the same: a pause of the machine's
        keeps them waiting, too."""
        number, got, same, deadline = 70001, None, 0, time.monotonic() + PATIENCE
        while same < 5:
            if time.monotonic() > deadline:
                raise Wrong(f"it does not settle: {got}")
            before, got = got, figure(self.seen(number))
            same = same + 1 if got == before else 0
            number += 2
            time.sleep(0.1)
        return got


def scene(act, *ours, **how):
    SCENES.append((act, ours, how))
    return act


def scene_with(*ours, **how):
    return lambda act: scene(act, *ours, **how)
