# shellcheck shell=bash
# TRIM: what fstrim and blkdiscard give back is missing from the image's allocated size; not where xl forbids it.
# limit: 240
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
allocated_mib() { echo $(($(stat -c %b "$IMAGE") / 2048)); }

new_image disk 256M
attach "$IMAGE" xvdb
try "make a file system" mkfs.ext4 -q -E nodiscard /dev/xvdb
try "mount" mount /dev/xvdb $MOUNT
try "write 64 MiB" dd if=/dev/urandom of=$MOUNT/large bs=1M count=64 conv=fsync status=none
head -c 1048576 /dev/urandom >$MOUNT/kept
sum=$(sha256sum <$MOUNT/kept)
sync -f $MOUNT
full=$(allocated_mib)
rm $MOUNT/large
sync -f $MOUNT
try "trim" fstrim -v $MOUNT
trimmed=$(allocated_mib)
say "allocated: $full MiB with the file, $trimmed MiB after fstrim"
((full >= 64)) || fail "the image has only $full MiB allocated with 64 MiB written"
((full - trimmed >= 60)) || fail "fstrim gave back only $((full - trimmed)) of 64 MiB"
try "unmount" umount $MOUNT
try "mount again" mount /dev/xvdb $MOUNT
[[ $(sha256sum <$MOUNT/kept) == "$sum" ]] || fail "the file that was kept has changed"
try "unmount again" umount $MOUNT
try "check" e2fsck -f -n /dev/xvdb

try "discard all" blkdiscard -f /dev/xvdb
(($(allocated_mib) == 0)) || fail "$(allocated_mib) MiB still allocated after blkdiscard"
try "what was discarded is zero" cmp -n 16777216 /dev/xvdb /dev/zero
detach xvdb

attach "$IMAGE" xvdc "$BACKEND" no-discard
[[ $(cat /sys/block/xvdc/queue/discard_max_bytes) == 0 ]] || fail "discard is offered although the toolstack forbids it"
detach xvdc
