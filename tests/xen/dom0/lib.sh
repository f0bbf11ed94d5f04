# shellcheck shell=bash
# Functions for scenarios, which source this file in dom0. Settings come from the host.
# The backend under test is a setting: blkring; or blkback or qdisk, to check a scenario on a backend that is known to
# work.
set -uo pipefail
# shellcheck disable=SC1091
source /payload/settings            # BACKEND, SHORT, SOAK_MINUTES
readonly IMAGES=/images MOUNT=/mnt DAEMON_DIRECTORY=vbd3
export BLKRING=/payload/bin/blkring
# With --upgrade-from.
readonly OLDER_BLKRING=/payload/bin/blkring-before
export DOTNET_CLI_TELEMETRY_OPTOUT=1

say() { echo "[$SECONDS] $*"; }

fail() {
    say "$*"
    exit 1
}

# try WHAT COMMAND...: runs the command. If it fails, the scenario fails with WHAT.
try() {
    local what=$1
    shift
    say "$what: $*"
    "$@" || fail "$what failed ($?): $*"
}

# wait_for SECONDS WHAT COMMAND...: runs the command again and again until it succeeds.
wait_for() {
    local limit=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "not within $limit s: $what"
        sleep 0.2
    done
}

absent() { ! "$@"; }
store() { xenstore-read "$1" 2>/dev/null; }
store_is() { [[ $(store "$1") == "$2" ]]; }

# The device number of xvda to xvdp: Xen's major 202, with 16 minors each.
device_number() {
    local letters=abcdefghijklmnop before
    before=${letters%%"${1#xvd}"*}
    echo $((202 * 256 + 16 * ${#before}))
}

backend_directory() {
    case ${1:-$BACKEND} in
        blkring) echo $DAEMON_DIRECTORY ;;
        blkback) echo vbd ;;
        qdisk) echo qdisk ;;
    esac
}

# The backend area of device $2 (xvdX) of domain $1.
backend_area() { echo "/local/domain/0/backend/$(backend_directory "${3:-}")/$1/$(device_number "$2")"; }

# new_image NAME SIZE: a sparse raw image on tmpfs; its path is in IMAGE.
new_image() {
    IMAGE=$IMAGES/$1.raw
    rm -f "$IMAGE"
    truncate -s "$2" "$IMAGE" || fail "no image"
}

# The words of an xl disk specification for image or block device $1 as device $2, on backend $3 (the one under test).
disk_words() {
    local loop
    case ${3:-$BACKEND} in
        blkring) echo "vdev=$2,format=raw,backendtype=tap,script=block-blkring,target=$1" ;;
        qdisk)
            qdisk_start >&2
            echo "vdev=$2,format=raw,backendtype=qdisk,target=$1"
            ;;
        blkback)
            if [[ -b $1 ]]; then loop=$1; else loop=$(losetup -j "$1" -n -O NAME | head -n 1); fi
            [[ -n $loop ]] || loop=$(losetup --show -f "$1")
            echo "vdev=$2,format=raw,backendtype=phy,target=$loop"
            ;;
    esac
}

has_disk() { [[ -b /dev/$1 && $(cat "/sys/block/$1/size" 2>/dev/null || echo 0) -gt 0 ]]; }
has_no_disk() { [[ ! -e /sys/block/$1 ]]; }

# attach IMAGE XVDX [BACKEND [MORE WORDS]]: attaches to dom0 itself.
attach() {
    local image=$1 device=$2 backend=${3:-$BACKEND} words=${4:-}
    say "attach $image as $device to $backend"
    # The words after target= would become part of the target.
    xl block-attach 0 "${words:+$words,}$(disk_words "$image" "$device" "$backend")" ||
        fail "xl block-attach $device failed"
    wait_for 30 "/dev/$device" has_disk "$device"
}

# detach XVDX [BACKEND]
detach() {
    local area
    area=$(backend_area 0 "$1" "${2:-}")
    say "detach $1"
    if ! xl block-detach 0 "$1"; then
        # xl waits 10 s, which may be too short for emulation on a busy machine. The device must still close, and xl
        # must then detach it.
        wait_for 30 "Closed of $1, which xl did not wait for" store_is "$area/state" 6
        say "detach $1 again"
        xl block-detach 0 "$1" || fail "xl block-detach $1 failed"
    fi
    wait_for 30 "no /dev/$1" has_no_disk "$1"
    wait_for 30 "no backend area of $1" absent xenstore-exists "$area"
}

