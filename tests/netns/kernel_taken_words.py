"""kernel_taken_words: what a program may say so that a server reads a request in it that we did not, or another one. @ is
the path that no rule allows, NEXT a request for it. Each is said in one go, so nothing of it is to arrive."""
from kernel_taken_pod import NAMED, ANSWERS, denied, dial, path

NEXT = b"GET @ HTTP/1.1\r\nHost: x\r\n\r\n"
GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /ok HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NAME, TENANT = b"Host: good.example\r\n", b"X-Tenant: a\r\n"
AT_NAME = b"GET /ok HTTP/1.1\r\n"

WORDS = {
    # ---- the request itself
    "plain": NEXT,
    "absolute_form": b"GET http://x@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "http_10": b"GET @ HTTP/1.0\r\n\r\n",
    "http_09": b"GET @\r\n",
    "http_12": b"GET @ HTTP/1.2\r\nHost: x\r\n\r\n",
    "http_20": b"GET @ HTTP/2.0\r\nHost: x\r\n\r\n",
    "lower_case": b"get @ http/1.1\r\nHost: x\r\n\r\n",
    "tabs": b"GET\t@\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "blank_first": b" " + NEXT,
    "empty_lines_first": b"\r\n\r\n\r\n" + NEXT,
    "dots": b"GET /ok/..@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded_dots": b"GET /ok/%2e%2e@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots_behind_semicolon": b"GET /ok;/..@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "backslash": b"GET /ok\\..@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": b"GET /ok#@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "two_slashes": b"GET //ok@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul_in_path": b"GET /ok\0@ HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul_first": b"\0" + NEXT,
    "nul_in_header": GET + b"X: \0\r\n\r\n" + NEXT,
    "two_hosts": b"GET /ok HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + NEXT,
    # ---- one behind another
    "pipelined": GET + b"\r\n" + NEXT,
    "pipelined_1000": (GET + b"\r\n") * 1000 + NEXT,
    "behind_close": GET + b"Connection: close\r\n\r\n" + NEXT,
    "behind_connect": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    "behind_upgrade": GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT,
    "behind_answer": b"HTTP/1.1 200 OK\r\n\r\n" + NEXT,
    "behind_continue": b"HTTP/1.1 100 Continue\r\n\r\n" + NEXT,
    # ---- how long a body is
    "length_0": POST + b"Content-Length: 0\r\n\r\n" + NEXT,
    "length_short": POST + b"Content-Length: 3\r\n\r\nabc" + NEXT,
    "two_lengths": POST + b"Content-Length: 90\r\nContent-Length: 0\r\n\r\n" + NEXT,
    "length_plus": POST + b"Content-Length: +90\r\n\r\n" + NEXT,
    "length_comma": POST + b"Content-Length: 90, 90\r\n\r\n" + NEXT,
    "length_2_64": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + NEXT,
    "length_blank": POST + b"Content-Length : 90\r\n\r\n" + NEXT,
    "length_underscore": POST + b"Content_Length: 90\r\n\r\n" + NEXT,
    "length_folded": POST + b"Content-Length:\r\n 90\r\n\r\n" + NEXT,
    "length_and_chunked": POST + b"Content-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "chunked_and_length": CHUNKED[:-2] + b"Content-Length: 90\r\n\r\n0\r\n\r\n" + NEXT,
    "coding_xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding_identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + NEXT,
    "coding_gzip": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding_vt": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding_http_10": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + NEXT,
    "chunks": CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + NEXT,
    "chunk_extension": CHUNKED + b"3;a=b\nabc\r\n0\r\n\r\n" + NEXT,
    "chunk_extension_lf": CHUNKED + b"3;\nxx\r\n80\r\n0\r\n\r\n" + NEXT + b"A" * 90,
    "chunk_quoted": CHUNKED + b'3;a="\r\n0\r\n\r\n' + NEXT,
    "chunk_negative": CHUNKED + b"ffffffffffffffff\r\n" + NEXT,
    "chunk_17_digits": CHUNKED + b"10000000000000000\r\n" + NEXT,
    "chunk_0x": CHUNKED + b"0x40\r\n" + NEXT,
    "chunk_blank": CHUNKED + b"40 \r\n" + NEXT,
    "chunk_without_end": CHUNKED + b"3\r\nabcXX0\r\n\r\n" + NEXT,
    "trailer_length": CHUNKED + b"0\r\nX: y\r\nContent-Length: 90\r\n\r\n" + NEXT,
    "trailer_lf": CHUNKED + b"0\r\nX: y\n\n" + NEXT + b": z\r\n\r\n",
    # ---- where a line ends
    "folded": GET + b"X: y\r\n \r\n\r\n" + NEXT,
    "bare_lf": (GET + b"\r\n" + NEXT).replace(b"\r", b""),
    "bare_lf_in_head": GET + b"X: a\n\n" + NEXT,
    "bare_cr": GET + b"X: a\r\r" + NEXT.replace(b"\n", b"") + b"\r\n\r\n",
    # ---- another protocol, or what pretends to be one
    "h2_prior_knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + NEXT,
    "h2_settings": b"\0\0\0\4\0\0\0\0\0" + NEXT,
    "opaque": b"\1\2\3 hello\r\n" + NEXT,
    "ssl_2": b"\x80\x2e\1\3\1" + NEXT,
    "record_then_text": b"\x16\3\1\0\5AAAAA" + NEXT,
    "record_of_text": b"\x16\3\1\0\x80" + NEXT + b"A" * 90,
    "record_change": b"\x14\3\3\0\x80" + NEXT + b"A" * 90,
    "record_data": b"\x17\3\3\0\x35\r\n" + NEXT + b"A" * 90,
    "record_finished": b"\x16\3\1\0\1A\x17\3\3\0\x35" + NEXT + b"A" * 90,
    "record_finished_longer": b"\x16\3\1\0\1A\x17\3\3\0\x45" + NEXT + b"A" * 90,
}

