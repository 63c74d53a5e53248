"""Whether each request was told, once: kernel_handover_judge.py CONNECTIONS EVENTS LOST [DEATHS]

CONNECTIONS is what kernel_handover.py has written. What is missing of a connection must be told with its close, as bytes that
were lost, or be among LOST bytes that agents count. DEATHS has a line for each agent that was killed: from when to when (boot clock) it was
alive: what it knew and had not told is lost with it, so of connections that lived then only the order is looked at. """
import calendar, collections, json, re, sys, time

REQUEST = 40  # bytes, at least
SLACK = 20 * 10**6  # the clocks are read one after the other
OFF = max(time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME) for _ in range(9))
connections = {}
for line in open(sys.argv[1]):
    one = json.loads(line)
    connections[one["paths"][0].rsplit("-", 1)[0]] = one
lives = [tuple(map(int, line.split())) for line in open(sys.argv[4])] if len(sys.argv) > 4 else []
lost_bytes = int(sys.argv[3])
faults, shown = collections.Counter(), []
events = collections.defaultdict(list)  # by port: what was told, in order
for line in open(sys.argv[2]):
    all_ = json.loads(line)
    for kind, event in all_.items():
        if kind == "lost_events":
            faults["lost events"] += 1
            shown.append(line)
        if kind in ("process_connect", "process_http", "process_close") and event["route"] == "kernel":
            event["time"] = all_["time"]
            events[event["socket"]["sport"], event["socket"]["cookie"]].append((kind, event))

told, closed = collections.defaultdict(list), {}


def fault(what, about):
    faults[what] += 1
    if faults[what] <= 3:
        shown.append(f"{what}: {json.dumps(about)[:1500]}")


def when(text):
    second = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    return second * 10**9 + int(text[20:-1].ljust(9, "0")) - OFF


def short(event):
    return {key: event.get(key) for key in ("socket", "visibility", "error", "path", "code", "stream")}


for key, list_ in events.items():
    name, close = None, None
    for kind, event in list_:
        if kind == "process_close":
            if close:
                fault("closed twice", short(event))
            close = event
            continue
        if close and kind == "process_http":
            fault("told behind its close", short(event))
        if kind == "process_http" and not event.get("path"):
            if not lives:  # who was killed may have read its request
                fault("an answer to nothing", short(event))
        elif kind == "process_http":
            event["at"] = when(event.pop("time"))
            name = event["path"].rsplit("-", 1)[0]
            told[event["path"]].append(event)
    if name:
        closed[name] = close

missing = answered = whole = 0
for name, one in connections.items():
    before = [path for path in one["paths"] if len(told[path]) > 1]
    if before:
        fault("told twice", before)
    if any(not one["begun"] - SLACK <= event["at"] <= one["closed"] + SLACK
           for path in one["paths"] for event in told[path]):
        fault("told of another time", one)
    if any(begun < one["closed"] and one["begun"] < ended for begun, ended in lives):
        continue
    whole += 1
    absent = [path for path in one["paths"] if not told[path]]
    answered += sum(1 for path in one["paths"] if told[path] and told[path][0].get("code") == 200)
    close = closed.get(name)
    if len(absent) < len(one["paths"]) and not close:
        fault("no close", one)
    elif close and not close.get("visibility"):
        fault("a close that does not say what was seen", short(close))
    elif close and not absent and close.get("error"):
        fault("a close with an error", short(close))
    if absent and not (close and re.search(r"\d+ bytes of the connection were lost", close.get("error", ""))):
        missing += len(absent)
        if len(shown) < 20:
            shown.append(f"not told: {len(absent)} of {len(one['paths'])}: {json.dumps(one)[:300]}")
requests = sum(len(one["paths"]) for one in connections.values())
print(f"{len(connections)} connections, {requests} requests; {whole} with all to be told, of whose requests "
      f"{missing} were not, {answered} with their answer; {lost_bytes} bytes counted as lost; {dict(faults)}")
if missing * REQUEST > lost_bytes:
    faults["neither told nor counted"] += missing
if faults:
    print("\n".join(shown))
sys.exit(1 if faults else 0)
