"""A program with connections that live: each line asks for one thing, and is answered by a line.

    open NAME URL     a connection; of https, one on which the kernel encrypts and decrypts (TLS 1.2)
    get NAME PATH     a request on it: the answer's code, or what went wrong
    begin NAME PATH   ... of which the answer's body waits
    finish NAME       ... until now: its length
    shut NAME
    load URL          threads that ask without end, each on such a connection
    rest              ends them: how many answers, and how many of something else
"""
import http.client, ssl, sys, threading, urllib.parse

OP_ENABLE_KTLS = 1 << 3
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2
connections, waiting, threads, counts = {}, {}, [], []
resting = threading.Event()


def connect(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.connect()
        connection.auto_open = 0  # one that is over is not made anew
        return connection
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.options |= OP_ENABLE_KTLS
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=60)
    connection.connect()
    for option in TLS_TX, TLS_RX:
        connection.sock.getsockopt(SOL_TLS, option, 4)  # fails where the kernel has no keys
    connection.auto_open = 0
    return connection


def get(connection, path):
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def ask_on(connection, path, count):
    while not resting.is_set():
        count[0 if get(connection, path) == 200 else 1] += 1


def load(url):
    for _ in range(4):
        counts.append([0, 0])
        path = urllib.parse.urlsplit(url).path
        threads.append(threading.Thread(target=ask_on, args=(connect(url), path, counts[-1])))
        threads[-1].start()


print("ready", flush=True)
for line in sys.stdin:
    what, *words = line.split()
    said = "ok"
    try:
        if what == "open":
            connections[words[0]] = connect(words[1])
        elif what == "get":
            said = get(connections[words[0]], words[1])
        elif what == "begin":
            connections[words[0]].request("GET", words[1])
            waiting[words[0]] = connections[words[0]].getresponse()
            said = waiting[words[0]].status
        elif what == "finish":
            said = len(waiting[words[0]].read())
        elif what == "shut":
            connections[words[0]].close()
        elif what == "load":
            load(words[0])
        elif what == "answers":
            said = sum(count[0] for count in counts)
        elif what == "rest":
            resting.set()
            for thread in threads:
                thread.join()
            said = f"{sum(count[0] for count in counts) > 0} {sum(count[1] for count in counts)}"
        else:
            continue
    except OSError as error:
        said = type(error).__name__
    print(said, flush=True)
