# shellcheck shell=bash
# xl block-detach while I/O is under way: the load ends with an error, the device goes, the next attach works.
# limit: 240
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

new_image disk 128M
[[ $BACKEND != blkring ]] || before=$(daemon_pid)
for round in 1 2 3; do
    attach "$IMAGE" xvdb
    fio --name=load --filename=/dev/xvdb --direct=1 --ioengine=libaio --rw=randrw --bs=16k --iodepth=32 \
        --time_based --runtime=90 >/dev/null 2>&1 &
    load=$!
    busy() { (($(awk '{print $1 + $5}' /sys/block/xvdb/stat) > 200)); }
    wait_for 30 "load on xvdb" busy
    detach xvdb
    kill "$load" 2>/dev/null
    wait "$load" && fail "the load did not notice that its disk is gone"
    say "round $round done"
done
if [[ $BACKEND == blkring ]]; then
    daemon_runs || fail "the daemon has ended"
    [[ $(daemon_pid) == "$before" ]] || fail "the daemon is another"
fi
attach "$IMAGE" xvdc
verify_all_sizes xvdc 1
detach xvdc
