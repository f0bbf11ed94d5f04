# shellcheck shell=bash
# CD-ROM drives of dom0 and of a PV guest are read-only; their discs are read byte for byte, and ejected and changed
# while in use, also under load and across restarts of the daemon.
# limit: 1200
# proves: F15
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# From <linux/cdrom.h>; xen-blkfront supports it only for a CD-ROM.
readonly CDROM_GET_CAPABILITY=0x5331

# new_disc NAME MIB: a file system with random data and a file with its name; its path is in IMAGE.
new_disc() {
    local tree=$IMAGES/$1.tree
    mkdir "$tree"
    echo "$1" >"$tree/name"
    head -c $((($2 - 4) << 20)) /dev/urandom >"$tree/data"
    (cd "$tree" && sha256sum name data >sums)
    new_image "$1" "$2M"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$tree" "$IMAGE" || fail "no disc"
    rm -rf "$tree"
}

# drive KEY: an attribute of dom0's drive in /sys/block.
drive() { cat "/sys/block/xvdb/$1"; }
drive_has() { [[ $(drive size) == "$1" ]]; }
listed_empty() { "$BLKRING" list | grep 'xvdb *connected .*no medium'; }
sectors_of() { echo $(($(stat -c %s "$1") / 512)); }
is_cdrom() {
    python3 -c "import fcntl, os; fcntl.ioctl(os.open('/dev/$1', os.O_RDONLY), $CDROM_GET_CAPABILITY, 0)" 2>/dev/null
}
refuses() { ! "$@" 2>/dev/null; }

# eject DEVICE, insert DEVICE IMAGE
eject() { try "eject $1" "$BLKRING" eject "$1"; }
insert() { try "insert $2" "$BLKRING" insert "$1" "$2"; }

# dom0_reads IMAGE: the drive of dom0 has exactly the bytes of IMAGE.
dom0_reads() {
    wait_for 15 "the length of $1 in dom0" drive_has "$(sectors_of "$1")"
    try "dom0 reads $1" cmp "$1" /dev/xvdb
}

in_guest() { guest_run drive "$1" || fail "in the guest: $1: $ANSWER"; }
guest_refuses() { ! guest_run drive "$1" || fail "in the guest, which should fail: $1: $ANSWER"; }
# guest_waits WHAT CONDITION: waits up to a minute in the guest.
guest_waits() {
    guest_run drive "for second in \$(seq 60); do $2 && break; sleep 1; done; $2" ||
        fail "not within a minute, in the guest: $1"
}
guest_sees() { guest_waits "$2 sectors of $1" "[ \$(cat /sys/block/$1/size) = $2 ]"; }

