#!/usr/bin/env bash
# Promise: programs of every make trust us without a word: with nothing in their environment but PATH
# and HOME they fetch from a server whose root is in the pod's bundle alone, print what they print
# direct, and are seen. Their own trust stays what it was. Those that cannot be reached refuse us, and
# the event says so. deploy/RUNTIMES.md is what was seen here: --write makes it anew.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

# shellcheck source=/dev/null
[ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] || skip "RUNTIMES.md is of Debian 12's programs"
ROOT=$(realpath "$HERE/../..")
CACHE=$ROOT/build/cache/runtimes
"$HERE/runtimes/fetch" "$CACHE" 9>&- || skip "there is no Node.js to compare"

# shellcheck source=runtimes/rows.sh
. "$HERE/runtimes/rows.sh"

# ---- the servers, and what the pod trusts ---------------------------------------------------------------

make_ca ca
make_ca own
make_cert site ca DNS:site.test
make_cert private own DNS:own.test
openssl x509 -in "$T/site.pem" -noout -pubkey >"$T/site.pub"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
NGINX_SPEAKS=http2 # who does not offer it gets HTTP/1.1
nginx_server 443 site "server_name site.test;"
nginx_server 443 private "server_name own.test;"
start_nginx "${IN_UPSTREAM[@]}"
start_dnsmasq host-record=site.test,203.0.113.10 host-record=own.test,203.0.113.10
for id in "${!TITLE[@]}"; do echo "hello, $id" >"$T/www/$id"; done
rm "$T/www/git"
mkdir -p "$T/www/git/info" # what git's dumb protocol asks for
printf '%040d\trefs/heads/main\n' 1 | tee "$T/www/git/info/refs" >"$T/www/git/body"
echo 'ref: refs/heads/main' >"$T/www/git/HEAD"

java_store=$(realpath /etc/ssl/certs/java/cacerts)
bundle=$(realpath /etc/ssl/certs/ca-certificates.crt)
cp "$bundle" "$T/plain.pem"
cat "$bundle" "$T/ca.pem" >"$T/bundle.pem"
cp "$java_store" "$T/plain.jks"
cp "$java_store" "$T/bundle.jks"
keytool() { clean keytool -importcert -noprompt -alias test -storepass changeit "$@" 2>"$T/keytool.err"; }
keytool -file "$T/ca.pem" -keystore "$T/bundle.jks"
keytool -file "$T/ca.pem" -keystore "$T/own.jks" -storetype JKS
mkdir "$T/classes" "$T/work"
clean ecj -proc:none -source 11 -target 11 -d "$T/classes" "$HERE/runtimes/Get.java"
clean GOCACHE="$GO_CACHE" GO111MODULE=off /usr/bin/go build -o "$T/get" "$HERE/runtimes/get.go"

# in_pod BUNDLE CMD...: in the pod, where BUNDLE (bundle, plain) is what the system trusts
in_pod() {
    "${IN_POD_DNS[@]}" unshare --mount sh -ec '
        mount --bind "$0.pem" "$1"
        mount --bind "$0.jks" "$2"
        [ ! -d "$3/debian" ] || mount --bind "$3/debian/usr/share/nodejs" /usr/share/nodejs
        shift 3
        exec "$@"' "$T/$1" "$bundle" "$java_store" "$CACHE" "${@:2}"
}
in_pod_bed() { in_pod plain "${CLEAN[@]}" "$@"; }

# ---- running --------------------------------------------------------------------------------------------

# one DIR ID@HOST: what it printed, complained of and exited with; and which files it opened
cat >"$T/one" <<'ONE'
set -u
dir=$1 run=$1/$2
trace=(strace -f -qq --seccomp-bpf -e 'trace=?open,openat' -e status=successful -s 200 -o "$run.trace")
[ -e "$dir/direct" ] && trace=()
"${trace[@]}" bash "$run.sh" >"$run.out" 2>"$run.err" </dev/null
echo $? >"$run.status"
ONE

