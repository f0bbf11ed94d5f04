# shellcheck shell=bash
# Disks of every kind under the unit's hardening, with io_uring and direct I/O. A system call that the filter denies
# ends the daemon here. Images in other folders need the drop-in.
# boot: systemd
# limit: 1500
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# shellcheck source=tests/xen/dom0/unit.sh
source dom0/unit.sh
readonly LINEAR_MIB=96
has_sectors() { [[ $(cat "/sys/block/$1/size") == "$2" ]]; }
shows() { "$BLKRING" list --json | grep -q "$1"; }

# A denied system call must show, so it ends the daemon.
lethal_filter() {
    unit_drop_in filter <<'CONF'
[Service]
SystemCallErrorNumber=kill
CONF
    opener_drop_in filter <<'CONF'
[Service]
SystemCallErrorNumber=kill
CONF
}

unit_install
lethal_filter
unit_images 400M
unit_start
pid=$(unit_pid)

say "an image"
unit_image disk 200M
attach "$IMAGE" xvdb
verify_all_sizes xvdb 4
unit_says "I/O engine: io_uring" || fail "the log does not mention io_uring: $(unit_journal | grep 'I/O')"
say "$(unit_journal | grep 'I/O engine')"
find "/proc/$pid/fd" -lname 'anon_inode:\[io_uring\]' | grep -q . || fail "it has no io_uring"
shows "read-write, O_DIRECT" || fail "no direct I/O: $("$BLKRING" list --json | grep '"image"')"
if flock -n "$IMAGE" true; then fail "the image is not locked"; fi
trim_gives_back xvdb
try "grow it" truncate -s 240M "$IMAGE"
try "tell the daemon" "$BLKRING" resize 0/xvdb
wait_for 15 "the new size" has_sectors xvdb $((240 * 2048))
try "pause" "$BLKRING" pause 0/xvdb
try "resume" "$BLKRING" resume 0/xvdb
try "limit" "$BLKRING" limit 0/xvdb --iops 100000
detach xvdb

say "a CD-ROM"
for disc in first second; do
    unit_image $disc 1M
    try "write the disc" dd if=/dev/urandom of="$IMAGE" bs=1M count=1 conv=notrunc status=none
done
attach $UNIT_IMAGES/first.raw xvdd "$BACKEND" devtype=cdrom
try "the first disc" cmp /dev/xvdd $UNIT_IMAGES/first.raw
try "eject" "$BLKRING" eject 0/xvdd
wait_for 15 "no medium" has_sectors xvdd 0
try "insert" "$BLKRING" insert 0/xvdd $UNIT_IMAGES/second.raw
wait_for 15 "the second disc" has_sectors xvdd 2048
try "the second disc" cmp /dev/xvdd $UNIT_IMAGES/second.raw
detach xvdd

say "block devices"
unit_image backing ${LINEAR_MIB}M
loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
attach "$loop" xvdb
verify_all_sizes xvdb 1
IMAGE=$IMAGE trim_gives_back xvdb
detach xvdb
try "a device-mapper device" dmsetup create linear --table "0 $((LINEAR_MIB * 2048)) linear $loop 0"
attach /dev/mapper/linear xvdb
verify_all_sizes xvdb 1
detach xvdb
try "remove it" dmsetup remove linear
# Its major number is registered after the daemon has started.
try "a RAM disk" modprobe brd rd_nr=1 rd_size=65536
attach /dev/ram0 xvdb
verify_all_sizes xvdb 1
try "discard" blkdiscard -f /dev/xvdb
detach xvdb
try "remove the RAM disk" modprobe -r brd

say "an image in another folder"
new_image elsewhere 64M
elsewhere=$IMAGE
if timeout 60 xl block-attach 0 "$(disk_words "$elsewhere" xvdc)"; then
    fail "xl attached an image outside of the opener's folders"
fi
unit_says "the opener does not open $elsewhere: .* outside of the folders" ||
    fail "the journal does not say why: $(unit_journal | tail -n 3 | paste -sd'|')"
say "$(unit_journal | grep 'outside of the folders' | tail -n 1)"
store "$(backend_area 0 xvdc)/hotplug-error" | grep -q 'outside of' || fail "the backend area does not say why"
timeout 60 xl block-detach --force 0 xvdc
unit_is MainPID "$pid" || fail "the daemon is another: $(unit_journal | grep -i 'killed\|dumped\|status=' | tail -n 1)"
unit_image disk 200M
attach "$IMAGE" xvdb
verified_load_start xvdb
sed "s|/data/images|$IMAGES|" packaging/systemd/images.conf | opener_drop_in images
try "restart the opener" systemctl restart blkring-opener
attach "$elsewhere" xvdc
verify_all_sizes xvdc 1
verified_load_stop
guest_root_verified pv
detach xvdc
detach xvdb

unit_is MainPID "$pid" || fail "the daemon is another: $(unit_journal | grep -i 'killed\|dumped\|status=' | tail -n 1)"
denied=$(unit_journal | grep 'EPERM\|EACCES' | head -n 3 | paste -sd'|')
[[ -z $denied ]] || fail "denied: $denied"

say "without io_uring"
rm $DROP_INS/filter.conf
unit_drop_in filter <<'CONF'
[Service]
SystemCallFilter=~@aio
CONF
unit_restart
attach "$elsewhere" xvdc
verify_all_sizes xvdc 1
unit_says "io_uring unavailable .pread.*EPERM.*blocked" ||
    fail "the journal does not say that io_uring is refused: $(unit_journal | grep 'io_uring' | tail -n 1)"
say "$(unit_journal | grep 'io_uring' | tail -n 1)"
detach xvdc