AT_NAMED = {  # where the name good.example and X-Tenant: a are wanted
    "name_wanted": AT_NAME + b"Host: @\r\n" + TENANT + b"\r\n",
    "name_absolute": b"GET http://good.example@ HTTP/1.1\r\nHost: x\r\n" + TENANT + b"\r\n",
    "name_absolute_other": b"GET http://bad.example/ok HTTP/1.1\r\n" + NAME + TENANT + b"X: @\r\n\r\n",
    "name_in_host_only": b"GET http://bad.example@ HTTP/1.1\r\n" + NAME + TENANT + b"\r\n",
    "name_twice": AT_NAME + NAME + b"Host: @\r\n" + TENANT + b"\r\n",
    "name_folded": AT_NAME + b"Host: good.example\r\n @\r\n" + TENANT + b"\r\n",
    "name_with_user": AT_NAME + b"Host: good.example@x\r\n" + TENANT + b"X: @\r\n\r\n",
    "header_missing": AT_NAME + NAME + b"X: @\r\n\r\n",
    "header_other": AT_NAME + NAME + b"X-Tenant: @\r\n\r\n",
    "header_longer": AT_NAME + NAME + b"X-Tenant: a@\r\n\r\n",
    "header_blank": AT_NAME + NAME + b"X-Tenant : a\r\nX: @\r\n\r\n",
    "header_in_trailer": b"POST /ok HTTP/1.1\r\n" + NAME + b"Transfer-Encoding: chunked\r\nX: @\r\n\r\n0\r\n" + TENANT + b"\r\n",
}
WORDS.update(AT_NAMED)


def say(text):
    port = NAMED if text in AT_NAMED.values() else ANSWERS
    dial(port).sendall(text.replace(b"@", path()))




def header_and_name():
    sock = dial(NAMED)
    status = sock.ask(AT_NAME + NAME + TENANT + b"\r\n")
    try:
        sock.sendall(denied())
    except PermissionError:
        status += "_EACCES"
    return status