# frontend_load [PARAMETER...]: reloads dom0's xen-blkfront. The module stays in use for a moment after its last device
# is gone.
frontend_load() {
    wait_for 60 "xen-blkfront unloaded" modprobe -r xen-blkfront
    try "load it" modprobe xen-blkfront "$@"
}

# QEMU as the backend of dom0's own disks. libxl refuses to attach a qdisk unless a device model seems to run.
qdisk_start() {
    if [[ -e /run/qdisk.pid ]] && kill -0 "$(cat /run/qdisk.pid)" 2>/dev/null; then return; fi
    setsid /usr/libexec/xen-qemu-system-i386 -xen-domid 0 -xen-attach -name dom0 -nographic -M xenpv -daemonize \
        -monitor none -serial none -parallel none \
        -nodefaults -no-user-config -pidfile /run/qdisk.pid >>/out/logs/qdisk.log 2>&1 ||
        fail "QEMU does not start"
    xenstore-write /local/domain/0/image/device-model-pid "$(cat /run/qdisk.pid)"
}

daemon_pid() { cat /run/blkring.pid; }
daemon_runs() { kill -0 "$(daemon_pid)" 2>/dev/null; }

readonly DAEMON_LOG=/out/logs/daemon.log
control_sockets() { grep -c 'control socket' $DAEMON_LOG; }

# daemon_start [OPTION...]: returns when the daemon's log says that it serves.
daemon_start() {
    local before end=$((SECONDS + 60))
    touch $DAEMON_LOG
    before=$(control_sockets)
    setsid "$BLKRING" serve --backend "$DAEMON_DIRECTORY" "$@" >>$DAEMON_LOG 2>&1 </dev/null &
    echo $! >/run/blkring.pid
    while (($(control_sockets) == before)); do
        if ! daemon_runs || ((SECONDS > end)); then return 1; fi
        sleep 0.1
    done
}

# The daemon's resources: descriptors, mapped grants, event channels, resident KiB.
daemon_holds() {
    local pid
    pid=$(daemon_pid)
    echo "$(find "/proc/$pid/fd" -mindepth 1 | wc -l) $(grep -c /dev/xen/gntdev "/proc/$pid/maps")" \
        "$(interdomain_ports) $(awk '/^VmRSS/ {print $2}' "/proc/$pid/status")"
}

# Event channels of dom0 that are bound to ports of other domains or its own, by any process.
interdomain_ports() { lsevtchn 0 | grep -c 'Interdomain'; }

# The number of grants of all domains that the hypervisor lists as in use, which are mostly mapped ones.
grants_in_use() {
    xl debug-keys g
    xl dmesg | awk "/key 'g' pressed/ { n = 0; ended = 0 }
        /\\[0x[0-9a-f]+\\] +[0-9]+ 0x/ { n++ } /gnttab_usage_print_all \\] done/ { ended = 1 }
        END { if (!ended) exit 1; print n + 0 }" || fail "the hypervisor does not list its grants"
}

# stats_of XVDX COUNTER: a counter of dom0's device, from the daemon.
stats_of() { "$BLKRING" stats --json "0/$1" | grep -o "\"$2\": *[0-9]*" | grep -o '[0-9]*$'; }

# no_trace DOMAIN: nothing of the domain is left in xenstore.
no_trace() {
    ! xenstore-exists "/local/domain/0/backend/$(backend_directory)/$1" && ! xenstore-exists "/local/domain/$1"
}

# A domain stays in the list, without a name, while its pages are mapped.
no_zombie() { [[ $(xl list | wc -l) == 2 ]]; }

# holds_at_most HELD...: the daemon has no more descriptors, maps and ports than an earlier daemon_holds said.
holds_at_most() {
    local held
    read -r -a held <<<"$(daemon_holds)"
    ((held[0] <= $1 && held[1] <= $2 && held[2] <= $3))
}

