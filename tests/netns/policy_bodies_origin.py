#!/usr/bin/python3
"""A server that notes what it received of each request, to the last byte, and how it ended.

policy_bodies_origin.py PORT CERT KEY LOG: HTTP/1 and HTTP/2 over TLS. A line of LOG each:
PROTOCOL PATH whole|cut BODY, BODY quoted. /secret?ENCODING answers with a card in the body, /up?408
says that it will not wait for more with one in it; /ws is a
WebSocket that says what it heard; anything else says "fine". SIGTERM ends it.
"""
import asyncio
import base64
import hashlib
import ssl
import sys
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events

TEXT = b"name=jane&card=4111111111111111&more=of the same\n"
gzip = zlib.compressobj(wbits=31)
BODIES = {
    "": TEXT,
    "gzip": gzip.compress(TEXT) + gzip.flush(),
    "deflate": zlib.compress(TEXT),
    "br": bytes.fromhex("17300000c46decbb863fe8fa46c313541038e480fd3b459867126c8c5dc717a49b3f09ed5a53e02883e1dc5bc3452301"),
    "zstd": bytes.fromhex("28b52ffd203155010034026e616d653d6a616e6526636172643d3431266d6f72653d6f66207468652073616d650a010065b004"),
}
if sys.argv[1] == "--body":
    sys.stdout.buffer.write(BODIES[sys.argv[2]])
    sys.exit()
LOG = open(sys.argv[4], "a", buffering=1)


def note(protocol, path, end, body):
    print(protocol, path, end, repr(bytes(body))[2:-1], file=LOG)


def answer(path):
    """Header fields and body."""
    name, _, how = path.partition("?")
    if name != "/secret":
        return [], b"fine\n"
    fields = [("content-encoding", how)] if how in BODIES and how else []
    return fields, BODIES.get(how, TEXT)


async def read_body(reader, head, body):
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    if fields.get(b"transfer-encoding") == b"chunked":
        while line := await reader.readline(): # extensions and trailers count as body
            size, _, more = line.strip().partition(b";")
            body += more
            if not int(size or b"x", 16):
                break
            await exactly(reader, int(size, 16), body)
            await reader.readexactly(2)
        while line := (await reader.readuntil(b"\r\n"))[:-2]:
            body += line
    else:
        await exactly(reader, int(fields.get(b"content-length", 0)), body)


async def exactly(reader, size, body):
    while size:
        got = await reader.read(size)
        if not got:
            raise EOFError
        body += got
        size -= len(got)


async def websocket(reader, writer, head):
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    accept = base64.b64encode(hashlib.sha1(key[19:] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    deflate = b"\r\nSec-WebSocket-Extensions: permessage-deflate" if b"permessage-deflate" in head else b""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Accept: " + accept + deflate + b"\r\n\r\n")
    heard = bytearray()
    try:
        while True: # frames of less than 126 bytes, masked
            first, size, *mask = await reader.readexactly(6)
            heard += bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(size & 127)))
            if first & 0x80:
                writer.write(b"\x81\x02ok")
    except (OSError, asyncio.IncompleteReadError):
        note("ws", "/ws", "cut", heard)


async def http1(reader, writer):
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if path == "/ws":
            await websocket(reader, writer, head)
            return
        body, end = bytearray(), "whole"
        try:
            if b"/early" in head[:20]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n")
            await read_body(reader, head, body)
        except (EOFError, OSError, ValueError, asyncio.IncompleteReadError):
            end = "cut"
        note("h1", path, end, body)
        if end == "cut":
            return
        fields, says = answer(path)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        if path.endswith("?close"):
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + says)
            await writer.drain()
            return
        if path.endswith("?bytes"): # each in a record of its own
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(len(says)):
                writer.write(b"1\r\n%c\r\n" % says[i])
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif b"/early" not in head[:20]:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(says)}\r\n{lines}\r\n".encode() + says)
        if path.endswith("?408"):
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT)
        await writer.drain()


async def http2(reader, writer):
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    streams = {}
    conn.initiate_connection()
    writer.write(conn.data_to_send())
    while got := await reader.read(65536):
        for event in conn.receive_data(got):
            if isinstance(event, h2.events.RequestReceived):
                streams[event.stream_id] = (dict(event.headers)[b":path"].decode(), bytearray())
            elif isinstance(event, h2.events.DataReceived):
                streams[event.stream_id][1].extend(event.data)
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                streams[event.stream_id][1].extend(b"".join(value for _, value in event.headers))
            elif isinstance(event, h2.events.StreamReset):
                note("h2", streams[event.stream_id][0], "cut", streams[event.stream_id][1])
            elif isinstance(event, h2.events.StreamEnded):
                path, body = streams[event.stream_id]
                note("h2", path, "whole", body)
                fields, says = answer(path)
                conn.send_headers(event.stream_id, [(":status", "200"), *fields])
                conn.send_data(event.stream_id, says, end_stream=True)
        writer.write(conn.data_to_send())
        await writer.drain()


async def serve(reader, writer):
    speaks = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    try:
        await (http2 if speaks == "h2" else http1)(reader, writer)
    except (OSError, EOFError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), ssl=context)
    await server.serve_forever()


asyncio.run(main())
