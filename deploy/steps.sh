# steps: what deploy/demo and deploy/compare have in common: telling steps, and building. Source it.
#
# Who sources it has set $T, a directory for what is made.
# shellcheck shell=bash

if [ -t 2 ]; then terminal=1; else terminal=''; fi

# told WHAT RESULT: one line for a step, on a terminal only.
told() { [ -z "$terminal" ] || printf '\r\e[K%-8s %s\n' "$1" "$2" >&2; }

# quietly WHAT CMD...: the last line of its output is its progress; all of it is shown when it fails.
quietly() {
    local what=$1
    shift
    if "$@" </dev/null 2>&1 | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$T/log"
        [ -z "$terminal" ] || printf '\r\e[K%-8s %.70s' "$what" "${line//[![:print:]]/ }" >&2
    done; then
        return
    fi
    told "$what" failed
    cat "$T/log" >&2
    exit 125
}

# build LIST: installs what deploy/deps has for this list, and builds build/release/sallyport.
build() {
    local directory owner build_as=()
    # as whom the build directory belongs to: what root made there would be in the owner's way
    for directory in build/release build .; do [ ! -d "$directory" ] || break; done
    owner=$(stat -c %u "$directory")
    if [ "$owner" != 0 ] && getent passwd "$owner" >/dev/null; then
        build_as=(setpriv --reuid "$owner" --regid "$(stat -c %g "$directory")" --init-groups --reset-env)
    fi
    quietly packages deploy/deps "$1"
    told packages "all there"
    quietly program "${build_as[@]}" cmake --preset release
    quietly program "${build_as[@]}" cmake --build --preset release -j"$(nproc)"
    told program "build/release/sallyport"
}
