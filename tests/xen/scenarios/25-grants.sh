# shellcheck shell=bash
# Persistent grants and pages mapped per request, with the real frontend: a file system, verified I/O of all sizes,
# unplug under load, a killed daemon, and guests that crash or are destroyed. Afterwards the hypervisor lists no more
# grants than before.
# limit: 900
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
in_use_at_most() { (($(grants_in_use) <= $1)); }

nothing_stays() {
    wait_for 30 "descriptors, maps and ports as before (${held[*]}) after $1, not $(daemon_holds)" \
        holds_at_most "${held[@]}"
    wait_for 30 "$in_use grants in use after $1, not $(grants_in_use)" in_use_at_most "$in_use"
    say "after $1: held by the daemon: $(daemon_holds); grants in use: $(grants_in_use)"
}

# negotiated MODE: xenstore and the frontend agree on the mode of xvdb.
negotiated() {
    local area frontend offered='' said
    area=$(backend_area 0 xvdb)
    frontend=$(store "$area/frontend")
    said=$(dmesg | grep 'blkfront: xvdb' | tail -n 1)
    say "feature-persistent: of the backend '$(store "$area/feature-persistent")'," \
        "of the frontend '$(store "$frontend/feature-persistent")'; $said"
    store_is "$frontend/feature-persistent" 1 || fail "the frontend does not say feature-persistent"
    if [[ $1 == persistent ]]; then offered=1; fi
    [[ $(store "$area/feature-persistent") == "$offered" ]] || fail "feature-persistent is wrong for $1"
    if [[ $1 == persistent ]]; then
        [[ $said == *"persistent grants: enabled"* ]] || fail "the frontend does not use persistent grants"
    else
        [[ $said == *"persistent grants: disabled"* ]] || fail "the frontend uses persistent grants"
    fi
}

file_system() {
    try "make a file system" mkfs.ext4 -q -F /dev/xvdb
    try "mount" mount /dev/xvdb $MOUNT
    head -c 16777216 /dev/urandom >$MOUNT/file
    cp -r /etc/. $MOUNT/etc
    (cd $MOUNT && find . -type f -exec sha256sum {} + >/tmp/sums)
    try "unmount" umount $MOUNT
    try "mount again" mount /dev/xvdb $MOUNT
    (cd $MOUNT && sha256sum --quiet -c /tmp/sums) || fail "the files have changed"
    try "unmount again" umount $MOUNT
    try "check" e2fsck -f -n /dev/xvdb
}

# The mode was really used, and pages are mapped now if the mode keeps them mapped.
used() {
    local calls pages
    calls=$(stats_of xvdb grantMapCalls) pages=$(stats_of xvdb mappedPages)
    say "$1: $calls calls that map, $pages pages mapped now, $(stats_of xvdb grantCopyCalls) calls that copy;" \
        "$(daemon_holds); grants in use: $(grants_in_use)"
    ((calls > 100)) || [[ $1 == persistent && $calls -gt 10 ]] || fail "only $calls calls have mapped"
    case $1 in
        persistent)
            ((pages > 100)) || fail "only $pages pages are mapped"
            (($(grants_in_use) >= in_use + pages)) ||
                fail "the hypervisor counts fewer grants than the daemon has mapped"
            ;;
        map) ((pages == 0)) || fail "$pages pages are still mapped" ;;
    esac
}

unplugged_under_load() {
    busy() { (($(awk '{print $1 + $5}' /sys/block/xvdb/stat) > 200)); }
    attach "$IMAGE" xvdb
    fio --name=load --filename=/dev/xvdb --direct=1 --ioengine=libaio --rw=randrw --bs=16k --iodepth=32 \
        --time_based --runtime=90 >/dev/null 2>&1 &
    wait_for 30 "load on xvdb" busy
    detach xvdb
    kill $! 2>/dev/null
    wait $! && fail "the load did not notice that its disk is gone"
}

killed_under_load() {
    attach "$IMAGE" xvdb
    verified_load_start xvdb
    sleep 2
    try "kill the daemon" daemon_kill
    try "start the daemon" daemon_start --grants "$1"
    sleep 2
    verified_load_stop
    negotiated "$1"
    detach xvdb
}

# guest_ends MODE crash|destroy: the guest ends while its disk is under load.
guest_ends() {
    local id
    guest_root ends 64M 'mount -t sysfs sysfs /sys
(read line; echo c >/proc/sysrq-trigger) </dev/hvc0 &
echo load
while :; do dd if=/dev/urandom of=/data/file bs=64k count=64 conv=fsync 2>/dev/null; done'
    guest_start ends pv "$IMAGE"
    id=$(guest_id ends)
    wait_for 90 "load in guest $id" guest_says ends '^load'
    sleep 3
    say "while guest $id runs: $(daemon_holds); grants in use: $(grants_in_use)"
    if [[ $2 == crash ]]; then guest_type ends crash; else try "destroy it" xl destroy "$id"; fi
    wait_for 60 "no trace of domain $id in xenstore" no_trace "$id"
    wait_for 30 "no zombie of domain $id" no_zombie
    nothing_stays "the guest's $2"
}

for mode in persistent map; do
    if [[ $mode == persistent ]]; then daemon_with --grants $mode; else daemon_stop &&
        try "start the daemon with $mode" daemon_start --grants $mode; fi
    # The daemon keeps what it loads and starts with its first device.
    new_image disk 256M
    attach "$IMAGE" xvdb
    verify_all_sizes xvdb 1
    stats_of xvdb grantMapCalls >/dev/null
    detach xvdb
    read -r -a held <<<"$(daemon_holds)"
    in_use=$(grants_in_use)
    say "$mode: held by the daemon: ${held[*]}; grants in use: $in_use"
    attach "$IMAGE" xvdb
    negotiated $mode
    file_system
    verify_all_sizes xvdb 12
    used $mode
    detach xvdb
    nothing_stays "detaching"
    for _ in 1 2; do unplugged_under_load; done
    nothing_stays "unplugging"
    killed_under_load $mode
    read -r -a held <<<"$(daemon_holds)"
    wait_for 30 "$in_use grants in use after killing, not $(grants_in_use)" in_use_at_most "$in_use"
    guest_ends $mode crash
    new_image disk 256M
    guest_ends $mode destroy
done
loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
say "map on a block device: direct I/O would corrupt the page reference counts of this PV domain's kernel," \
    "so pages are copied"
attach "$loop" xvdb
verify_all_sizes xvdb 4
(($(stats_of xvdb grantMapCalls) == 0)) || fail "pages are mapped for direct I/O"
tail -n 5 $DAEMON_LOG | grep -q "grant mode 'map' is ignored" || fail "the daemon does not say that it copies"
detach xvdb
