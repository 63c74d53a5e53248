"""ask.py UPLOAD NAME=URL...: a client by python3-h2, see ask.sh for what it prints."""
import hashlib
import socket
import ssl
import sys
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived


class Client:
    def __init__(self, url):
        self.at = urlsplit(url)
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection((self.at.hostname, self.at.port), 60)
        self.socket = context.wrap_socket(plain, server_hostname=self.at.hostname)
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.connection.initiate_connection()

    def say(self):
        self.socket.sendall(self.connection.data_to_send())

    def hear(self):
        got = self.socket.recv(65536)
        if not got:
            sys.exit("the server has gone")
        events = self.connection.receive_data(got)
        self.say()
        return events

    def ask(self, name, method, path, body=None):
        trailers_sent = body is not None and name != "nginx"
        head = [(":method", method), (":scheme", self.at.scheme), (":authority", self.at.netloc), (":path", path)]
        head += [("trailer", "x-sent")] if trailers_sent else []
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, head, end_stream=body is None)
        self.say()
        fields, got, trailers, left, done = {}, b"", {}, body, False
        while not done:
            if left is not None:
                left = self.send(stream, left, trailers_sent)
            for event in self.hear():
                if isinstance(event, ResponseReceived):
                    fields = dict(event.headers)
                elif isinstance(event, DataReceived):
                    got += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, TrailersReceived):
                    trailers = dict(event.headers)
                elif isinstance(event, StreamReset):
                    sys.exit(f"{name}: the stream was reset: {event.error_code}")
                elif isinstance(event, StreamEnded):
                    done = True
            self.say()
        digest = hashlib.sha256(got).hexdigest()[:16]
        print(name, method, fields[":status"], self.socket.selected_alpn_protocol(), len(got), digest, trailers.get("x-trailer", ""))

    def send(self, stream, body, trailers):
        """As much as fits; what is left of it, or None when its end is sent."""
        while body:
            window, frame = self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size
            size = min(window, frame, len(body))
            if size == 0:
                return body
            self.connection.send_data(stream, body[:size], end_stream=size == len(body) and not trailers)
            self.say()
            body = body[size:]
        if trailers:
            self.connection.send_headers(stream, [("x-sent", "it")], end_stream=True)
            self.say()
        return None


with open(sys.argv[1], "rb") as file:
    UPLOAD = file.read()
for server in sys.argv[2:]:
    its_name, its_url = server.split("=", 1)
    client = Client(its_url)
    client.ask(its_name, "GET", "/a?python")
    client.ask(its_name, "POST", "/post/python", UPLOAD)
