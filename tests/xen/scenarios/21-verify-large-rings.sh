# shellcheck shell=bash
# Like 20-verify, with a frontend that uses the maximum: 16 ring pages, one queue per CPU, 256 indirect segments.
# limit: 480
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"

frontend_load max_ring_page_order=4 max_queues=2 max_indirect_segments=256
trap 'detach xvdb; frontend_load' EXIT
new_image disk 256M
attach "$IMAGE" xvdb
frontend=$(store "$(backend_area 0 xvdb)/frontend")
say "rings: $(xenstore-ls "$frontend" | grep -E 'ring|queue|channel' | paste -sd' ')"
store_is "$frontend/ring-page-order" 4 || fail "the frontend was offered no 16 ring pages"
store_is "$frontend/multi-queue-num-queues" 2 || fail "the frontend was offered no two queues"
verify_all_sizes xvdb 16
