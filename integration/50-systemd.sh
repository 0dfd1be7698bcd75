#!/bin/sh
# The Debian package under a real systemd: a minimal Debian boots in a container, the package is installed,
# tried, upgraded, removed and purged there. What is tried is in systemd/inside.sh.
#
# usage: integration/50-systemd.sh [SUITE]      of Debian; bookworm, if none is named
# The tree is kept in $XDG_CACHE_HOME/rtmd-test, or /var/cache/rtmd-test.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "skip: the package under systemd: $*"
    exit 0
}

[ "$(id -u)" = 0 ] || skip 'it takes root'
PATH=$PATH:/usr/sbin:/sbin
for tool in systemd-nspawn mmdebstrap dpkg-deb dpkg-shlibdeps lintian nsenter; do
    command -v "$tool" >/dev/null || skip "no $tool, integration/deps installs it"
done

suite=${1:-bookworm}
packages=systemd,systemd-sysv,dbus,iproute2,iputils-ping,libnss-systemd,passwd,polkitd,udev
cache=${XDG_CACHE_HOME:-/var/cache}/rtmd-test
tree=$cache/$suite-$(printf %s "$packages" | cksum | cut -d ' ' -f 1)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac

work=$(mktemp -d)
name=rtmd-test-$$
nspawn=''
growing=''
clean() {
    trap '' INT TERM
    if [ -n "$nspawn" ]; then
        # All that is in the container ends with its first process, and then nspawn does.
        first=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) || first=''
        # shellcheck disable=SC2086 # a list of one, or none
        [ -z "$first" ] || kill -KILL $first 2>/dev/null || true
        kill -TERM "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
        integration/systemd/cgroup remove "$name" || true
    fi
    if [ -n "$growing" ]; then
        kill -TERM "$growing" 2>/dev/null || true
        wait "$growing" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work" "$tree.$$"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the tree and the package, at the same time -----------------------------------------------

if [ ! -e "$tree" ]; then
    echo "   making a tree of Debian $suite in $cache"
    mkdir -p "$cache"
    # An archive first: it is made where mmdebstrap has mounts, which only it can take away.
    mmdebstrap --quiet --variant=apt --include="$packages" "$suite" "$work/tree.tar" >"$work/tree.log" 2>&1 &
    growing=$!
fi

# The programs as they are built for all other tests; the package is the same but for those.
cargo build --locked --quiet --bins
make --no-print-directory --silent target/tools/bin/cargo-deb >"$work/cargo-deb.log" 2>&1 || {
    tail -n 5 "$work/cargo-deb.log"
    skip 'cargo-deb cannot be built'
}
make --no-print-directory --silent stage >/dev/null
rm -rf "$target/systemd"
mkdir -p "$target/systemd/release"
cp "$target/debug/rtmd" "$target/debug/rtmctl" "$target/systemd/release/"
CARGO_TARGET_DIR="$target/systemd" target/tools/bin/cargo-deb --locked --quiet --no-build --fast --output "$work/rtmd.deb" >/dev/null
rm -rf "$target/systemd"

echo '== lintian has nothing to say'
lintian --allow-root --fail-on error,warning "$work/rtmd.deb"

# The next version, which is the same but for its number.
dpkg-deb --raw-extract "$work/rtmd.deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$work/next" "$work/next.deb" >/dev/null
rm -rf "$work/next"

if [ -n "$growing" ]; then
    wait "$growing" || {
        growing=''
        tail -n 5 "$work/tree.log"
        skip "no tree of Debian $suite"
    }
    growing=''
    # A tree that is not complete never has the name of one that is.
    mkdir "$tree.$$"
    tar --extract --file="$work/tree.tar" --directory="$tree.$$" --numeric-owner
    rm -rf "$work/tree.tar"
    mv "$tree.$$" "$tree"
fi

# --- the machine -----------------------------------------------------------------------------

mkdir "$work/shared"
mv "$work"/*.deb "$work/shared"
cp integration/systemd/inside.sh integration/systemd/sandbox.pl "$work/shared"
chmod -R a+rX "$work/shared" && chmod 755 "$work"

integration/systemd/boot "$name" "$tree" "$work/shared" >"$work/boot.log" 2>&1 &
nspawn=$!
first=''
inside() {
    nsenter --target "$first" --mount --uts --ipc --net --pid --cgroup --root \
        env --ignore-environment --chdir=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root TERM=dumb "$@"
}
is_up() {
    first=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) && first=${first%% *} && [ -n "$first" ] &&
        case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) false ;; esac
}
for _ in $(seq 300); do
    kill -0 "$nspawn" 2>/dev/null || {
        wait "$nspawn" || true
        nspawn=''
        integration/systemd/cgroup remove "$name" || true
        tail -n 5 "$work/boot.log"
        skip 'systemd-nspawn cannot boot here'
    }
    ! is_up || break
    sleep 0.2
done
is_up || {
    tail -n 20 "$work/boot.log" >&2
    skip 'no systemd that is up after a minute'
}

group=rtmd
inside sh /shared/inside.sh "$group" || {
    echo "--- the log of rtmd, in the end" >&2
    inside journalctl --no-pager --quiet --lines 60 --unit rtmd --output cat >&2 || true
    exit 1
}
