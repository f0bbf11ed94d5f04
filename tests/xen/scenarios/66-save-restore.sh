# shellcheck shell=bash
# A guest is saved to a file under load and restored, then saved again while it continues to run: its disk has what it
# wrote, no request is lost or fails, and while the guest is saved the daemon holds none of its resources.
# limit: 600
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
readonly SAVED=$IMAGES/saved.state

goes_on() {
    local before
    guest_run saved 'wc -l </tmp/passes' || fail "the guest counts no passes"
    before=$ANSWER
    for _ in $(seq 30); do
        sleep 1
        guest_run saved 'wc -l </tmp/passes' && ((ANSWER > before)) && return
    done
    fail "the load stands still at pass $before after $1"
}

as_written() {
    guest_run saved 'echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /data/sum' ||
        fail "after $1 the guest does not read what it wrote: $ANSWER"
    guest_run saved '! dmesg | grep -i "I/O error"' || fail "I/O errors after $1: $ANSWER"
}

guest_root saved 64M "$GUEST_SHELL"
guest_start saved pv "$IMAGE"
guest_run saved 'head -c 8388608 /dev/urandom >/data/file && sha256sum /data/file >/data/sum && sync' ||
    fail "the guest cannot write"
guest_run saved '(while dd if=/dev/urandom of=/data/load bs=64k count=16 conv=fsync 2>/dev/null; '\
'do echo >>/tmp/passes; done) & echo $! >/tmp/load' || fail "no load"
wait_for 60 "a first pass of the load" guest_run saved 'test -s /tmp/passes'
first=$(guest_id saved)

try "save the guest" timeout 200 xl save saved "$SAVED"
wait_for 30 "no trace of domain $first in xenstore" no_trace "$first"
wait_for 30 "no zombie of domain $first" no_zombie
try "restore it" timeout 200 xl restore "$SAVED"
rm "$SAVED"
say "it was domain $first and is $(guest_id saved)"
goes_on "restoring"
as_written "restoring"

try "save it and let it continue" timeout 200 xl save -c saved "$SAVED"
rm "$SAVED"
goes_on "saving"
as_written "saving"

# shellcheck disable=SC2016
guest_run saved 'kill $(cat /tmp/load); wait; sync'
guest_type saved end
guest_passed saved 120
try "check the image" e2fsck -f -n "$IMAGE"
