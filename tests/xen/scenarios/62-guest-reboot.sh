# shellcheck shell=bash
# A guest reboots: the second boot, on a new connection, finds what the first has written.
# limit: 360
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

guest_root reboot 64M '
if [ ! -e /data/sums ]; then
    head -c 8388608 /dev/urandom >/data/file
    sha256sum /data/file >/data/sums
    sync
    echo first boot is done
    reboot -f
fi
sha256sum -c /data/sums'
guest_start reboot pv "$IMAGE"
first=$(guest_id reboot)
wait_for 90 "the first boot" guest_says reboot 'first boot is done'
guest_passed reboot 120
say "domain $first booted again as another"
try "check the image" e2fsck -f -n "$IMAGE"
