#!/usr/bin/env bash
# Promise: the Debian package is built by cpack and free of faults; installed it starts the agent as a
# hardened service, an upgrade and a reload lose no connection, removing it sets pods free, and
# purging it leaves nothing.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/systemd.sh
. "$(dirname "$0")/../harness/systemd.sh"

cd "$HERE/../.."
command -v lintian >/dev/null || skip "lintian is not installed (deploy/deps --tests does that)"
{ cmake --preset release && cmake --build --preset release -j2; } >"$T/build.err" 2>&1 ||
    fail "the release build"
for version in 0.1.0 0.1.1; do
    cpack --config build/release/CPackConfig.cmake -B "$T/deb" -D CPACK_PACKAGE_VERSION=$version \
        >"$T/cpack.err" 2>&1 || fail "cpack $version"
done
lintian --allow-root --fail-on error,warning "$T"/deb/sallyport_0.1.0_*.deb ||
    fail "lintian found faults in the package"

mkdir -m 755 "$T/here"
cp "$T"/deb/*.deb "$T/here"
systemd_up
# what is below $T outside is not seen inside: /tmp is another one there
tar -C "$T/here" -c . | in_systemd tar -C /run -x
in_systemd env SALLYPORT="$SALLYPORT" "$HERE/inside.sh"
