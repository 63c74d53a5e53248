# restart: what the kernel encrypts is judged by the agent that comes after one that was killed, on the
# connections that were there.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

apply rules kernel 'egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]'
start_asked lives kernel "${CLEAN[@]}" /usr/bin/python3 "$HERE/../netns/kernel_lives.py" "$T/trusted.pem"
expect_eq "its connection" ok "$(ask lives open one "https://127.0.0.1:$aes256")"
expect_eq "what is allowed" 200 "$(ask lives get one /a)"
agent_down KILL
agent_up
expect_eq "by the next agent" 200 "$(ask lives get one /a)"
expect_eq "what is not" SSLEOFError "$(ask lives get one /empty)" # what Python's OpenSSL makes of EACCES
remove rules
echo "ok: an agent that comes after another, $backend on $(uname -r)"
