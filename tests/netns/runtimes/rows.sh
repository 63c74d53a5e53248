# rows: the programs of runtimes.sh. Source it.
#
#   row ID TITLE STACK VERSION -- CMD...
#
# CMD prints what is at URL and exits 0, or shows nothing of it and exits otherwise; VERSION is a
# command line that prints one. Words of CMD that are URL or NAME are replaced (NAME: a file for the
# run). Programs are named by path: a machine may have others of that name.
# shellcheck shell=bash disable=SC2034 # its variables are read by runtimes.sh

declare -A TITLE STACK VERSION COMMAND
row() {
    local id=$1
    TITLE[$id]=$2 STACK[$id]=$3 VERSION[$id]=$4
    shift 5
    COMMAND[$id]=$(printf '%q ' "$@")
}

py=/usr/bin/python3 get=$HERE/runtimes/get
java=(/usr/lib/jvm/default-java/bin/java -XX:TieredStopAtLevel=1 -cp "$T/classes")
npm_node=$CACHE/npm/node
debian_node=(/usr/bin/node)
if [ -d "$CACHE/debian" ]; then
    debian_node=(env "LD_LIBRARY_PATH=$(echo "$CACHE"/debian/usr/lib/*-linux-gnu)" "$CACHE/debian/usr/bin/node")
fi

# ---- what is to trust us without a word -----------------------------------------------------------------

row curl curl OpenSSL "curl --version" -- curl -sS URL
row wget wget GnuTLS "wget --version" -- wget -q -t 1 -O - URL
row wget2 wget2 GnuTLS "wget2 --version" -- wget2 -q --tries=1 -O - URL
row aria2 aria2 GnuTLS "aria2c --version" -- bash "$get.aria2.sh" URL NAME
row git git "GnuTLS (libcurl)" "git --version" -- git ls-remote --heads URL
row w3m w3m OpenSSL "w3m -version" -- w3m -dump_source URL
row urllib "Python, urllib" OpenSSL "$py --version" -- $py "$get.py" urllib URL
row requests "Python, requests" OpenSSL "$py -c 'import requests; print(requests.__version__)'" -- \
    $py "$get.py" requests URL
row httpx "Python, httpx" OpenSSL "$py -c 'import httpx; print(httpx.__version__)'" -- $py "$get.py" httpx URL
row httpx2 "Python, httpx, \`http2=True\`" OpenSSL "$py -c 'import httpx; print(httpx.__version__)'" -- \
    $py "$get.py" httpx2 URL
row node "Node.js of npm, https" "OpenSSL of its own" "$npm_node --version" -- "$npm_node" "$get.mjs" https URL
row nodefetch "Node.js of npm, fetch" "OpenSSL of its own" "$npm_node --version" -- "$npm_node" "$get.mjs" fetch URL
row nodeh2 "Node.js of npm, http2" "OpenSSL of its own" "$npm_node --version" -- "$npm_node" "$get.mjs" http2 URL
row debnode "Node.js of Debian, https" OpenSSL "in_pod_bed ${debian_node[*]} --version" -- \
    "${debian_node[@]}" "$get.mjs" https URL
row debfetch "Node.js of Debian, fetch" OpenSSL "in_pod_bed ${debian_node[*]} --version" -- \
    "${debian_node[@]}" "$get.mjs" fetch URL
row debh2 "Node.js of Debian, http2" OpenSSL "in_pod_bed ${debian_node[*]} --version" -- \
    "${debian_node[@]}" "$get.mjs" http2 URL
row go "Go, net/http" "crypto/tls" "/usr/bin/go version" -- "$T/get" URL
row java "Java, HttpClient" JSSE "${java[0]} --version" -- "${java[@]}" Get client URL
row javaurl "Java, URLConnection" JSSE "${java[0]} --version" -- "${java[@]}" Get connection URL
row ruby "Ruby, Net::HTTP" OpenSSL "/usr/bin/ruby --version" -- \
    /usr/bin/ruby -rnet/http -e 'print Net::HTTP.get(URI(ARGV[0]))' URL
row lwp "Perl, LWP" OpenSSL "/usr/bin/perl --version" -- /usr/bin/perl -MLWP::UserAgent -e \
    '$r = LWP::UserAgent->new->get($ARGV[0]); $r->is_success or die $r->status_line . "\n"; print $r->content' URL
row tiny "Perl, HTTP::Tiny" OpenSSL "/usr/bin/perl --version" -- /usr/bin/perl -MHTTP::Tiny -e \
    '$r = HTTP::Tiny->new(verify_SSL => 1)->get($ARGV[0]); $r->{success} or die $r->{content}; print $r->{content}' URL
row php "PHP, streams" OpenSSL "/usr/bin/php --version" -- /usr/bin/php "$get.php" streams URL
row phpcurl "PHP, curl" OpenSSL "/usr/bin/php --version" -- /usr/bin/php "$get.php" curl URL
row erlang "Erlang, httpc" "ssl of OTP" "erl -noshell -eval 'io:put_chars(erlang:system_info(otp_release)), halt().'" -- \
    escript "$get.erl" URL
row busybox "busybox wget" "\`openssl s_client\`" "busybox" -- busybox wget -q -O - URL
TRUSTING=(curl wget wget2 aria2 git w3m urllib requests httpx httpx2 node nodefetch nodeh2 debnode debfetch
          debh2 go java javaurl ruby lwp tiny php phpcurl erlang busybox)

# ---- what has trust of its own --------------------------------------------------------------------------

REPLACED=(curl w3m urllib httpx debnode go ruby tiny php erlang requests wget java) # by SSL_CERT_FILE, or not
NAMED=(CURL_CA_BUNDLE=curl REQUESTS_CA_BUNDLE=requests GIT_SSL_CAINFO=git PERL_LWP_SSL_CA_FILE=lwp
       NODE_EXTRA_CA_CERTS=node)

# ---- what cannot be reached -----------------------------------------------------------------------------

# TITLE is the program, STACK why.
row cacert "\`curl --cacert FILE\`" "names its roots" - -- curl -sS --cacert "$T/ca.pem" URL
row pinned "\`curl --pinnedpubkey\`" "wants the server's key" - -- curl -sS --pinnedpubkey "$T/site.pub" URL
row certifi "Python, requests with certifi from PyPI" "brings its roots as a file of its own" - -- \
    $py "$get.py" requests URL "$T/ca.pem"
row nodeca "Node.js, option \`ca\`" "names its roots" - -- "$npm_node" "$get.mjs" https URL "$T/ca.pem"
row javastore "Java, \`-Djavax.net.ssl.trustStore=FILE\` among its arguments" "names its roots" - -- \
    "${java[@]}" -Djavax.net.ssl.trustStore="$T/own.jks" Get client URL
row nss "libcurl with NSS" "reads no file of the system's" - -- $py "$get.py" libcurl-nss.so.4 URL "$T/ca.pem"
row goroots "Go, roots inside the program (as Rust's webpki-roots)" "built in" - -- "$T/get" -roots "$T/ca.pem" URL
row gopin "Go, \`VerifyConnection\` compares the key" "wants the server's key" - -- "$T/get" -pin "$T/site.pem" URL
row later "curl, SSL_CERT_FILE set by a script inside" "names its roots after the command began" - -- \
    env SSL_CERT_FILE="$T/ca.pem" curl -sS URL
UNREACHED=(cacert pinned certifi nodeca javastore nss goroots gopin later)
