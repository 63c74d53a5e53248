"""WebSockets over HTTP/2 in TLS (RFC 8441), by python3-h2 on both sides.

http2_websocket.py origin CERT KEY   prints its port
http2_websocket.py client PORT       says all of it, on one connection
http2_websocket.py check EVENTS      holds what was told against what was said"""
import json
import socket
import ssl
import struct
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings

from http1_streams import BIG, CHAT, WELCOME, expect, frame, hold, read_frame

CONNECT_PROTOCOL = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL


class Peer:
    """One side of a connection, blocking."""

    def __init__(self, tls, client):
        self.tls = tls
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        if not client:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values={CONNECT_PROTOCOL: 1})
        self.h2.initiate_connection()
        self.heads, self.data, self.over = {}, {}, set()
        self.flush()

    def flush(self):
        self.tls.sendall(self.h2.data_to_send())

    def step(self):
        """One read; the streams that began with it. None: the end."""
        got = self.tls.recv(65536)
        if not got:
            return None
        begun = []
        for event in self.h2.receive_data(got):
            if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
                self.heads[event.stream_id] = dict(event.headers)
                begun.append(event.stream_id)
            elif isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.over.add(event.stream_id)
        self.flush()
        return begun

    def until(self, condition):
        while not condition():
            if self.step() is None:
                raise EOFError

    def send(self, stream, data, end=False):
        while data:
            self.until(lambda: self.h2.local_flow_control_window(stream) > 0)
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, data[:size])
            self.flush()
            data = data[size:]
        if end:
            self.h2.end_stream(stream)
            self.flush()


class Stream:
    """One stream as a file to read from."""

    def __init__(self, peer, stream):
        self.peer, self.stream = peer, stream

    def read(self, size):
        def enough():
            return len(self.peer.data.get(self.stream, b"")) >= size or self.stream in self.peer.over
        self.peer.until(enough)
        data = self.peer.data.get(self.stream, b"")
        self.peer.data[self.stream] = data[size:]
        return data[:size]


# ---- the origin ----

def echo(peer, stream):
    """Sends back each message that is whole; True when the stream is over."""
    source = Stream(peer, stream)
    while peer.data.get(stream):
        opcode, _, payload = read_frame(source)
        peer.send(stream, frame(opcode, payload), end=opcode == 8)
        if opcode == 8:
            return True
    return stream in peer.over


def serve(tls):
    peer, open_streams = Peer(tls, False), set()
    while True:
        begun = peer.step()
        if begun is None:
            return
        for stream in begun:
            head = peer.heads[stream]
            if head.get(":protocol") == "websocket" and head[":path"] != "/no":
                peer.h2.send_headers(stream, ((":status", "200"),))
                peer.send(stream, frame(1, WELCOME))
                open_streams.add(stream)
            else:
                peer.h2.send_headers(stream, ((":status", "403"),), end_stream=True)
                peer.flush()
        for stream in list(open_streams):
            if echo(peer, stream):
                open_streams.discard(stream)


def origin(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def one(plain):
        with context.wrap_socket(plain, server_side=True) as tls:
            serve(tls)

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


# ---- the client ----

def ask(peer, path):
    stream = peer.h2.get_next_available_stream_id()
    peer.h2.send_headers(stream, ((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
                                  (":path", path), (":authority", "localhost"), ("sec-websocket-version", "13")))
    peer.flush()
    peer.until(lambda: stream in peer.heads)
    return stream, peer.heads[stream][":status"]


def client(port):
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    peer = Peer(context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"), True)
    expect("h2", peer.tls.selected_alpn_protocol())
    peer.until(lambda: peer.h2.remote_settings.get(CONNECT_PROTOCOL))
    chat, status = ask(peer, "/chat?room=1")
    expect("200", status)
    reset, status = ask(peer, "/chat/reset")
    expect("200", status)
    for stream in (chat, reset):
        expect((1, True, WELCOME), read_frame(Stream(peer, stream)))
    for opcode, payload in ((1, b"hello"), (9, b"?"), (2, BIG)):
        peer.send(chat, frame(opcode, payload, mask=b"abcd"))
        expect((opcode, True, payload), read_frame(Stream(peer, chat)))
    peer.send(reset, frame(1, b"hello", mask=b"efgh"))
    expect((1, True, b"hello"), read_frame(Stream(peer, reset)))
    peer.h2.reset_stream(reset, error_code=8)
    peer.flush()
    expect("403", ask(peer, "/no")[1])
    peer.send(chat, frame(8, struct.pack("!H", 1000) + b"bye", mask=b"ijkl"), end=True)
    expect((8, True, struct.pack("!H", 1000) + b"bye"), read_frame(Stream(peer, chat)))
    peer.until(lambda: chat in peer.over)
    peer.h2.close_connection()
    peer.flush()
    peer.tls.close()


# ---- what was told ----

def check(path):
    told = {"process_http": [], "process_websocket": []}
    for line in map(json.loads, open(path)):
        for kind in line.keys() & told.keys():
            told[kind].append(line[kind])
    expect(["/chat/reset", "/chat"], [event["path"] for event in told["process_websocket"]])
    reset, chat = told["process_websocket"]
    hold(chat, dict(CHAT, request_messages="2", request_frames="4", request_bytes=str(5 + len(BIG)),
                    response_messages="3", response_frames="5",
                    response_bytes=str(5 + len(WELCOME) + len(BIG))), "HTTP/2")
    hold(reset, {"path": "/chat/reset", "stream": 3, "request_messages": "1", "response_messages": "2",
                 "error": "the program reset the stream: CANCEL"}, "HTTP/2")
    expect([("/chat", 200), ("/chat/reset", 200), ("/no", 403)],
           [(event["path"], event["code"]) for event in told["process_http"]])


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        origin(*sys.argv[2:])
    elif sys.argv[1] == "client":
        client(int(sys.argv[2]))
    else:
        check(*sys.argv[2:])
