"""A program that lets the kernel encrypt and decrypt: for each line, METHOD URL [BODY|- [TOKEN]], a request by a
connection of its own. It answers with the status, or what went wrong."""
import http.client, os, socket, sys, urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../netns"))
from kernel_ends import asks


def ask(method, url, body="-", token=None):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = asks(socket.create_connection((parts.hostname, parts.port)))
    connection.request(method, parts.path, None if body == "-" else body,
                       {"Authorization": "Bearer " + token} if token else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


for line in sys.stdin:
    try:
        print("ready" if line == "ready\n" else ask(*line.split()), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