# guest_reads IMAGE: the guest's drive has the bytes of IMAGE, read as a device and as a file system.
guest_reads() {
    guest_sees xvdb "$(sectors_of "$1")"
    in_guest 'sha256sum </dev/xvdb'
    [[ $ANSWER == "$(sha256sum <"$1")" ]] || fail "the guest reads other bytes than $1 has"
    in_guest 'mount -t ext4 -o ro /dev/xvdb /mnt && (cd /mnt && sha256sum -c sums) && cat /mnt/name; umount /mnt'
    [[ ${ANSWER##*$'\n'} == "$(basename "$1" .raw)" ]] || fail "the guest mounts another disc than $1: $ANSWER"
}

new_disc first 12; first=$IMAGE
new_disc larger 20; larger=$IMAGE
new_disc smaller 6; smaller=$IMAGE
new_disc other 12; other=$IMAGE
sums=$(sha256sum "$IMAGES"/*.raw)
new_image disk 16M; disk=$IMAGE

say "---- a drive of dom0, by xl"
attach "$first" xvdb blkring devtype=cdrom
attach "$disk" xvdc
area=$(backend_area 0 xvdb)
store_is "$area/info" 7 || fail "info is $(store "$area/info"), not CD-ROM, removable and read-only"
[[ $(drive ro) == 1 && $(drive removable) == 1 ]] || fail "Linux has ro $(drive ro), removable $(drive removable)"
is_cdrom xvdb || fail "Linux does not recognise a CD-ROM"
! is_cdrom xvdc || fail "Linux takes a disk for a CD-ROM"
dom0_reads "$first"
try "no writing" refuses dd if=/dev/zero of=/dev/xvdb bs=4k count=1 conv=fsync status=none
try "no discarding" refuses blkdiscard -f /dev/xvdb
try "no mounting to write" refuses mount -w /dev/xvdb $MOUNT
try "no eject of a disk" refuses "$BLKRING" eject 0/xvdc
try "refuse to insert an image that does not exist" refuses "$BLKRING" insert 0/xvdb "$IMAGES/none.raw"
dom0_reads "$first"
verify_all_sizes xvdc 1
insert 0/xvdb "$smaller"
dom0_reads "$smaller"
insert 0/xvdb "$larger"
dom0_reads "$larger"

say "---- under load"
for round in 1 2; do
    fio --name=load --filename=/dev/xvdb --readonly --direct=1 --ioengine=libaio --iodepth=32 --rw=randread --bs=16k \
        --time_based --runtime=60 \
        --continue_on_error=all >/tmp/load.log 2>&1 &
    load=$!
    sleep 3
    kill -0 $load 2>/dev/null || fail "no load: $(paste -sd'|' /tmp/load.log)"
    eject 0/xvdb
    wait_for 15 "an empty drive" drive_has 0
    sleep 1
    if ((round == 1)); then kill -TERM $load 2>/dev/null; wait $load; fi
    insert 0/xvdb "$larger"
    kill -TERM $load 2>/dev/null
    wait $load
    dom0_reads "$larger"
done
say "fio: $(grep -m 1 'IOPS' /tmp/load.log)," \
    "$(dmesg | sed '1,/scenario 35-cdrom/d' | grep -c 'I/O error, dev xvdb') errors in the kernel's log"

say "---- across restarts"
eject 0/xvdb
try "stop the daemon" daemon_stop
try "start the daemon" daemon_start
wait_for 30 "the drive in the list, still empty" listed_empty
drive_has 0 || fail "the drive has $(drive size) sectors after a restart, it was empty"
insert 0/xvdb "$other"
try "kill the daemon" daemon_kill
try "start the daemon" daemon_start
dom0_reads "$other"
try "stop the daemon" daemon_stop
mv "$other" "$other.away"
try "start the daemon" daemon_start
wait_for 15 "an empty drive, its disc is gone" drive_has 0
mv "$other.away" "$other"
insert 0/xvdb "$other"
dom0_reads "$other"
detach xvdb
detach xvdc

say "---- an empty drive"
if xl block-attach 0 vdev=xvdb,format=raw,devtype=cdrom,backendtype=tap,script=block-blkring,target=; then
    fail "xl attaches an empty drive: say so in docs/deploy.md"
fi
try "attach an empty drive" "$BLKRING" attach 0/xvdb --cdrom
wait_for 15 "the drive" test -b /dev/xvdb
[[ $(drive ro) == 1 && $(drive removable) == 1 ]] || fail "Linux has ro $(drive ro), removable $(drive removable)"
is_cdrom xvdb || fail "Linux does not recognise a CD-ROM"
drive_has 0 || fail "an empty drive has $(drive size) sectors"
insert 0/xvdb "$first"
dom0_reads "$first"
try "detach it" "$BLKRING" detach 0/xvdb
wait_for 15 "no drive" has_no_disk xvdb

say "---- a drive of a guest"
guest_root drive 64M "mkdir /mnt; $GUEST_SHELL"
guest_start drive pv "$IMAGE" "devtype=cdrom,$(disk_words "$first" xvdb)"
id=$(guest_id drive)
in_guest 'cat /sys/block/xvdb/ro /sys/block/xvdb/removable /sys/block/xvda/ro /sys/block/xvda/removable'
[[ $ANSWER == $'1\n1\n0\n0' ]] ||
    fail "ro and removable of the guest's drive, then of its disk, are ${ANSWER//$'\n'/, }"
guest_reads "$first"
guest_refuses 'dd if=/dev/zero of=/dev/xvdb bs=4k count=1 conv=fsync'
say "xl cd-eject: $(xl cd-eject "$id" xvdb 2>&1 | tail -n 1)"
say "xl cd-insert: $(xl cd-insert "$id" xvdb "$larger" 2>&1 | tail -n 1)"
guest_reads "$first"
insert "$id/xvdb" "$larger"
guest_reads "$larger"
insert "$id/xvdb" "$smaller"
guest_reads "$smaller"

say "---- ejected while it is mounted"
insert "$id/xvdb" "$larger"
guest_sees xvdb "$(sectors_of "$larger")"
in_guest 'mount -t ext4 -o ro /dev/xvdb /mnt && head -c 4096 /mnt/data | wc -c'
eject "$id/xvdb"
guest_sees xvdb 0
guest_refuses 'cat /mnt/data >/dev/null'
in_guest 'umount /mnt'
guest_refuses 'mount -t ext4 -o ro /dev/xvdb /mnt'
insert "$id/xvdb" "$other"
guest_reads "$other"

say "---- changed while it is open: the guest caches the old disc until its buffers are flushed"
in_guest 'exec 3</dev/xvdb; sha256sum </dev/xvdb'
insert "$id/xvdb" "$first"
sleep 2
in_guest 'sha256sum </dev/xvdb'
case $ANSWER in
    "$(sha256sum <"$other")") say "the guest still reads the old disc" ;;
    "$(sha256sum <"$first")") say "the guest reads the new disc at once" ;;
    *) say "the guest reads parts of both discs" ;;
esac
in_guest 'blockdev --flushbufs /dev/xvdb; sha256sum </dev/xvdb; exec 3<&-'
[[ $ANSWER == "$(sha256sum <"$first")" ]] || fail "with its buffers flushed the guest does not read the new disc"
guest_reads "$first"

say "---- under load in the guest, and across restarts"
# shellcheck disable=SC2016
in_guest 'for i in 1 2 3 4; do (until [ -e /tmp/stop ]; '\
'do dd if=/dev/xvdb bs=64k iflag=direct 2>/dev/null | wc -c >>/tmp/reads.$i; done; touch /tmp/ended.$i) & done'
whole=$(stat -c %s "$larger")
for round in 1 2; do
    insert "$id/xvdb" "$larger"
    guest_waits "readings of the whole disc" "tail -qn 1 /tmp/reads.* | grep -qx $whole"
    eject "$id/xvdb"
    guest_waits "readings of nothing" "tail -qn 1 /tmp/reads.* | grep -qx 0"
    try "stop the daemon" daemon_stop
    try "start the daemon" daemon_start
done
in_guest 'touch /tmp/stop'
# shellcheck disable=SC2016
guest_waits "the end of all readers" '[ $(ls /tmp/ended.* 2>/dev/null | wc -l) = 4 ]'
in_guest 'cat /tmp/reads.* | sort | uniq -c | sort -rn | head -n 4'
say "readings by their length: ${ANSWER//$'\n'/;}"
insert "$id/xvdb" "$other"
try "kill the daemon" daemon_kill
try "start the daemon" daemon_start
guest_reads "$other"

say "---- attached to the running guest, empty, by blkring"
try "attach" "$BLKRING" attach "$id/xvdd" --cdrom
guest_waits "the drive" '[ -b /dev/xvdd ]'
in_guest 'cat /sys/block/xvdd/ro /sys/block/xvdd/removable /sys/block/xvdd/size'
[[ $ANSWER == $'1\n1\n0' ]] || fail "ro, removable and size of the empty drive are ${ANSWER//$'\n'/, }"
insert "$id/xvdd" "$smaller"
guest_sees xvdd "$(sectors_of "$smaller")"
in_guest 'sha256sum </dev/xvdd'
[[ $ANSWER == "$(sha256sum <"$smaller")" ]] || fail "the guest does not read the bytes of the inserted disc"
try "detach" "$BLKRING" detach "$id/xvdd"
guest_type drive end
guest_passed drive 60
[[ $(sha256sum "$IMAGES"/{first,larger,smaller,other}.raw | sort) == "$(sort <<<"$sums")" ]] ||
    fail "a disc has changed"
