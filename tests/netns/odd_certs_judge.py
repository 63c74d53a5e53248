"""Was each client, steered, as well off as direct? odd_certs_judge.py CASES DIRECT STEERED EVENTS.

CASES is what odd_certs.py printed, DIRECT and STEERED what odd_certs_ask.py did. The measure is curl, with OpenSSL:
what it refuses no client is to be shown as good, what it takes each client that takes it direct is to take steered."""
import json
import os
import re
import sys


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


cases, (direct, steered) = lines(sys.argv[1]), [{(o["case"], o["client"]): o for o in lines(p)} for p in sys.argv[2:4]]
told = {}
for event in lines(sys.argv[4]):
    if tls := event.get("process_tls"):
        told.setdefault((tls["socket"]["dport"], tls["process"]["binary"].rsplit("/", 1)[-1]), []).append(tls)
faults, refused = [], 0
# where curl takes what OpenSSL's own check would not: underscores, closing dots, partial chains
PYTHON = os.path.basename(os.path.realpath(sys.executable))
LENIENT = re.compile(r"a_b|\.'|closing dot|^partial:")

for case in filter(None, cases):
    name, why = case["name"], case["opaque"]
    was, now = direct[name, "curl"], steered[name, "curl"]
    events = told.get((case["port"], "curl"), [])
    errors = [e["error"] for e in events if "error" in e]

    def fault(text):
        faults.append(f"{name}: {text}\n    direct: {was}\n    steered: {now}\n    told: {errors}")

    if was["ok"] != now["ok"]:
        fault("curl's outcome changed")
    elif was["ok"] and not case["staple"] and now["said"] != ("hello nobody" if case["unknown"] else was["said"]):
        fault("curl's answer changed")
    if len(events) != 1:
        fault(f"{len(events)} tls events of curl's")
    elif why != events[0].get("visibility_reason"):
        fault(f"opaque: wanted {why}, got {events[0].get('visibility_reason')}")
    if was["ok"] and errors:
        fault("told with an error although it went well")
    if case["staple"] and not was["ok"]:  # curl's own judgement
        if now["said"].split(")")[0] != was["said"].split(")")[0]:
            fault("curl judged the staple otherwise")
        if not any(re.search(case["reason"], e) for e in errors or [""]):
            fault(f"the reason does not match {case['reason']!r}")
    elif not was["ok"] and not why:
        refused += 1
        if not case["reason"] or not any(re.search(case["reason"], e) for e in errors):
            fault(f"the reason does not match {case['reason']!r}")
        # curl has words of its own for one of the alerts
        said = now["said"].replace("SSL certificate verification failed", "alert certificate expired")
        if not re.search(rf"alert.*({case['alert']})", said):
            fault(f"the alert is not {case['alert']!r}")
    for client, program in ("openssl", "openssl"), ("gnutls", "wget"), ("python", PYTHON):
        then, here = direct[name, client], steered[name, client]
        untouched = any("visibility_reason" in e for e in told.get((case["port"], program), []))
        if case["staple"]:
            if then["ok"] != here["ok"]:
                fault(f"{client} judged the staple otherwise: {then['said']} {here['said']}")
            continue
        if here["ok"] and not was["ok"] and not untouched:
            fault(f"{client} was shown as good what curl refuses")
        # s_client may leave before a TLS 1.3 server has refused it
        if client != "openssl" and was["ok"] and then["ok"] and not here["ok"]:
            fault(f"{client} refused what it takes direct: {here['said']}")
        if here["ok"] and not then["ok"] and not untouched and client != "gnutls" and not LENIENT.search(name):
            fault(f"{client}, direct, is stricter")

print(f"ok: {len(cases) - 1} cases, {refused} of them refused by curl")
if refused < 50 or not direct["good", "curl"]["ok"]:
    faults.append("too few are refused, or the good is: the origins are not what they should be")
sys.exit("\n".join(faults) or None)
