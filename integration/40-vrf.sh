#!/bin/sh
# Runs the test of VRFs on a kernel that has them: Debian's, in a virtual machine that has nothing on it
# but the test, rtmd, and what they need. Takes about a minute; the kernel is kept in ~/.cache/rtmd.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "skip: VRFs: $*"
    exit 0
}

PATH=$PATH:/usr/sbin:/sbin
for tool in qemu-system-x86_64 busybox cpio depmod dpkg-deb apt-get; do
    command -v "$tool" >/dev/null || skip "no $tool, integration/deps installs it"
done
[ "$(uname -m)" = x86_64 ] || skip 'the virtual machine is one of x86_64'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The kernel, as a package: nothing is installed.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rtmd
mkdir -p "$cache"
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: *//p' | head -n 1)
[ -n "$package" ] || skip 'apt knows no linux-image-cloud-amd64'
if ! ls "$cache/$package"_*.deb >/dev/null 2>&1; then
    echo "fetching $package"
    rm -f "$cache"/linux-image-*.deb
    # As root, apt fetches as a user of its own, who may not write everywhere.
    (cd "$cache" && apt-get -qq -o APT::Sandbox::User=root download "$package") ||
        skip "cannot fetch $package"
fi
dpkg-deb -x "$cache/$package"_*.deb "$work/kernel"
version=$(basename "$work"/kernel/lib/modules/*)

# What runs in there: the newest build of the test, and of rtmd, where the test looks for it.
test=$(cargo test --locked --test vrf --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/vrf-[^"]*\)".*/\1/p' | tail -n 1)
rtmd=$(dirname "$(dirname "$test")")/rtmd
root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/run" "$root/etc" "$root/modules"

# with_libraries FILE...: copies programs to the same place, and what they are linked with.
with_libraries() {
    for file; do
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
        # A program without any is content with itself.
        for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ )]*' || true); do
            mkdir -p "$root$(dirname "$library")"
            [ -e "$root$library" ] || cp -L "$library" "$root$library"
        done
    done
}
with_libraries "$test" "$rtmd" "$(command -v dbus-daemon)" "$(command -v ip)"
cp "$(command -v busybox)" "$root/bin/busybox"
mkdir -p "$root/usr/share"
cp -r /usr/share/dbus-1 "$root/usr/share/"
printf 'root:x:0:0:root:/:/bin/sh\nmessagebus:x:100:100::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nmessagebus:x:100:\n' >"$root/etc/group"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
strip --strip-debug "$root$test" "$root$rtmd" 2>/dev/null || true

# The modules in the order that they need each other.
depmod -b "$work/kernel" "$version"
for module in vrf veth; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/order"
insert=
while read -r module; do
    cp "$module" "$root/modules/"
    insert="$insert/bin/busybox insmod /modules/$(basename "$module")
"
done <"$work/order"

cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
/bin/busybox ln -s /proc/self/fd /dev/fd 2>/dev/null
$insert
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ RUST_BACKTRACE=1
if $test --nocapture; then echo "VRF TEST PASSED"; else echo "VRF TEST FAILED"; fi
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
for link in lib lib64 sbin; do
    # Where / is merged with /usr, programs are linked by the old names.
    [ ! -L "/$link" ] || [ -e "$root/$link" ] || ln -s "$(readlink "/$link")" "$root/$link"
done
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

echo "starting $package"
timeout 600 qemu-system-x86_64 -accel tcg -smp 2 -m 1024 -nographic -no-reboot \
    -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initrd" \
    -append 'console=ttyS0 quiet panic=-1' </dev/null >"$work/console" 2>&1 || true
if grep -q 'VRF TEST PASSED' "$work/console" && ! grep -q 'this kernel has no VRF' "$work/console"; then
    grep -a '^test ' "$work/console"
    echo "VRFs work with $package"
else
    cat "$work/console"
    exit 1
fi
