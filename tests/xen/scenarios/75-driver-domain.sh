# shellcheck shell=bash
# The daemon in a driver domain serves a block device to dom0 and, by xl and its devd, to a third domain.
# limit: 600
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
[[ $BACKEND == blkring ]] || exit 0
readonly LOADER=/lib64/ld-linux-x86-64.so.2 MODULES=(xen-evtchn xen-gntdev xen-privcmd xenfs)
programs=("$BLKRING" /usr/bin/bash /usr/bin/sh /usr/bin/xenstore-{read,write,ls,exists,rm,list} "$(command -v xl)")
# The daemon and xl load these at run time.
libraries=(/usr/lib/x86_64-linux-gnu/lib{xenstore.so.4,xenevtchn.so.1,xengnttab.so.1})

# Programs and libraries, with their dependencies.
with_libraries() {
    local file
    for file in "$@"; do
        echo "$file"
        "$LOADER" --list "$file" | grep -o '/[^ :]*\.so[^ :]*'
    done | sort -u
}

# Puts the daemon, xl and the kernel's modules into the guest's root at $MOUNT.
install_storage() {
    local file
    while read -r file; do
        mkdir -p "$MOUNT${file%/*}" && cp -L "$file" "$MOUNT$file" || return 1
    done < <(with_libraries "${programs[@]}" "${libraries[@]}")
    mkdir -p "$MOUNT"/{modules,run,proc/xen,etc/xen/scripts,var/lib/xen,var/log/xen,var/run}
    cp packaging/hotplug/block-blkring $MOUNT/etc/xen/scripts/ || return 1
    while read -r file; do
        cp "$file" $MOUNT/modules/
        echo "insmod /modules/${file##*/}" >>$MOUNT/load
    done < <(for module in "${MODULES[@]}"; do modprobe --ignore-install --show-depends "$module"; done |
        awk '$1 == "insmod" && !seen[$2]++ {print $2}')
}

storage_id() { guest_id storage; }
forget_dom0_disk() { "$BLKRING" detach 0/xvde --force --backend-domain "$(storage_id)" >/dev/null 2>&1; }

guest_root storage 256M "
. /load
mount -t tmpfs tmpfs /run
mount -t xenfs xenfs /proc/xen
export DOTNET_CLI_TELEMETRY_OPTOUT=1 HOME=/tmp PATH=/bin:/usr/bin:/usr/sbin:${PATH%%:*}
$(command -v xl) devd -F >/tmp/devd.log 2>&1 &
$BLKRING serve &
wait %2
echo guest: the daemon ended: \$?
cat /tmp/devd.log
false"
try "mount the guest's root" mount -o loop "$IMAGE" $MOUNT
try "install the daemon in it" install_storage
try "unmount it" umount $MOUNT
root=$IMAGE
new_image disk 64M
disk=$IMAGE
guest_start storage pv "$root" "$(disk_words "$disk" xvdb)"
trap forget_dom0_disk EXIT
wait_for 120 "the daemon in domain $(storage_id)" guest_says storage 'control socket'

try "attach to dom0" "$BLKRING" attach 0/xvde /dev/xvdb --backend-domain "$(storage_id)"
wait_for 60 "/dev/xvde" has_disk xvde
verify_all_sizes xvde 4
try "detach from dom0" "$BLKRING" detach 0/xvde --backend-domain "$(storage_id)"
wait_for 30 "no /dev/xvde" has_no_disk xvde

guest_root verified 64M '
head -c 8388608 /dev/urandom >/tmp/file
cat /tmp/file >/dev/xvdb
sync
echo 3 >/proc/sys/vm/drop_caches
head -c 8388608 /dev/xvdb | cmp - /tmp/file || exit 1
! dmesg | grep -i "I/O error"'
guest_start verified pv "$IMAGE" \
    "vdev=xvdb,format=raw,backendtype=tap,script=block-blkring,backend=storage,target=/dev/xvdb"
id=$(guest_id verified)
guest_passed verified 120
wait_for 30 "no area of it" absent xenstore-exists "/local/domain/$(storage_id)/backend/$DAEMON_DIRECTORY/$id"