daemon_stop() {
    local pid end=$((SECONDS + 60))
    pid=$(daemon_pid)
    kill -TERM "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < end)) || { kill -KILL "$pid"; return 1; }
        sleep 0.1
    done
}

# daemon_with OPTION...: restarts the daemon with other options, until the scenario ends.
daemon_with() {
    trap 'daemon_stop; daemon_start' EXIT
    try "stop the daemon" daemon_stop
    try "start the daemon" daemon_start "$@"
}

# Like a crash: nothing is drained, and requests in flight are only in the journal.
daemon_kill() {
    local pid end=$((SECONDS + 60))
    pid=$(daemon_pid)
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# guest_root NAME SIZE SCRIPT: a root file system whose init runs the text SCRIPT (busybox sh); its path is in IMAGE.
# guest_log names the file with the script's output; its last line is "guest: passed" or "guest: failed".
guest_root() {
    local tree=$IMAGES/$1.tree
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,proc,sys,tmp,data}
    cp /usr/bin/busybox "$tree/bin/"
    printf '%s\n' "$3" >"$tree/script"
    cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
exec </dev/null >/dev/hvc0 2>&1
mount -t tmpfs tmpfs /tmp
echo guest: up
if sh /script; then echo guest: passed; else echo guest: failed; fi
sync
mount -o remount,ro /
poweroff -f
INIT
    chmod +x "$tree/init"
    new_image "$1" "$2"
    mke2fs -q -t ext4 -m 0 -d "$tree" "$IMAGE" || fail "no guest root"
    rm -rf "$tree"
}

guest_log() { echo "/out/logs/xen/guest-$1.log"; }

# Kernel and initrd of a guest, in xl's configuration.
GUEST_BOOT='kernel = "/boot/guest/vmlinuz"
ramdisk = "/boot/guest/initrd.gz"'

# guest_start NAME pv|pvh IMAGE [FURTHER DISK WORDS...]: xvda is IMAGE, on the backend under test; IMAGE is '' if the
# words name xvda.
guest_start() {
    local name=$1 type=$2 config=/run/$1.cfg disks='' word
    [[ -z $3 ]] || disks="'$(disk_words "$3" xvda)'"
    for word in "${@:4}"; do disks+="${disks:+, }'$word'"; done
    cat >"$config" <<CONFIG
name = "$name"
type = "$type"
$GUEST_BOOT
extra = "console=hvc0 mitigations=off audit=0 panic=1"
memory = 192
vcpus = 1
disk = [ $disks ]
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "destroy"
CONFIG
    rm -f "$(guest_log "$name")"
    try "start guest $name" timeout 120 xl create -q "$config"
}

# guest_type NAME TEXT: types a line on the guest's console.
guest_type() { echo "$2" >"$(xenstore-read "/local/domain/$(guest_id "$1")/console/tty")"; }

guest_id() { xl domid "$1" 2>/dev/null; }
guest_gone() { ! xl domid "$1" >/dev/null 2>&1; }
guest_says_count() { grep -c "$2" "$(guest_log "$1")"; }
guest_says() { grep -q "$2" "$(guest_log "$1")"; }

# A script for guest_root: it runs the lines that guest_run types, until "end".
# shellcheck disable=SC2016,SC2034
readonly GUEST_SHELL='
dmesg -n 1
stty -echo </dev/hvc0
count=0
echo answer 0 0
while read -r line && [ "$line" != end ]; do
    count=$((count + 1))
    eval "$line" </dev/null
    echo "answer $count $?"
done </dev/hvc0'
declare -A GUEST_ASKED=()

# guest_run NAME LINE: runs a line of shell in a guest whose script is GUEST_SHELL. ANSWER has its output; its status is
# returned.
guest_run() {
    local name=$1 before=${GUEST_ASKED[$1]:-0} number
    number=$((before + 1))
    wait_for 180 "guest $name is ready to answer" guest_says "$name" "^answer $before "
    GUEST_ASKED[$name]=$number
    guest_type "$name" "$2"
    wait_for 180 "the answer of guest $name to: $2" guest_says "$name" "^answer $number "
    # shellcheck disable=SC2034
    ANSWER=$(tr -d '\r' <"$(guest_log "$name")" | sed "1,/^answer $before /d; /^answer $number /,\$d")
    return "$(tr -d '\r' <"$(guest_log "$name")" | sed -n "s/^answer $number //p")"
}

