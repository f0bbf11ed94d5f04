# shellcheck shell=bash
# A file system of dom0 is frozen, as every snapshot does it, with direct writes of one disk to it under way. No request
# of another disk, on another file system, waits for it, and after the thaw all writes are done.
# limit: 420
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

# file_system NAME: an ext4 of its own at /run/NAME, with an image without holes in it.
file_system() {
    new_image "$1-ext4" 160M
    try "make a file system" mkfs.ext4 -q "$IMAGE"
    mkdir -p "/run/$1"
    try "mount it" mount -o loop "$IMAGE" "/run/$1"
    try "fill an image" dd if=/dev/zero of="/run/$1/disk.raw" bs=1M count=64 conv=fsync status=none
}

thaw() { fsfreeze -u /run/frozen 2>/dev/null; }
in_flight() { awk '{print $1 + $2}' "/sys/block/$1/inflight"; }
has_in_flight() { (($(in_flight xvdb) >= $1)); }

# writes XVDX DEPTH COUNT MORE...: random direct writes by two jobs, one on each CPU, and so to both queues.
writes() {
    fio --name=writes --filename="/dev/$1" --direct=1 --ioengine=libaio --iodepth="$2" --rw=randwrite --bs=4k \
        --size=32M --norandommap --number_ios="$3" --numjobs=2 --cpus_allowed=0-1 --cpus_allowed_policy=split "${@:4}"
}

file_system frozen
file_system beside
attach /run/frozen/disk.raw xvdb
attach /run/beside/disk.raw xvdc
try "writes before" writes xvdb 24 24 --output=/tmp/before.log

trap thaw EXIT
try "freeze" fsfreeze -f /run/frozen
writes xvdb 24 24 --output=/tmp/frozen.log &
WRITES=$!
wait_for 60 "48 writes are under way" has_in_flight 48

for round in 1 2 3; do
    try "writes and flushes beside it, round $round" timeout 60 fio --name=beside --filename=/dev/xvdc --direct=1 \
        --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k --size=16M --number_ios=48 --fsync=1 --numjobs=2 \
        --cpus_allowed=0-1 --cpus_allowed_policy=split --output=/tmp/beside.log
    try "reads beside it" timeout 60 dd if=/dev/xvdc of=/dev/null bs=64k count=64 iflag=direct status=none
    try "discards beside it" timeout 60 blkdiscard -o $((round * 8))M -l 1M /dev/xvdc
done
has_in_flight 48 || fail "the frozen disk has answered: $(in_flight xvdb) of 48 under way"
new_image later 16M
attach "$IMAGE" xvdd
try "write to a disk attached meanwhile" timeout 60 dd if=/dev/zero of=/dev/xvdd bs=64k count=16 oflag=direct \
    conv=fsync status=none
detach xvdd
workers=$(grep -l 'iou-wrk' "/proc/$(daemon_pid)/task/"*/comm | wc -l)
say "$workers workers of the kernel"

try "thaw" thaw
trap - EXIT
wait_for 60 "all writes are done" absent kill -0 $WRITES
wait $WRITES || fail "the writes to the frozen disk failed: $(grep -m 3 -i error /tmp/frozen.log | paste -sd'|')"
verify_all_sizes xvdb 4
detach xvdb
detach xvdc
try "unmount" umount /run/frozen /run/beside
