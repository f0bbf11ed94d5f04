# shellcheck shell=bash
# TRIM on block devices: a loop device, which can write zeros, and a RAM disk, which can only discard (as thin LVM
# does).
# limit: 240
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
limit_of() { cat "/sys/block/$1/queue/$2"; }

new_image disk 256M
loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
attach "$loop" xvdb
trim_gives_back xvdb
detach xvdb

try "a RAM disk" modprobe brd rd_nr=1 rd_size=65536
say "ram0: write zeroes $(limit_of ram0 write_zeroes_max_bytes), discard $(limit_of ram0 discard_max_bytes)," \
    "granularity $(limit_of ram0 discard_granularity)"
(($(limit_of ram0 write_zeroes_max_bytes) == 0)) || fail "ram0 can write zeros: it does not stand for what this tries"
(($(limit_of ram0 discard_max_bytes) > 0)) || fail "ram0 cannot discard: it does not stand for what this tries"
attach /dev/ram0 xvdc
try "write 16 MiB" dd if=/dev/urandom of=/dev/xvdc bs=1M count=16 oflag=direct status=none
! cmp -s -n 16777216 /dev/ram0 /dev/zero || fail "nothing was written"
# Twice: the first discard finds out which method the device supports, the second uses the result.
for part in 0 8; do
    try "discard 8 MiB at $part MiB" blkdiscard -f -o "${part}M" -l 8M /dev/xvdc
    dd if=/dev/xvdc bs=1M skip="$part" count=8 iflag=direct status=none | cmp -n 8388608 - /dev/zero ||
        fail "what was discarded is still there"
done
try "discard what no request can hold whole" blkdiscard -f /dev/xvdc
detach xvdc
try "the RAM disk goes" modprobe -r brd
