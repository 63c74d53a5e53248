# acts: where the kernel encrypts a denied request freezes its pod until that is thawed, or kills who sends it, and
# reaches nobody; what bodies and tokens are looked for is found, and has gone.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

start_asked acts kernel "${CLEAN[@]}" /usr/bin/python3 "$HERE/route/acts.py"
SITE=https://127.0.0.1:$aes128
CARD='name=jane&card=4111111111111111'
echo "$CARD" >"$T/www/card"
b64() { printf '%s' "$1" | base64 -w0 | tr '+/' '-_' | tr -d =; }
TOKEN=$(b64 '{"alg":"RS256","kid":"k"}').$(b64 '{"iss":"https://kubernetes.default.svc.cluster.local","kubernetes.io":{"namespace":"shop","pod":{"name":"cart-0","uid":"77"},"serviceaccount":{"name":"cart"}},"sub":"system:serviceaccount:shop:cart"}').c2lnbmF0dXJl
# what was decided is compared at the end: jq takes long to start in a guest
lines=$(so_far) decisions=$(count kernel policy) wanted=()
expect_decided() { # DECIDED
    wanted+=("$1")
    wait_for 10 has_told kernel policy $((decisions + ${#wanted[@]}))
}

# ---- what is found

found() { # WHAT DECIDED STATUS WORDS...
    expect_eq "$1: the program" "$3" "$(ask acts "${@:4}")"
    expect_decided "$2"
}
rm -f "$T"/put/*
apply acts kernel 'inspect: {bodies: [{patterns: [payment-card], direction: both, action: alert}], tokens: alert}'
found "a request's body" "alert - body payment-card request 15" 201 POST "$SITE/post/card" "$CARD"
expect_eq "which has arrived" "$CARD" "$(cat "$T/put/card")"
found "an answer's body" "alert - body payment-card response 15" 200 GET "$SITE/card"
found "a token in a head" "alert - token token-exfiltration request 7" 200 GET "$SITE/a" - "$TOKEN"
found "a token in a body" "alert - token token-exfiltration request 6" 201 POST "$SITE/post/token" "token=$TOKEN"

# ---- what is denied

frozen_by() { # WHAT DECIDED RESULT WORDS...: what became of it when it was thawed
    local asked
    ask acts "${@:4}" >"$T/result" &
    asked=$!
    wait_for 20 grep -q 'frozen 1' "$CGROUPS/kernel/cgroup.events"
    expect_decided "$2"
    pods thaw kernel >"$T/out"
    wait $asked
    expect_eq "$1: what the program got then" "$3" "$(cat "$T/result")"
}
ONLY_A='egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]'
GONE='inspect: {bodies: [{patterns: [payment-card], direction: request, action: deny}]}'
apply acts kernel 'onDeny: freeze' "$ONLY_A"
frozen_by "who is denied, freeze" "deny freeze http - - -" SSLEOFError GET "$SITE/frozen"
apply acts kernel 'onDeny: freeze' "$GONE"
frozen_by "a body, freeze" "deny freeze body payment-card request 15" 201 POST "$SITE/post/late" "$CARD"
apply acts kernel 'onDeny: sigkill' "$ONLY_A"
echo "GET $SITE/killed" >&"${PROGRAM_IN[acts]}"
expect_status "who is denied, sigkill" 137 wait "${PROGRAM_PID[acts]}"
unset "PROGRAM_PID[acts]"
expect_decided "deny sigkill http - - -"
told_of kernel "$lines" | jq -r '.process_policy // empty |
    "\(.verdict) \(.action // "-") \(.point) \(.pattern // "-") \(.direction // "-") \(.offset // "-")"' |
    diff <(printf '%s\n' "${wanted[@]}") - >&9 || fail "what was decided (lines with >)"
expect_no_grep "what was denied came" '/(frozen|killed)' "$T/access"
remove acts
echo "ok: what is denied and found by kTLS, $backend on $(uname -r)"
