# shellcheck shell=bash
# TRIM: fstrim and blkdiscard reduce the image's allocated size, unless xl forbids discards.
# limit: 240
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

new_image disk 256M
attach "$IMAGE" xvdb
trim_gives_back xvdb
detach xvdb

attach "$IMAGE" xvdc "$BACKEND" no-discard
[[ $(cat /sys/block/xvdc/queue/discard_max_bytes) == 0 ]] || fail "discard is offered although the toolstack forbids it"
detach xvdc
