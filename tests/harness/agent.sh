# agent: a running agent and its pods, for the scripts in tests/netns. Source it behind lib.sh.
#
# The agent stands in the machine's namespace, as it would on a node; its programs are attached to a
# cgroup of the test's own, $AGENT_CGROUP, below which its pods are.
# shellcheck shell=bash

AGENT_RUN=$T/run
AGENT_CGROUP=$(cgroup2)/sallyport-test-$$

# Whatever is left in it is ended, and the agent first, which follows.
agent_down() {
    local status=$?
    trap - ERR
    set +e
    # shellcheck disable=SC2154 # AGENT is set by start_agent
    [ -z "${AGENT:-}" ] || kill -TERM "$AGENT" 2>/dev/null
    if [ -d "$AGENT_CGROUP" ]; then
        find "$AGENT_CGROUP" -name cgroup.procs -exec cat {} + | while read -r pid; do kill -KILL "$pid"; done 2>/dev/null
        for _ in {1..50}; do
            find "$AGENT_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    fi
    (exit "$status")
    tear_down
}
trap agent_down EXIT
mkdir "$AGENT_CGROUP"

# start_agent OPTION...: $AGENT is its pid; its log is $T/agent.err. Returns when it answers.
start_agent() {
    background "${CLEAN[@]}" "$SALLYPORT" run --cgroup-root "$AGENT_CGROUP" --runtime-dir "$AGENT_RUN" "$@" \
        >>"$T/agent.out" 2>>"$T/agent.err"
    AGENT=$!
    wait_for 30 sallyport pods list --runtime-dir "$AGENT_RUN"
}

# stop_agent: it must end well.
stop_agent() {
    local status=0
    kill -TERM "$AGENT"
    wait "$AGENT" || status=$?
    expect_eq "exit status of the agent" 0 "$status"
    AGENT=''
}

# add_pod NAME NETNS: the cgroup $AGENT_CGROUP/NAME, registered as test/NAME.
add_pod() {
    mkdir -p "$AGENT_CGROUP/$1"
    sallyport pods add --runtime-dir "$AGENT_RUN" --cgroup "$AGENT_CGROUP/$1" --netns "/run/netns/$2" --name "test/$1"
}

# in_pod NAME NETNS CMD...: CMD as one of the pod's own.
in_pod() {
    # shellcheck disable=SC2016 # the inner shell's
    clean sh -ec 'echo 0 >"$0/cgroup.procs"; netns=$1; shift; exec nsenter --net="/run/netns/$netns" "$@"' \
        "$AGENT_CGROUP/$1" "${@:2}"
}

# agent_ca: a CA for --ca "$T/agent-ca", which is "$T/ca.pem", too, that tests' servers are signed by.
agent_ca() {
    make_ca ca
    mkdir -m 700 "$T/agent-ca"
    cp "$T/ca.pem" "$T/agent-ca/tls.crt"
    cp "$T/ca.pem" "$T/agent-ca/ca.crt"
    install -m 600 "$T/ca.key" "$T/agent-ca/tls.key"
}
