#!/usr/bin/env bash
# Promise: HTTP/2 as real programs speak it comes through unchanged: each of seven clients (curl, nghttp, h2load,
# python3-h2, Node.js, Go, Java) asks each of four servers (nginx, nghttpd, Go, Node.js) and sends it 1 MB, with
# trailers both ways; clients and servers see what they see direct, both speak HTTP/2, and each request is told.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
mkdir -p "$T/www" "$T/classes"
head -c 300000 /dev/urandom >"$T/www/a"
head -c 1048576 /dev/urandom >"$T/upload"
clean GOCACHE="$GO_CACHE" GO111MODULE=off /usr/bin/go build -o "$T/http2" "$HERE/http2/http2.go"
clean ecj -proc:none -source 11 -target 11 -d "$T/classes" "$HERE/http2/Ask.java"
clean keytool -importcert -noprompt -alias test -storepass changeit -file "$T/ca.pem" -keystore "$T/store" 2>"$T/keytool.log"

# ---- the servers ------------------------------------------------------------------------------------------

declare -A PORT
SERVERS=(nginx nghttpd go node plain) # plain: an nghttpd without TLS
read -ra ports <<<"$(free_ports ${#SERVERS[@]})"
for i in "${!SERVERS[@]}"; do PORT[${SERVERS[i]}]=${ports[i]}; done
secure=() plain=(plain="http://localhost:${PORT[plain]}")
for server in nginx nghttpd go node; do secure+=("$server=https://localhost:${PORT[$server]}"); done
NGINX_SPEAKS=http2
nginx_server "${PORT[nginx]}" origin "add_trailer x-trailer done; location /early {
    proxy_pass http://unix:$T/nobody.sock; proxy_request_buffering off; client_max_body_size 0; }"
start_nginx
cd "$T/www" # the others serve it
key=("$T/origin.key" "$T/origin.pem")
nghttpd=("${CLEAN[@]}" nghttpd -v -a 127.0.0.1 --echo-upload --trailer 'x-trailer: done')
background "${nghttpd[@]}" "${PORT[nghttpd]}" "${key[@]}" >>"$T/nghttpd.out" 2>"$T/nghttpd.err"
background "${nghttpd[@]}" --no-tls "${PORT[plain]}" >>"$T/plain.out" 2>"$T/plain.err"
background "${CLEAN[@]}" "$T/http2" serve "${PORT[go]}" "${key[@]}" >>"$T/go.out" 2>"$T/go.err"
background "${CLEAN[@]}" node "$HERE/http2/serve.mjs" "${PORT[node]}" "${key[@]}" >>"$T/node.out" 2>"$T/node.err"
for server in nghttpd go node plain; do wait_for 20 listening 127.0.0.1 "${PORT[$server]}"; done

# seen: what each server saw of each request since `forget`, a line each
forget() { : | tee "$T"/{access,go.out,node.out,plain.out} >"$T/nghttpd.out"; }
seen() {
    local server
    sed -nE 's/^[0-9]+ ([A-Z]+ [^ ]* [^ ]*) .*/nginx \1/p' "$T/access"
    for server in nghttpd plain; do # it has no log: its frames', which it reads as HTTP/2 alone
        sed -nE 's/^\[id=([0-9]+)\].* recv \(stream_id=([0-9]+)\) (:method|:path|x-sent): (.*)/\1.\2 \3 \4/p' "$T/$server.out" |
            awk -v server="$server" '
                $2 == ":method" { order[++n] = $1; method[$1] = $3 }
                $2 == ":path" { path[$1] = $3 }
                $2 == "x-sent" { sent[$1] = $3 }
                END { for (i = 1; i <= n; i++) print server, method[order[i]], path[order[i]], "HTTP/2.0", "sent=" sent[order[i]] }'
    done
    for server in go node; do sed "s/^/$server /" "$T/$server.out"; done
}

# ---- the clients ------------------------------------------------------------------------------------------

# all DIR JAVA-OPTIONS...: all at once; what each printed is in DIR
cat >"$T/all" <<ALL
dir=\$1
shift
run() { # CLIENT CMD...
    local client=\$1
    shift
    "\$@" >"\$dir/\$client" 2>"\$dir/\$client.err" &
}
upload=$T/upload secure=(${secure[*]}) plain=(${plain[*]})
for client in curl nghttp h2load; do
    run "\$client" bash "$HERE/http2/ask.sh" "\$client" "\$upload" "\${secure[@]}" "\${plain[@]}"
done
run node node "$HERE/http2/ask.mjs" "\$upload" "\${secure[@]}" "\${plain[@]}"
run python /usr/bin/python3 "$HERE/http2/ask.py" "\$upload" "\${secure[@]}"
run go "$T/http2" ask "\$upload" "\${secure[@]}"
run java /usr/lib/jvm/default-java/bin/java -XX:TieredStopAtLevel=1 "\$@" -cp "$T/classes" Ask "\$upload" "\${secure[@]}"
wait
ALL
CLIENTS=(curl nghttp h2load node python go java)

