# shellcheck shell=bash
# A PVH guest whose root is on the backend: writes, reads back, powers off; dom0 finds the same in the image.
# limit: 300
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
guest_root_verified pvh
