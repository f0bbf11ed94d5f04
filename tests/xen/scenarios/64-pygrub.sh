# shellcheck shell=bash
# Guests whose kernel is on their own disk: xl attaches the disk to dom0 by the backend, pygrub reads the kernel from
# it, xl detaches the disk and gives it to the guest. From a file system on the whole disk and from a partition, for PV
# and PVH, and again at a reboot, with the kernel configuration that the guest has written.
# limit: 600
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# Quiet, because the menu would wait for a key.
# shellcheck disable=SC2034
GUEST_BOOT='bootloader = "pygrub"
bootloader_args = [ "--quiet" ]'

# boot_files FOLDER WORD [ROOT]: the files that pygrub looks for, below ROOT of its file system; the guest finds WORD in
# its command line.
boot_files() {
    mkdir -p "$1/grub"
    cp /boot/guest/vmlinuz /boot/guest/initrd.gz "$1/"
    cat >"$1/grub/grub.cfg" <<CONFIG
set default=0
set timeout=0
menuentry 'guest' {
    linux ${3:-}/vmlinuz booted=$2
    initrd ${3:-}/initrd.gz
}
CONFIG
}

# root_with_boot NAME WORD SCRIPT: a guest's root with its kernel, on a whole disk; its path is in IMAGE.
root_with_boot() {
    guest_root "$1" 96M "$3"
    try "mount the root" mount -o loop "$IMAGE" $MOUNT
    boot_files $MOUNT/boot "$2" /boot
    try "unmount it" umount $MOUNT
}

# boot_disk NAME WORD: a disk whose first partition is a file system with the kernel, from 1 MiB on; its path is in
# IMAGE.
boot_disk() {
    local tree=$IMAGES/$1.tree
    boot_files "$tree" "$2"
    new_image "$1" 64M
    mke2fs -q -t ext4 -m 0 -E offset=1048576 -d "$tree" "$IMAGE" 62M || fail "no boot partition"
    rm -rf "$tree"
    # The partition table: active, type 0x83, 2048 sectors from the start, 126976 sectors long; and the mark at the
    # sector's end.
    printf '\x80\0\0\0\x83\0\0\0\0\x08\0\0\0\xf0\x01\0' | dd of="$IMAGE" bs=1 seek=446 conv=notrunc status=none
    printf '\x55\xaa' | dd of="$IMAGE" bs=1 seek=510 conv=notrunc status=none
}

# dom0 has been given the disk, and has given it back.
given_back() {
    local attached
    attached=$(tail -n "+$((log_lines + 1))" $DAEMON_LOG | grep -c 'device 0/.*: connected')
    say "$attached times attached to dom0"
    ((attached == $1)) || fail "$attached times attached to dom0 for pygrub, not $1"
    absent xenstore-exists "/local/domain/0/backend/$DAEMON_DIRECTORY/0" ||
        [[ -z $(xenstore-list "/local/domain/0/backend/$DAEMON_DIRECTORY/0") ]] ||
        fail "a disk is still attached to dom0"
    has_no_disk xvda || fail "dom0 still has the disk"
    log_lines=$(wc -l <$DAEMON_LOG)
}
log_lines=$(wc -l <$DAEMON_LOG)

say "---- a PV guest from a file system on the whole disk; before it reboots it changes what it boots"
# shellcheck disable=SC2016
root_with_boot pygrub first '
cat /proc/cmdline
if grep -q booted=first /proc/cmdline; then
    cp /boot/vmlinuz /boot/vmlinuz.second && rm /boot/vmlinuz
    sed -i "s/booted=first/booted=second/; s,/boot/vmlinuz ,/boot/vmlinuz.second ," /boot/grub/grub.cfg
    # pygrub does not see what is only in the journal of the file system.
    mount -o remount,ro /
    echo first boot is done
    reboot -f
fi
grep -q booted=second /proc/cmdline'
guest_start pygrub pv "$IMAGE"
wait_for 90 "the first boot" guest_says pygrub 'first boot is done'
guest_passed pygrub 150
given_back 2
try "check the image" e2fsck -f -n "$IMAGE"

for type in pv pvh; do
    say "---- a $type guest from a partition"
    boot_disk boot partition
    boot=$IMAGE
    guest_root "partition-$type" 64M 'cat /proc/cmdline; grep -q booted=partition /proc/cmdline'
    # xl boots from the first disk of the list.
    guest_start "partition-$type" "$type" '' "$(disk_words "$boot" xvdb)" "$(disk_words "$IMAGE" xvda)"
    guest_passed "partition-$type" 120
    given_back 1
done
