# shellcheck shell=bash
# A file system on a disk that is attached to dom0 is made, written, synced, checked and mounted again; checksums are
# compared.
# short: yes
# limit: 180
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

new_image disk 256M
attach "$IMAGE" xvdb
try "make a file system" mkfs.ext4 -q /dev/xvdb
try "mount" mount /dev/xvdb $MOUNT
mkdir $MOUNT/files
for size in 1 511 4096 65537 1048576 16777216; do
    head -c "$size" /dev/urandom >"$MOUNT/files/$size"
done
cp -r /etc/. $MOUNT/files/etc
(cd $MOUNT && find files -type f -exec sha256sum {} +) >/tmp/sums
say "$(wc -l </tmp/sums) files"
try "fsync" sync -f $MOUNT
try "unmount" umount $MOUNT
try "check" e2fsck -f -n /dev/xvdb
detach xvdb

try "check the image itself" e2fsck -f -n "$IMAGE"
attach "$IMAGE" xvdc
try "mount again" mount /dev/xvdc $MOUNT
cd $MOUNT || fail "no mount"
try "compare checksums" sha256sum --quiet -c /tmp/sums
cd /
try "unmount again" umount $MOUNT
detach xvdc
