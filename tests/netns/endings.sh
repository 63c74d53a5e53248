#!/usr/bin/env bash
# Promise: a connection ends as the ends end it, whoever is between them: half-close, close_notify, a
# cut without one and RST, from either side, at every moment; what is cut short never looks complete.
# Everything is done twice, direct and steered, and both sides must meet the same.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"

fetch_all() { # DIR: how curl ends
    local name port
    grep _answer_ "$1/ports" | while read -r name port; do
        code=0
        curl -s -m 20 -o "$1/body" "${name%%_*}://localhost:$port/" || code=$?
        echo "$name $code"
    done
}

# a program that was not steered would not have been compared
expect_steered() { # HOW MANY CONNECTIONS
    expect_eq "connections that were steered" "$1" "$(events '[.[].process_close // empty | select(.route != "direct")] | length')"
}

for way in direct steered; do
    mkdir "$T/$way"
    background /usr/bin/python3 "$HERE/endings.py" server "$T/$way" "$T/origin.pem" "$T/origin.key"
    wait_for 20 test -e "$T/$way/ports"
    scenes=$(wc -l <"$T/$way/ports") answers=$(grep -c _answer_ "$T/$way/ports")
    roots=$T/ca.pem as=(clean SSL_CERT_FILE="$T/ca.pem")
    [ $way = direct ] || roots=/etc/ssl/certs/ca-certificates.crt as=(exec_local --)
    "${as[@]}" /usr/bin/python3 "$HERE/endings.py" client "$T/$way" "$roots"
    [ $way = direct ] || expect_steered "$scenes"
    all_acted() { [ "$(wc -l <"$T/$way/server")" = "$scenes" ]; }
    wait_for 30 all_acted
    for side in server client; do sort "$T/$way/$side" >"$T/$way/$side.met"; done
    "${as[@]}" bash -c "$(declare -f fetch_all); fetch_all $T/$way
        /usr/bin/python3 $HERE/endings.py fetch $T/$way $roots >$T/$way/python.met" >"$T/$way/curl.met"
    [ $way = direct ] || expect_steered $((answers + $(wc -l <"$T/$way/python.met")))
done
for who in server client curl python; do
    expect_eq "what is known of $who" "$(wc -l <"$T/direct/$who.met")" "$(wc -l <"$T/steered/$who.met")"
    diff "$T/direct/$who.met" "$T/steered/$who.met" >&9 || fail "$who met something else (steered: >)"
done
expect_no_grep "what no scene means to meet" 'unexpected|silence' "$T/direct/client.met"
expect_no_grep "what no scene means to meet" 'unexpected|silence' "$T/direct/server.met"
echo "ok: $scenes scenes"

# of the answers that are cut, those alone are whole whose server ended them so
expect_eq "answers that end well" "" "$(awk '/_answer_.*(cut|reset) .*, end/' "$T/steered/client.met")"
expect_eq "complete answers" "http_answer_until_close_end https_answer_until_close_end" \
    "$(awk '$2 == 0 && !/_close_cut/ { print $1 }' "$T/steered/curl.met" | xargs)" # of which curl takes no notice
echo "ok: $answers answers cut short"
