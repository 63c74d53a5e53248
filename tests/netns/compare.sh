#!/usr/bin/env bash
# Promise: `compare` runs a command on every route, each round each route once, and tells side by side what
# was seen and what it took, as a table, as JSON and as a page that needs nothing else; a route that this
# kernel does not carry, or on which the command fails, is a row that says why. Nothing is left behind,
# also when it is interrupted.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port plain <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$plain"
start_nginx
echo hello >"$T/www/hello"
note_leftovers "$T/before"

# compare STATUS [OPTION... --] CMD...: into $T/out, $T/page.html, $T/report.json, with the servers' root trusted
compare() {
    local wanted=$1
    shift
    expect_status "compare $*" "$wanted" clean SSL_CERT_FILE="$T/ca.pem" "$SALLYPORT" compare --loopback --ports all \
        --html "$T/page.html" --json "$T/report.json" "$@" >"$T/out" 2>"$T/client.err"
}
report() { jq -r "$1" "$T/report.json"; }

# ---- the routes -------------------------------------------------------------------

# once by TLS and once in the clear; each run is in a cgroup of its own. The last word means no good.
cat >"$T/ask" <<'SH'
curl -sS -o /dev/null -o /dev/null -w '%{http_code}\n' "https://127.0.0.1:$1/hello" "http://127.0.0.1:$2/hello" >>"$3" &&
    sed -n 's/^0:://p' /proc/self/cgroup >>"$3.cgroups"
echo "to stdout"; read -r line; [ -z "$line" ]
SH
compare 0 --rounds 1 -- bash "$T/ask" "$port" "$plain" "$T/answers" "<script>&\"$(printf '\033[2J')" </dev/zero
expect_eq "stderr" "" "$(cat "$T/client.err")"
# a round and one to warm up, on four routes, two requests each
expect_eq "answers" "16 200" "$(sort "$T/answers" | uniq -c | xargs)"
expect_eq "cgroups, one a run" 8 "$(sort -u "$T/answers.cgroups" | grep -c '/sallyport-')"
expect_eq "rows" "direct passthrough proxy kernel" "$(report '[.rows[].route] | join(" ")')"
expect_eq "what the proxy saw" "1 2 request 2" \
    "$(report '.rows[2] | "\(.rounds) \(.requests_seen) \(.latency_of) \(.seen.hosts["127.0.0.1"])"')"
expect_eq "of which connections" "plaintext terminated, TLS1.3" \
    "$(report '.rows[2].seen | "\(.visibility | keys | join(" ")), \(.tls | keys[0] | split(" ")[0])"')"
expect_eq "what passthrough saw" "1 0 command" "$(report '.rows[1] | "\(.rounds) \(.requests_seen) \(.latency_of)"')"
# what curl encrypts by itself is not readable there; where the kernel carries nothing the row says why
can=$(sallyport probe -o json | jq -r .kernel_route)
if [ "$can" = none ]; then
    expect_grep "why nothing of the kernel is there" . <(report '.rows[3].unavailable // empty')
else
    expect_eq "what the kernel saw" "opaque plaintext 1" \
        "$(report '.rows[3] | "\(.seen.visibility // {} | keys | join(" ")) \(.requests_seen) \(.unavailable // "")"' | xargs)"
fi
expect_eq "rows that lack a figure" "" \
    "$(report '.rows[] | select(.rounds > 0) | select([.p50_us, .p99_us, .wall_us, .cpu_us] | any(. <= 0)) | .route')"
expect_eq "whose CPU is counted" "0 true" "$(report '"\(.rows[0].cpu_us_agent) \(.rows[2].rss_kb > 1000)"')"
expect_eq "encryptions of a byte, for one of direct" "1 3" \
    "$(report '.rows[0].encryptions as $one | .rows[1:3] | map(.encryptions / $one | round) | join(" ")')"
expect_grep "the table" "^proxy +2 of 2 " "$T/out"
expect_grep "the verdict" "^The proxy saw all 2 requests; .* one round can show" "$T/out"
expect_no_grep "what the command says" 'to stdout' "$T/out"
echo "ok: the routes"

# ---- the page -------------------------------------------------------------------------

/usr/bin/python3 - "$T/page.html" <<'PY'
import html.parser, sys

class Page(html.parser.HTMLParser):
    stack, seen, words = [], {}, ""
    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br"):
            self.stack.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        for name, value in attrs:
            assert name not in ("src", "href") and not name.startswith("on"), (tag, name, value)
    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, tag
    def handle_data(self, data):
        self.words += data

page, text = Page(), open(sys.argv[1], encoding="utf-8").read()
page.feed(text)
page.close()
assert not page.stack, page.stack
assert "script" not in page.seen and page.seen["svg"] == 3, page.seen
assert '"<script>&\\"\\x1b[2J"' in page.words, page.words
assert "\x1b" not in text
PY
echo "ok: the page"

# ---- a policy's route ------------------------------------------------------------------

cat >"$T/route.yaml" <<'POLICY'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: route}
spec: {route: proxy}
POLICY
compare 0 --rounds 1 --policy "$T/route.yaml" -- curl -sS -o /dev/null "http://127.0.0.1:$plain/hello"
expect_eq "a policy's route" "its connections took the route 'proxy' instead proxy" \
    "$(report '"\(.rows[1].unavailable) \(.rows[2].seen.routes | keys | join(" "))"')"
