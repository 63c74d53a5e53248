#!/usr/bin/env bash
# Promise: which name servers count for toFQDNs is what a pod was set up with when it was registered, or, if nobody was
# in it yet, what the first process in it has: a resolv.conf that it writes later opens nothing, nor does it once the
# agent was started anew.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

main=203.0.113.53 fake=203.0.113.54 site=203.0.113.10 evil=203.0.113.66
make_namespaces
for address in $fake $evil; do ip -n "$UPSTREAM" address add "$address/32" dev lo; done
start_dnsmasq host-record=www.shop.test,$site
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" dnsmasq --keep-in-foreground --user=root --group=root --pid-file= \
    --conf-file=/dev/null --no-hosts --no-resolv --bind-interfaces --listen-address=$fake --host-record=www.shop.test,$evil
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 -m http.server --protocol HTTP/1.1 --bind 0.0.0.0 80 --directory "$T/www" >"$T/http.log" 2>&1
mkdir "$T/www"
for at in $fake/53 $site/80; do wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/$at"; done
cat >"$T/policy.yaml" <<'Y'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: shop}
spec:
  egress:
  - toFQDNs: [{matchName: www.shop.test}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
  - toEntities: [world]
    toPorts: [{ports: [{port: "53", protocol: ANY}]}]
Y
URL=http://www.shop.test/
# answers_by SERVER: whom the resolvers of both pods ask from now on
answers_by() { echo "nameserver $1" >"$T/resolv.conf"; }
# gets POD: what comes of a request. In the pod late there is nobody but who asks.
gets() {
    local code
    if [ "$1" = cart ]; then
        code=$(ask cart get $URL)
    else
        code=$("${IN_POD_DNS[@]}" "${IN_CGROUP[@]}" "$CGROUPS/late" "${CLEAN[@]}" curl -s -o "$T/answer" -w '%{http_code}' $URL) || code=
    fi
    case $code in 200*) echo 200 ;; *) echo no ;; esac
}

mkdir "$T/run"
mount -t tmpfs -o size=1m,mode=700 none "$T/run"
make_cgroup cart late
agent_up --policy "$T/policy.yaml"
start_program cart cart "${IN_POD_DNS[@]}"
pods add --cgroup "$CGROUPS/cart" --name cart
pods add --cgroup "$CGROUPS/late" --name late
for pod in cart late; do expect_eq "$pod, by its own server" 200 "$(gets $pod)"; done
answers_by $fake
for pod in cart late; do expect_eq "$pod, by another" no "$(gets $pod)"; done
agent_down
agent_up --policy "$T/policy.yaml"
for pod in cart late; do expect_eq "$pod, by another, after a restart" no "$(gets $pod)"; done
answers_by $main
for pod in cart late; do expect_eq "$pod, by its own server, after a restart" 200 "$(gets $pod)"; done
expect_eq "how often the site, at whichever address, was reached" 4 "$(grep -c GET "$T/http.log")"
expect_eq "kept" 2 "$(find "$T/run/resolving" -type f | wc -l)"
pods remove late
expect_eq "... no longer than the pod" 1 "$(find "$T/run/resolving" -type f | wc -l)"
echo "ok: a pod's name servers are those it was registered with"