# guest_passed NAME SECONDS: waits until the guest's script has passed and the guest has powered off.
guest_passed() {
    wait_for "$2" "the end of guest $1" guest_says "$1" '^guest: \(passed\|failed\)'
    guest_says "$1" '^guest: passed' ||
        fail "guest $1: $(grep -B 2 '^guest: failed' "$(guest_log "$1")" | tr -d '\r' | paste -sd'|')"
    wait_for 60 "guest $1 gone" guest_gone "$1"
}

# verify_all_sizes XVDX MIB: verified random writes of 4 KiB to 1 MiB at the same time, each size in its own MIB of the
# disk.
verify_all_sizes() {
    local size offset=0
    local -a jobs=()
    for size in 4k 16k 64k 256k 1M; do
        jobs+=("--name=$size" "--bs=$size" "--offset=${offset}M")
        offset=$((offset + $2))
    done
    say "verify $2 MiB of each size on $1"
    fio --name=global --filename="/dev/$1" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --verify=crc32c \
        --verify_fatal=1 --do_verify=1 --fsync=64 --size="$2M" "${jobs[@]}" >"/tmp/verify.log" 2>&1 ||
        fail "verification: $(grep -m 3 -i 'verify\|error' /tmp/verify.log | paste -sd'|')"
    # fio prints this only if it has read back what it wrote.
    grep -q 'read: IOPS' /tmp/verify.log || fail "fio did not read anything back"
}

# Verified writes on a device, repeated until verified_load_stop, which fails if data was not read back as written, or
# if no pass was completed.
verified_load_start() {
    rm -f /tmp/load.*
    (
        until [[ -e /tmp/load.stop ]]; do
            fio --name=verified --filename="/dev/$1" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k \
                --size=4M --verify=crc32c \
                --verify_fatal=1 --do_verify=1 >/tmp/load.log 2>&1 || exit 1
            echo pass >>/tmp/load.passes
        done
    ) &
    VERIFIED_LOAD=$!
}

verified_load_stop() {
    touch /tmp/load.stop
    wait "$VERIFIED_LOAD" || fail "verified I/O failed: $(grep -m 3 -i 'verify\|error' /tmp/load.log | paste -sd'|')"
    say "$(wc -l </tmp/load.passes) passes of verified I/O"
}

# The CPU time, in clock ticks, that the process of a backend has used so far. blkback has a kernel thread per ring.
cpu_ticks() {
    local process
    case $1 in
        blkring) process=$(daemon_pid) ;;
        qdisk) process=$(cat /run/qdisk.pid) ;;
        blkback)
            process=$(pgrep -f '^\[?0\.xvd' | head -n 1)
            [[ -n $process ]] || process=$(pgrep '^0\.xvd' | head -n 1)
            ;;
    esac
    awk '{print $14 + $15}' "/proc/$process/stat"
}

# measure FILE NAME BACKEND XVDX DIRECTION BLOCK DEPTH: runs a load and adds a line to FILE: the load, NAME, operations
# and KiB per second, CPU ticks.
readonly MEASURE_SECONDS=3
measure() {
    local file=$1 name=$2 backend=$3 device=$4 direction=$5 block=$6 depth=$7 before figures
    before=$(cpu_ticks "$backend")
    figures=$(fio --name=load --filename="/dev/$device" --direct=1 --ioengine=libaio --rw="$direction" \
        --bs="$block" --iodepth="$depth" \
        --time_based --runtime=$MEASURE_SECONDS --ramp_time=1 --randrepeat=0 --output-format=terse --terse-version=3) ||
        fail "fio on $name: $figures"
    # Columns of fio's terse format 3: bandwidth and operations per second are 7 and 8 for reads, 48 and 49 for writes.
    awk -F';' -v OFS='\t' -v name="$name" -v load="$direction $block qd$depth" \
        -v ticks="$(($(cpu_ticks "$backend") - before))" \
        '{print load, name, $8 + $49, $7 + $48, ticks}' <<<"$figures" | tee -a "$file"
}

