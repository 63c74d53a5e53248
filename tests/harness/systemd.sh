# systemd: a whole init system in namespaces of its own, over a copy-on-write view of this machine.
#
#   systemd_up          boots it; the files it changes are gone with it
#   in_systemd CMD...   runs CMD inside
#
# Source lib.sh first. The machine's own programs and checkout are seen inside at their places; /run
# and /tmp are empty. Its cgroups lie below one of our own, and its network is its own, so a service
# that attaches to "the root of cgroup v2" touches the test alone. Units that would set up the
# machine (devices, kernel settings, modules) are masked.
# shellcheck shell=bash

SYSTEMD=$T/systemd
SYSTEMD_CGROUP=$(cgroup2)/sallyport-test-init-$$

# shellcheck disable=SC2317 # called by tear_down
systemd_down() {
    [ -z "${SYSTEMD_PID:-}" ] || kill -KILL "$SYSTEMD_PID" 2>/dev/null
    [ -z "${SYSTEMD_PID:-}" ] || tail --pid="$SYSTEMD_PID" -f /dev/null
    if [ -d "$SYSTEMD_CGROUP" ]; then
        echo 1 >"$SYSTEMD_CGROUP/cgroup.kill"
        while grep -q 'populated 1' "$SYSTEMD_CGROUP/cgroup.events"; do sleep 0.05; done
        find "$SYSTEMD_CGROUP" -depth -type d -exec rmdir {} +
    fi
}

# Process 1 of the new namespaces: makes their view of the file system, and becomes systemd.
# shellcheck disable=SC2317 # run by systemd_up in a shell of its own
systemd_init() { # directory, checkout
    set -eu
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$1"
    mkdir "$1/upper" "$1/work" "$1/root"
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work,xino=off" overlay "$1/root"
    cd "$1/root"
    mount -t proc proc proc
    mount --bind -o ro proc/sys proc/sys # the machine's settings are not ours
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t bpf bpf sys/fs/bpf
    mount --rbind /dev dev
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mkdir -p ".$2"
    mount --bind "$2" ".$2"
    rm -rf etc/systemd/system etc/fstab usr/sbin/policy-rc.d
    mkdir -p etc/systemd/system
    : >etc/machine-id
    for unit in systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service \
        systemd-remount-fs.service systemd-tmpfiles-setup-dev.service systemd-udevd.service \
        systemd-random-seed.service systemd-update-utmp.service sys-kernel-debug.mount \
        sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount \
        proc-sys-fs-binfmt_misc.automount systemd-logind.service; do
        ln -s /dev/null etc/systemd/system/$unit
    done
    ln -s /lib/systemd/system/basic.target etc/systemd/system/default.target
    mount --make-rshared / # as systemd has it on a machine: services see what is mounted later
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd \
        --log-target=journal --show-status=0
}

systemd_up() {
    local checkout
    checkout=$(realpath "$HERE/../..")
    mkdir -p "$SYSTEMD" "$SYSTEMD_CGROUP"
    # shellcheck disable=SC2016 # for the shell that bash -c starts
    bash -c 'echo $$ >"$1/cgroup.procs" && exec unshare --mount --pid --cgroup --net --uts --ipc --fork \
        --kill-child=KILL bash -c "$2"' - "$SYSTEMD_CGROUP" \
        "$(declare -f systemd_init); systemd_init '$SYSTEMD' '$checkout'" >"$T/systemd.err" 2>&1 9>&- &
    SYSTEMD_PID=$!
    wait_for 60 in_systemd systemctl is-system-running --quiet
}

in_systemd() {
    local init
    init=$(pgrep -P "$SYSTEMD_PID") || return
    [[ $(readlink "/proc/$init/exe") = */lib/systemd/systemd ]] || return
    nsenter -t "$init" -m -p -u -i -n -C --root="/proc/$init/root" --wd="/proc/$init/root" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
