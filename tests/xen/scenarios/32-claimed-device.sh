# shellcheck shell=bash
# A block device that dom0 has mounted is not served to a guest that writes; one that a guest writes cannot be mounted;
# and after a kill, the guest waits for its device until dom0 lets go of it.
# limit: 420
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
error_is() { store "$(backend_area 0 xvdb)/hotplug-error" | grep -q "$1"; }
shows() { "$BLKRING" list --json | tr -d ' ' | grep -q "$1"; }

new_image disk 64M
loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
try "make a file system" mkfs.ext4 -q "$loop"
try "mount it in dom0" mount "$loop" $MOUNT
try "write a file" cp /usr/bin/busybox $MOUNT/file
xl block-attach 0 "$(disk_words "$loop" xvdb)" || say "xl does not attach it"
wait_for 60 "the device is refused" error_is "$loop is in use on this host (mounted on $MOUNT)"
say "$(store "$(backend_area 0 xvdb)/hotplug-error")"
"$BLKRING" list
has_no_disk xvdb || ((1 > $(cat /sys/block/xvdb/size))) || fail "the guest has the disk"
timeout 60 xl block-detach 0 xvdb || timeout 60 xl block-detach --force 0 xvdb
wait_for 60 "no backend area" absent xenstore-exists "$(backend_area 0 xvdb)"

say "read-only it may be mounted and served"
try "mount it read-only" mount -o remount,ro $MOUNT
attach "$loop" xvdb "$BACKEND" access=ro
shows '"lock":"shared"' || fail "no shared lock: $("$BLKRING" list --json)"
detach xvdb
try "unmount" umount $MOUNT

say "served, it cannot be mounted"
attach "$loop" xvdb
shows '"lock":"exclusive"' || fail "no lock: $("$BLKRING" list --json)"
shows '"claimed":true' || fail "no claim: $("$BLKRING" list --json)"
"$BLKRING" list
if mount "$loop" $MOUNT; then fail "dom0 mounted what a guest writes"; fi
if mkfs.ext4 -q -F "$loop" </dev/null; then fail "mkfs overwrote what a guest writes"; fi
try "the guest mounts it" mount /dev/xvdb $MOUNT
try "the file is there" cmp /usr/bin/busybox $MOUNT/file
try "the guest discards" fstrim $MOUNT
try "the guest unmounts it" umount $MOUNT

say "after a kill the guest waits for it"
try "kill the daemon" daemon_kill
try "dom0 claims the device" dmsetup create claim --table "0 $((64 * 2048)) linear $loop 0"
try "start the daemon" daemon_start
wait_for 60 "the wait is told" shows "isinuseonthishost(partofclaim"
store_is "$(backend_area 0 xvdb)/state" 4 || fail "the device is not Connected: $(store "$(backend_area 0 xvdb)/state")"
dd if=/dev/xvdb of=/dev/null bs=4096 count=1 iflag=direct status=none &
read=$!
sleep 3
kill -0 $read || fail "the guest did not wait"
try "dom0 lets go of it" dmsetup remove claim
wait $read || fail "the guest's read failed"
try "the guest goes on" e2fsck -f -n /dev/xvdb
detach xvdb
