# shellcheck shell=bash
# A mounted disk grows: the image is extended, the daemon is told, and the frontend and then the file system use the new
# length.
# limit: 180
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
has_sectors() { [[ $(cat /sys/block/xvdb/size) == "$1" ]]; }

new_image disk 64M
attach "$IMAGE" xvdb
try "make a file system" mkfs.ext4 -q /dev/xvdb
try "mount" mount /dev/xvdb $MOUNT
head -c 8388608 /dev/urandom >$MOUNT/file
sum=$(sha256sum <$MOUNT/file)
try "grow the image" truncate -s 160M "$IMAGE"
try "tell the daemon" "$BLKRING" resize 0/xvdb
wait_for 15 "the new size in dom0" has_sectors $((160 * 2048))
try "grow the file system" resize2fs /dev/xvdb
try "use the new space" dd if=/dev/urandom of=$MOUNT/large bs=1M count=100 conv=fsync status=none
echo 3 >/proc/sys/vm/drop_caches
[[ $(sha256sum <$MOUNT/file) == "$sum" ]] || fail "the file has changed"
try "unmount" umount $MOUNT
try "check" e2fsck -f -n /dev/xvdb
detach xvdb