# phase NAME BUNDLE VARIABLES RUN...: each RUN (ID@HOST) direct, into $T/NAME-direct, and through one
# `exec`, into $T/NAME, with its events. VARIABLES (words) is what the environment has beside PATH and HOME.
phase() {
    local name=$1 trust=$2 variables=$3 way dir run id host exec
    local everything=(bash -c 'printf "%s\n" "${@:2}" | xargs -P 3 -I {} bash "$0" "$1" {}' "$T/one")
    shift 3
    for way in "$name-direct" "$name"; do
        dir=$T/$way exec=()
        mkdir "$dir"
        if [ "$way" = "$name" ]; then
            exec=("$SALLYPORT" exec -o json --events-file "$dir/events" --)
        else
            touch "$dir/direct"
        fi
        for run in "$@"; do
            id=${run%@*} host=${run#*@}
            sed "s#URL#https://$host/$id#; s#NAME#$dir/$run.file#" <<<"exec ${COMMAND[$id]}" >"$dir/$run.sh"
        done
        : >"$T/access"
        # shellcheck disable=SC2086 # words
        in_pod "$trust" env -i PATH=/usr/bin:/bin HOME="$T/work" $variables "${exec[@]}" "${everything[@]}" \
            "$dir" "$@" 2>"$dir/exec.err" || fail "$way: $(cat "$dir/exec.err")"
        expect_eq "what exec said" '' "$(cat "$dir/exec.err")"
        cp "$T/access" "$dir/access"
    done
    tell "$name"
}

# ---- what was seen --------------------------------------------------------------------------------------

# outcome WAY RUN: of a program. "accepts": it printed what is there; "refuses": nothing of it.
outcome() {
    local run=$T/$1/$2 body=$T/www/${2%@*}
    [ ! -d "$body" ] || body+=/body
    if [ "$(cat "$run.status")" = 0 ] && cmp -s "$run.out" "$body"; then
        echo accepts
    elif ! grep -qF -f "$body" "$run.out"; then
        echo refuses
    else
        echo "EXITS WITH $(cat "$run.status")"
    fi
}

# tell PHASE: what the events say of each run's script and all it executed, a line each, into
# $T/PHASE/told: the run, and "seen" or the errors.
tell() {
    # shellcheck disable=SC2016 # jq's variables
    jq -s -r --arg dir "$T/$1/" '
        [.[].process_exec.process // empty] as $processes |
        ($processes | map({key: .exec_id, value: .parent_exec_id}) | from_entries) as $parent |
        (reduce ($processes[] | select(.arguments // "" | startswith($dir) and endswith(".sh"))) as $script ({};
            .[$script.exec_id] //= $script.arguments[$dir | length:-3])) as $runs |
        def run: if . == null then null else $runs[.] // ($parent[.] | run) end;
        [.[].process_tls // empty | . + {run: (.process.exec_id | run)}] as $tls |
        [.[].process_http // empty | . + {run: (.process.exec_id | run)}] as $http |
        $runs[] as $run | ($run | sub(".*@"; "")) as $host |
        [$tls[] | select(.run == $run)] as $tls |
        ([$http[] | select(.run == $run) | [.method, .host, .code, .visibility,
            (.socket.cookie as $c | $tls[] | select(.socket.cookie == $c) | .sni, .visibility, .error // "")]] | unique) as $http |
        if $http == [] then [$tls[] | .error // "no error"] | unique | join("; ")
        elif $http == [["GET", $host, 200, "terminated", $host, "terminated", ""]] then "seen"
        else "SEEN AS \($http)" end | "\($run) \(.)"' "$T/$1/events" >"$T/$1/told"
}
told() { awk -v run="$2" '$1 == run { sub(/[^ ]+ /, ""); print }' "$T/$1/told"; }

# spoke WAY RUN: the protocol of its requests that came to the server
spoke() {
    local protocol
    protocol=$(sed -nE "s#.* GET /${2%@*}(/[^ ]*)? (HTTP/[0-9.]+) .* sni=${2#*@} .*#\2#p" "$T/$1/access" | sort -u | paste -sd ' ')
    echo "${protocol:--}"
}

# reached PHASE RUN: requests of it that came to the server
reached() { grep -cE "GET /${2%@*}(/[^ ]*)? HTTP.* sni=${2#*@} " "$T/$1/access" || true; }

# through PHASE RUN: what became of it through us; in capitals what must not be.
through() {
    local what told
    what=$(outcome "$1" "$2") told=$(told "$1" "$2")
    case $what in
        accepts) [ "$told" = seen ] || what+=", $told"
                 [ "$(outcome "$1-direct" "$2")" != accepts ] || cmp -s "$T/$1/$2.err" "$T/$1-direct/$2.err" ||
                     what+=", WITH OTHER WORDS: $(head -n 1 "$T/$1/$2.err")" ;;
        refuses) [ "$(reached "$1" "$2")" = 0 ] || what+=", BUT SENT ITS REQUEST"
                 [ -n "$told" ] && [ "$told" != seen ] || what+=", BUT IS TOLD AS '$told'" ;;
    esac
    echo "$what"
}

# trust_files PHASE RUN: which files with our authority in it the program opened
trust_files() {
    local path
    sed -nE 's/.*open(at)?\(([^,]*, )?"([^"]+)".*/\3/p' "$T/$1/$2.trace" | sort -u | while read -r path; do
        case $(realpath -m "$path") in
            "$bundle") echo "the system's bundle" ;;
            "$java_store") echo "Java's \`cacerts\`" ;;
            /run/sallyport/ca.pem) echo "\`NODE_EXTRA_CA_CERTS\`" ;;
        esac
    done | sort -u | paste -s -d , | sed 's/,/, /g'
}

version() {
    local text
    text=$(eval "${VERSION[$1]}" 2>&1) || true
    [[ $text =~ [0-9]+[.][0-9]+ || $text =~ [0-9]+ ]] && echo "${BASH_REMATCH[0]}"
}

both_spoke() { echo "$(spoke "$1-direct" "$2") → $(spoke "$1" "$2")"; }
both() { echo "$(outcome "$1-direct" "$2") → $(through "$1" "$2")"; }

# ---- the phases -----------------------------------------------------------------------------------------

phase trusting bundle '' "${TRUSTING[@]/%/@site.test}"
phase unknown plain '' "${TRUSTING[@]/%/@site.test}"
phase replaced bundle "SSL_CERT_FILE=$T/own.pem" "${REPLACED[@]/%/@own.test}" "${REPLACED[@]/%/@site.test}"
variables='' named=()
for entry in "${NAMED[@]}"; do # a file for each: more than one of them may be merged
    id=${entry#*=}
    cp "$T/own.pem" "$T/own.$id.pem"
    variables+=" ${entry%=*}=$T/own.$id.pem"
    named+=("$id@own.test" "$id@site.test")
done
phase named bundle "$variables" "${named[@]}"
phase unreached bundle '' "${UNREACHED[@]/%/@site.test}"

# ---- the table ------------------------------------------------------------------------------------------

report() {
    local id entry
    cat <<'MD'
# Runtimes

Made by `tests/netns/runtimes.sh --write`, on Debian 12; the test fails where it sees anything else. Every program fetched over HTTPS
from a real server in a network namespace, direct and then through `sallyport exec`. *accepts*: it exited with 0 and printed what is
there, and through Sallyport its stderr was the same as direct, and its request was told as seen (visibility `terminated`). *refuses*: it
printed nothing of it, and through Sallyport no request reached the server, and an event gives the reason. "a → b" is direct → through.

## No option, nothing in the environment but PATH and HOME

*Reached by* is which of the files with our authority in them the program opened. The first server's root is in what the pod trusts
(`/etc/ssl/certs/ca-certificates.crt` and Java's `cacerts`), the second's is not. *Protocol* is what the first server was asked in: it speaks
both HTTP/2 and HTTP/1.1 (-: it was not asked at all). A runtime with roots of its own, as npm's Node.js has,
refuses direct what only the pod trusts, and accepts it through us: `NODE_EXTRA_CA_CERTS` adds to those roots, and names all of our authorities.

| program | version | TLS | protocol | reached by | the pod's root | unknown root |
| --- | --- | --- | --- | --- | --- | --- |
MD
    for id in "${TRUSTING[@]}"; do
        echo "| ${TITLE[$id]} | $(version "$id") | ${STACK[$id]} | $(both_spoke trusting "$id@site.test") |" \
            "$(trust_files trusting "$id@site.test") |" \
            "$(both trusting "$id@site.test") | $(both unknown "$id@site.test") |"
    done
    cat <<'MD'

## Trust of its own, by a variable

The variable names a file that has the root of a private server alone; the other server's root is in what the system trusts. A program
decides as it did: each set of files has an authority of its own. Only Node.js accepts what any file trusts.

| program | variable | private server | server of the system's roots |
| --- | --- | --- | --- |
MD
    for id in "${REPLACED[@]}"; do
        echo "| ${TITLE[$id]} | \`SSL_CERT_FILE\` | $(both replaced "$id@own.test") | $(both replaced "$id@site.test") |"
    done
    for entry in "${NAMED[@]}"; do
        id=${entry#*=}
        echo "| ${TITLE[$id]} | \`${entry%=*}\` | $(both named "$id@own.test") | $(both named "$id@site.test") |"
    done
    cat <<'MD'

## Not to be reached

These look only where we cannot put our authority, so they refuse our certificate: nothing is sent, and the event says so.

| program | why | the pod's root | event |
| --- | --- | --- | --- |
MD
    for id in "${UNREACHED[@]}"; do
        echo "| ${TITLE[$id]} | ${STACK[$id]} | $(both unreached "$id@site.test") | $(told unreached "$id@site.test") |"
    done
    cat <<'MD'

Chromium and Firefox, which are not run here, keep roots of their own as NSS does.
MD
}

written=$ROOT/deploy/RUNTIMES.md
report >"$T/RUNTIMES.md"
if [ "${1:-}" = --write ]; then
    cp "$T/RUNTIMES.md" "$written"
    exit
fi
diff "$written" "$T/RUNTIMES.md" >&9 ||
    fail "deploy/RUNTIMES.md (<) is not what was seen (>); if that is as it should be: sudo SALLYPORT=$SALLYPORT $0 --write"