round() { # NAME CMD...
    local name=$1 dir=$T/$1 client
    shift
    mkdir "$dir"
    rm -f "$T"/put/*
    forget
    "$@" 2>"$dir/all.err" || fail "$name: $(cat "$dir/all.err")"
    for client in "${CLIENTS[@]}"; do
        expect_eq "complaints of $client, $name" '' "$(cat "$dir/$client.err")"
        expect_same "what $client sent to nginx, $name," "$T/put/$client" "$T/upload"
    done
    expect_eq "complaints, $name" '' "$(cat "$dir/all.err")"
    seen | LC_ALL=C sort | uniq -c >"$dir/seen"
}
round direct timeout 60 "${CLEAN[@]}" SSL_CERT_FILE="$T/ca.pem" NODE_EXTRA_CA_CERTS="$T/ca.pem" \
    bash "$T/all" "$T/direct" -Djavax.net.ssl.trustStore="$T/store" -Djavax.net.ssl.trustStorePassword=changeit
round through timeout 120 "${EXEC_LOCAL[@]}" -- bash "$T/all" "$T/through"

# ---- what clients and servers saw -------------------------------------------------------------------------

hash_of() { echo "$(stat -c %s "$1") $(sha256sum "$1" | cut -c 1-16)"; }
a=$(hash_of "$T/www/a") upload=$(hash_of "$T/upload") empty="0 $(sha256sum </dev/null | cut -c 1-16)"
# printed VERSION VERSION-WITHOUT-TLS TRAILER: by a client that knows all of an answer
printed() {
    local server
    printf '%s\n' "nginx GET 200 $1 $a$3" "nginx POST 201 $1 $empty$3"
    for server in nghttpd go node; do printf '%s\n' "$server GET 200 $1 $a$3" "$server POST 200 $1 $upload$3"; done
    [ -z "$2" ] || printf '%s\n' "plain GET 200 $2 $a$3" "plain POST 200 $2 $upload$3"
}
printed 2 2 ' done' >"$T/curl.wanted"
printed h2 h2c ' done' >"$T/node.wanted"
printed h2 '' ' done' >"$T/python.wanted"
printed HTTP/2.0 '' ' done' >"$T/go.wanted"
printed HTTP_2 '' '' >"$T/java.wanted"
printed h2 plain ' done' | sed -E 's/(GET) 200 h?[2a-z]+ (.*) done/\1 \2/; s/(POST .* [0-9]+) [0-9a-f]+/\1/' >"$T/nghttp.wanted"
printed h2 h2c '' | sed -E 's/(GET|POST) 20. (h[^ ]*) .*/\1 \2 20 succeeded status codes: 20 2xx/' >"$T/h2load.wanted"
for server in "${SERVERS[@]}"; do
    for client in "${CLIENTS[@]}"; do
        [[ $server != plain || $client =~ ^(curl|nghttp|h2load|node)$ ]] || continue
        times=1 sent=''
        [ "$client" != h2load ] || times=20
        [ "$server" = nginx ] || sent=' sent='
        printf '%7d %s\n' "$times" "$server GET /a?$client HTTP/2.0$sent"
        [[ $server = nginx || $client =~ ^(curl|h2load|java)$ ]] || sent+=it
        printf '%7d %s\n' "$times" "$server POST /post/$client HTTP/2.0$sent"
    done
done | LC_ALL=C sort -k 2 >"$T/seen.wanted"
for name in direct through; do
    for client in "${CLIENTS[@]}"; do
        diff "$T/$client.wanted" "$T/$name/$client" >&9 || fail "$client, $name, saw something else (>)"
    done
    diff "$T/seen.wanted" "$T/$name/seen" >&9 || fail "the servers, $name, saw something else (>)"
done
echo "ok: ${#CLIENTS[@]} clients, ${#SERVERS[@]} servers"

# ---- what is told -----------------------------------------------------------------------------------------

expect_all_seq
sed 's/ sent=.*//; s/[.]0$//; /plain/!s/$/ terminated/; /plain/s/$/ plaintext/' "$T/seen.wanted" >"$T/told.wanted"
names=()
for server in "${SERVERS[@]}"; do names+=(-e "s/^${PORT[$server]} /$server /"); done
events '.[].process_http // empty | select(.code >= 200 and .code < 300 and .host == "localhost") |
    "\(.socket.dport) \(.method) \(.url) \(.protocol) \(.visibility)"' | sed "${names[@]}" | LC_ALL=C sort | uniq -c >"$T/told"
diff "$T/told.wanted" "$T/told" >&9 || fail "not what the servers saw (<) is told (>)"
expect_eq "agreed by TLS" h2 "$(events '[.[].process_tls // empty | .alpn] | unique | join(" ")')"
echo "ok: $(awk '{ n += $1 } END { print n }' "$T/told") requests told"

# ---- an answer before the request is whole, and NO_ERROR behind it -------------------------------------------

exec_local -- bash -c 'for i in {1..20}; do curl -so "$1" -w "%{http_code}\n" --http2 --data-binary "@$2" "$3"; done; true' \
    early "$T/answer" "$T/upload" "https://localhost:${PORT[nginx]}/early" >"$T/early"
expect_eq "early answers" '20 502' "$(sort "$T/early" | uniq -c | xargs)"
echo "ok: early answers arrive"
