# shellcheck shell=bash
# Random writes of 4 KiB to 1 MiB in flight at once, every block read back and its crc32c compared.
# short: yes
# limit: 420
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
[[ -n $SHORT ]] && region_mib=4 || region_mib=24

new_image disk 256M
attach "$IMAGE" xvdb
say "rings: $(xenstore-ls "$(store "$(backend_area 0 xvdb)/frontend")" | grep -E 'ring|queue|channel' | paste -sd' ')"
verify_all_sizes xvdb "$region_mib"
detach xvdb
