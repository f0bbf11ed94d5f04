# shellcheck shell=bash
# Keys that no correct frontend writes: the device goes to Closing with an error node, other devices continue, and the
# device works once its keys are corrected.
# limit: 420
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# Not below device/vbd, where the kernel's own frontend would use the device.
readonly NUMBER=$((202 * 256 + 15 * 16))
readonly BACK=/local/domain/0/backend/$DAEMON_DIRECTORY/0/$NUMBER FRONT=/local/domain/0/by-hand/$NUMBER

state_at_least() { (($(store "$BACK/state" || echo 0) >= $1)); }
error_node() { store "/local/domain/0/error/backend/$DAEMON_DIRECTORY/0/$NUMBER/error"; }
has_error() { [[ -n $(error_node) ]]; }

# by_hand PARAMS: writes the areas as a toolstack does.
by_hand() {
    xenstore-write "$FRONT/state" 1 "$FRONT/backend" "$BACK" "$FRONT/backend-id" 0 "$FRONT/virtual-device" $NUMBER \
        "$FRONT/device-type" disk
    xenstore-write "$BACK/frontend" "$FRONT" "$BACK/frontend-id" 0 "$BACK/params" "$1" "$BACK/online" 1 \
        "$BACK/removable" 0 "$BACK/bootable" 1 \
        "$BACK/dev" xvdp "$BACK/type" vbd3 "$BACK/mode" w "$BACK/device-type" disk \
        "$BACK/discard-enable" 1 "$BACK/state" 1
}

forget() {
    xenstore-write "$BACK/online" 0 "$BACK/state" 5
    wait_for 15 "Closed" store_is "$BACK/state" 6
    xenstore-rm "$FRONT" "$BACK" "/local/domain/0/error/backend/$DAEMON_DIRECTORY/0/$NUMBER" 2>/dev/null
}

# refused WHAT PATTERN: the device is closing, and its error node has the right reason.
refused() {
    wait_for 15 "Closing after $1" state_at_least 5
    wait_for 5 "an error node after $1" has_error
    say "$1: $(error_node)"
    [[ $(error_node) =~ $2 ]] || fail "$1: the error node does not name '$2'"
    forget
}

# bad WHAT PATTERN KEY VALUE...: a frontend writes these keys and says that it is ready.
bad() {
    local what=$1 pattern=$2
    local -a keys=()
    shift 2
    by_hand "aio:$IMAGES/other.raw"
    wait_for 15 "InitWait before $what" store_is "$BACK/state" 2
    while (($#)); do
        keys+=("$FRONT/$1" "$2")
        shift 2
    done
    try "write" xenstore-write -- "${keys[@]}"
    xenstore-write "$FRONT/state" 3
    refused "$what" "$pattern"
}

new_image other 16M
new_image disk 64M
attach "$IMAGE" xvdb
verified_load_start xvdb

# A grant that certainly exists: a ring page of the attached disk.
rings=$(store "$(backend_area 0 xvdb)/frontend")
granted=$(store "$rings/ring-ref" || store "$rings/queue-0/ring-ref") || fail "xvdb has no ring"
abi="protocol x86_64-abi"
# shellcheck disable=SC2086
{
    bad "no ring-ref" "ring-ref is missing" event-channel 5 $abi
    bad "no event-channel" "event-channel is missing" ring-ref 8 $abi
    bad "ring-ref -1" "ring-ref is '-1'" ring-ref -1 event-channel 5 $abi
    bad "ring-ref 2^40" "ring-ref is '1099511627776'" ring-ref 1099511627776 event-channel 5 $abi
    bad "ring-ref of letters" "ring-ref is 'eight'" ring-ref eight event-channel 5 $abi
    bad "an empty ring-ref" "ring-ref is ''" ring-ref "" event-channel 5 $abi
    bad "a ring-ref that is not granted" "grants 500000" ring-ref 500000 event-channel 5 $abi
    bad "an event channel that is none" "event channel 4000" ring-ref "$granted" event-channel 4000 $abi
    bad "ring-page-order 31" "ring-page-order is 31" ring-page-order 31 ring-ref0 8 event-channel 5 $abi
    bad "ring-page-order without its refs" "ring-ref1 is missing" ring-page-order 1 ring-ref0 8 event-channel 5 $abi
    bad "0 queues" "num-queues is 0" multi-queue-num-queues 0 queue-0/ring-ref 8 queue-0/event-channel 5 $abi
    bad "a million queues" "num-queues is 1000000" \
        multi-queue-num-queues 1000000 queue-0/ring-ref 8 queue-0/event-channel 5 $abi
    bad "a protocol nobody knows" "vax-abi" ring-ref 8 event-channel 5 protocol vax-abi
}
by_hand "aio:$IMAGES/is-not-there.raw"
refused "an image that is not there" "does not exist"
by_hand "vhd:$IMAGES/other.raw"
refused "a format nobody knows" "format vhd"

say "an image that does not exist, attached by xl"
if timeout 60 xl block-attach 0 "$(disk_words $IMAGES/later.raw xvdc)" 2>/tmp/xl.log; then
    fail "xl attached an image that does not exist"
fi
cat /tmp/xl.log
grep -q 'later.raw does not exist' /tmp/xl.log || fail "xl does not say that the image does not exist"
timeout 60 xl block-detach --force 0 xvdc
new_image later 32M
attach "$IMAGE" xvdc
verify_all_sizes xvdc 1
detach xvdc

daemon_runs || fail "the daemon has ended"
verified_load_stop
detach xvdb