echo "ok: a policy's route"

# ---- what goes wrong ----------------------------------------------------------------

# the root is trusted by us alone, so direct and passed through, curl refuses the server
expect_status "a command that fails on some routes" 1 sallyport compare --loopback --ports all --rounds 1 \
    --upstream-ca "$T/ca.pem" -o json -- curl -sS "https://127.0.0.1:$port/hello" >"$T/report.json" 2>"$T/client.err"
expect_eq "who failed, and how" "direct 60 passthrough 60" \
    "$(report '[.rows[:3][] | select(.error) | .route, .exit_status] | map(tostring) | join(" ")')"
expect_grep "in curl's own words" 'SSL certificate' <(report '.rows[0].error')
expect_eq "the proxy's row" 1 "$(report '.rows[2].requests_seen')"
expect_eq "its verdict" "The proxy saw the one request." "$(report '.verdict[2]')"
expect_status "no place for the page" 1 sallyport compare --html "$T/nowhere/page" -- touch "$T/ran" 2>"$T/client.err"
expect_grep "which one" "^sallyport: $T/nowhere/page: No such file" "$T/client.err"
[ ! -e "$T/ran" ] || fail "the command ran for a report that cannot be written"
expect_status "a full disk, and a command that is not there" 1 \
    clean sh -c '"$0" compare --json "$1" -- no-such-command >/dev/full' "$SALLYPORT" "$T/report.json" 2>"$T/client.err"
expect_grep "that it is full" 'No space left' "$T/client.err"
expect_eq "who failed, and how" "127 no-such-command: No such file or directory" \
    "$(report '.rows | map("\(.exit_status) \(.error)") | unique | join(" ")')"
expect_status "not root" 1 clean setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$(install -D -m 755 "$SALLYPORT" "$T/open/sallyport" && echo "$T/open/sallyport")" compare -- true 2>"$T/client.err"
expect_eq "sentences about it" 1 "$(wc -l <"$T/client.err")"

for wrong in --no-such-option "-o compact" "--rounds 0" "--rounds 51" "--agent" "--route proxy" "--events-file f"; do
    # shellcheck disable=SC2086 # two words
    expect_status "compare $wrong" 2 sallyport compare $wrong -- true >"$T/out" 2>"$T/client.err"
    expect_eq "standard output of compare $wrong" 0 "$(wc -c <"$T/out")"
done
expect_status "compare without a command" 2 sallyport compare 2>"$T/client.err"
expect_status "--help" 0 sallyport compare --help >"$T/out"
expect_grep "--help" '[-]-rounds N' "$T/out"

# ---- interrupted ----------------------------------------------------------------------

for signal in INT TERM; do
    rm -f "$T/runs" "$T/page.html"
    env --default-signal=INT "${CLEAN[@]}" "$SALLYPORT" compare --html "$T/page.html" -- \
        sh -c "echo \$\$ >>'$T/runs'; exec sleep 1000" >"$T/out" 2>"$T/client.err" &
    PIDS+=("$!")
    wait_for 20 test -s "$T/runs"
    kill -$signal "${PIDS[-1]}"
    expect_status "compare after SIG$signal" $((128 + $(kill -l $signal))) wait "${PIDS[-1]}"
    expect_eq "runs after it" 1 "$(wc -l <"$T/runs")"
    dead "$(cat "$T/runs")" || fail "the command still runs after SIG$signal"
    [ ! -e "$T/page.html" ] || fail "half a page was left"
done
expect_leftovers "$T/before"