# trim_gives_back XVDX: fstrim gives back the space of a deleted file, which is missing from IMAGE's allocated size
# afterwards; another file does not change. Then the whole device is discarded.
trim_gives_back() {
    local device=$1 sum full trimmed
    try "make a file system" mkfs.ext4 -q -E nodiscard "/dev/$device"
    try "mount" mount "/dev/$device" $MOUNT
    try "write 64 MiB" dd if=/dev/urandom of=$MOUNT/large bs=1M count=64 conv=fsync status=none
    head -c 1048576 /dev/urandom >$MOUNT/kept
    sum=$(sha256sum <$MOUNT/kept)
    sync -f $MOUNT
    full=$(allocated_mib)
    rm $MOUNT/large
    sync -f $MOUNT
    try "trim" fstrim -v $MOUNT
    trimmed=$(allocated_mib)
    say "allocated: $full MiB with the file, $trimmed MiB after fstrim"
    ((full >= 64)) || fail "the image has only $full MiB allocated with 64 MiB written"
    ((full - trimmed >= 60)) || fail "fstrim gave back only $((full - trimmed)) of 64 MiB"
    try "unmount" umount $MOUNT
    try "mount again" mount "/dev/$device" $MOUNT
    [[ $(sha256sum <$MOUNT/kept) == "$sum" ]] || fail "the file that was kept has changed"
    try "unmount again" umount $MOUNT
    try "check" e2fsck -f -n "/dev/$device"

    try "discard all" blkdiscard -f "/dev/$device"
    (($(allocated_mib) == 0)) || fail "$(allocated_mib) MiB still allocated after blkdiscard"
    try "discarded data is zero" cmp -n 16777216 "/dev/$device" /dev/zero
}

# The MiB allocated to IMAGE on its file system.
allocated_mib() { echo $(($(stat -c %b "$IMAGE") / 2048)); }

# guest_root_verified pv|pvh: a guest writes to its root, verifies it and powers off; dom0 then finds the same data in
# the image.
guest_root_verified() {
    guest_root "verified-$1" 64M '
head -c 16777216 /dev/urandom >/data/file
cp /bin/busybox /data/copy
sha256sum /data/file /data/copy >/data/sums
sync
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c /data/sums || exit 1
cmp /bin/busybox /data/copy || exit 1
! dmesg | grep -i "I/O error"'
    guest_start "verified-$1" "$1" "$IMAGE"
    guest_passed "verified-$1" 120
    try "check the image" e2fsck -f -n "$IMAGE"
    try "mount the image" mount -o ro,loop "$IMAGE" $MOUNT
    (cd $MOUNT && sed "s|/data|data|" data/sums | sha256sum --quiet -c -) ||
        fail "the image does not contain the data that the guest wrote"
    try "unmount the image" umount $MOUNT
}

# Removes everything that a scenario may have left, even one that was killed. Fails if something cannot be removed.
clean_up() {
    local domain directory area device status=0
    for process in $(pgrep -x fio); do kill -KILL "$process"; done
    for domain in $(xl list | awk 'NR > 1 && $2 != 0 {print $2}'); do
        timeout 60 xl destroy "$domain" || status=1
    done
    ! mountpoint -q $MOUNT || umount $MOUNT || umount -l $MOUNT
    for directory in vbd $DAEMON_DIRECTORY qdisk; do
        for device in $(xenstore-list "/local/domain/0/backend/$directory/0" 2>/dev/null); do
            area=/local/domain/0/backend/$directory/0/$device
            timeout 60 xl block-detach 0 "$device" || { status=1; timeout 60 xl block-detach --force 0 "$device"; }
            # xl does not know a device that a scenario made by hand.
            xenstore-rm "$area" "/local/domain/0/device/vbd/$device" 2>/dev/null
        done
    done
    if declare -F unit_clean_up >/dev/null; then unit_clean_up || status=1; fi
    losetup -D
    rm -rf "${IMAGES:?}"/*
    return $status
}
