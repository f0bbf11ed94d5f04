# shellcheck shell=bash
# A PV guest whose root is on the backend: writes, reads back, powers off; dom0 finds the same in the image.
# short: yes
# limit: 300
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
guest_root_verified pv
