#!/usr/bin/env bash
# ask.sh curl|nghttp|h2load UPLOAD NAME=URL...: a client of HTTP/2, as ask.mjs, ask.py, Ask.java and http2.go.
#
# Each asks each server for /a?CLIENT, and posts the file UPLOAD to /post/CLIENT, where it can with a trailer
# (but not to nginx, which as of 1.22 takes none: it ends the connection); and prints a line for each: the server's NAME, the method, and of what it knows of the answer: status,
# version, bytes and SHA-256 of its body, and what the trailer `x-trailer` says.
set -euo pipefail

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
client=$1 upload=$2

body() { echo "$(stat -c %s "$T/body") $(sha256sum "$T/body" | cut -c 1-16)"; }
# trailer FILE REGEX: of a head's text
trailer() { sed -nE "s/^.*x-trailer: ([a-z]*).*/\1/p" "$1"; }

by_curl() { # PATH OPTIONS...
    local path=$1 seen
    shift
    seen=$(curl -sS "${http2[@]}" --ignore-content-length -D "$T/head" -o "$T/body" -w '%{http_code} %{http_version}' "$@" "$url/$path")
    echo "$seen $(body) $(trailer "$T/head")"
}
curl_get() { by_curl a?curl; }
curl_post() { by_curl post/curl --data-binary "@$upload"; }

nghttp_get() { nghttp "$url/a?nghttp" >"$T/body"; body; }
nghttp_post() {
    local trailer=(--trailer 'x-sent: it')
    [ "$name" != nginx ] || trailer=()
    nghttp -nv -d "$upload" "${trailer[@]}" "$url/post/nghttp" >"$T/head"
    awk '/recv DATA frame/ { sub(/.*length=/, ""); bytes += $1 }
         sub(/.* :status: /, "") { status = $1 }
         /The negotiated protocol/ { version = $NF }
         END { printf "%s %s %d ", status, version ? version : "plain", bytes }' "$T/head"
    trailer "$T/head"
}

by_h2load() { # PATH OPTIONS...
    local path=$1
    shift
    h2load -n 20 -c 2 -m 5 "$@" "$url/$path" >"$T/head" 2>&1
    sed -nE 's/^(status codes: .*2xx).*/\1/p; s/^Application protocol: //p; s/^requests: .* ([0-9]+ succeeded).*/\1/p' "$T/head" | paste -sd ' '
}
h2load_get() { by_h2load a?h2load; }
h2load_post() { by_h2load post/h2load -d "$upload"; }

shift 2
for server in "$@"; do
    name=${server%%=*} url=${server#*=} http2=(--http2)
    [[ $url = https:* ]] || http2=(--http2-prior-knowledge)
    for method in GET POST; do echo "$name $method $("${client}_${method,,}")"; done
done
