# shellcheck shell=bash
# Guests are destroyed under load: their areas, grants and event channels are released, and the daemon keeps nothing of
# them.
# limit: 420
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
script='
echo load
while :; do dd if=/dev/urandom of=/data/file bs=64k count=64 conv=fsync 2>/dev/null; done'
[[ $BACKEND != blkring ]] || read -r -a before <<<"$(daemon_holds)"
for type in pv pvh pv; do
    guest_root destroyed 64M "$script"
    guest_start destroyed $type "$IMAGE"
    id=$(guest_id destroyed)
    wait_for 90 "load in guest $id" guest_says destroyed '^load'
    sleep 3
    try "destroy it" xl destroy "$id"
    wait_for 30 "no trace of domain $id in xenstore" no_trace "$id"
    wait_for 30 "no zombie of domain $id" no_zombie
    if [[ $BACKEND == blkring ]]; then
        wait_for 30 "descriptors, maps and ports as before (${before[*]}), not $(daemon_holds)" \
            holds_at_most "${before[@]}"
        say "held by the daemon: $(daemon_holds), before: ${before[*]}"
    fi
done
guest_root_verified pv
