# shellcheck shell=bash
# Under verified load, systemd restarts the daemon, also after a kill and after a hang, and stops and starts it. A disk
# that does not answer delays neither a restart nor other disks.
# boot: systemd
# limit: 1500
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# shellcheck source=tests/xen/dom0/unit.sh
source dom0/unit.sh
readonly LINEAR_MIB=64 HUNG_TASKS=/proc/sys/kernel/hung_task_timeout_secs
passes() { if [[ -e /tmp/load.passes ]]; then wc -l </tmp/load.passes; else echo 0; fi; }
more_passes_than() { (($(passes) > $1)); }

# Two more passes, because the first may have been almost finished.
load_goes_on() {
    kill -0 "$VERIFIED_LOAD" || fail "the load has ended: $(tail -n 1 /tmp/load.log)"
    wait_for 120 "further passes of the load" more_passes_than $(($(passes) + 1))
}

# anew WHAT: the unit runs again, as another process than $pid.
anew() {
    wait_for 90 "the daemon $1" unit_runs_anew "$pid"
    say "it runs again $1"
    pid=$(unit_pid)
    load_goes_on
}

unit_install
# The unit has 30 s; less, to save time.
unit_drop_in patience <<'CONF'
[Service]
WatchdogSec=10
Environment=BLKRING_DRAINTIMEOUTSECONDS=3
CONF
unit_images 300M
unit_start
unit_image disk 128M
attach "$IMAGE" xvdb
verified_load_start xvdb
load_goes_on
pid=$(unit_pid)

say "restart"
unit_restart
anew "after a restart"
say "kill"
journal=$(stat -c %i /run/blkring/journal)
kill -KILL "$pid"
anew "after a kill"
[[ $(stat -c %i /run/blkring/journal) == "$journal" ]] || fail "the folder of journals is not the same"
unit_is NRestarts 1 || fail "$(unit_property NRestarts) restarts after one kill"
say "hang"
kill -STOP "$pid"
anew "after a hang"
unit_says "Watchdog timeout" || fail "that was not the watchdog: $(unit_journal | tail -n 5 | paste -sd'|')"
if unit_says "'stop-watchdog' timed out"; then
    fail "the daemon outlived the watchdog's signal: $(unit_journal | grep -i watchdog | paste -sd'|')"
fi
unit_is NRestarts 2 || fail "$(unit_property NRestarts) restarts after a kill and a hang"

say "stop"
try "stop" systemctl stop blkring
unit_is ActiveState inactive || fail "it is $(unit_property ActiveState)"
unit_is Result success || fail "the stop's result is $(unit_property Result)"
try "start" systemctl start blkring
anew "after a stop and a start"

say "a disk that does not answer"
unit_image backing ${LINEAR_MIB}M
loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
try "a device-mapper device" dmsetup create linear --table "0 $((LINEAR_MIB * 2048)) linear $loop 0"
attach /dev/mapper/linear xvdc
# The reader waits for the disk until it is resumed.
read -r patience <$HUNG_TASKS
echo 0 >$HUNG_TASKS
trap 'dmsetup resume linear; echo "$patience" >$HUNG_TASKS' EXIT
try "suspend it" dmsetup suspend linear
dd if=/dev/xvdc of=/dev/null bs=64k count=16 iflag=direct status=none &
reader=$!
load_goes_on
unit_restart
unit_says "requests still in flight after 3 s: a disk does not respond" || fail "the journal does not mention the disk"
anew "beside a disk that does not answer"
kill -KILL "$pid"
anew "killed beside a disk that does not answer"
kill -0 "$reader" || fail "the reader has ended without its disk"
try "resume it" dmsetup resume linear
try "the reader" wait "$reader"
load_goes_on
verified_load_stop
detach xvdc
detach xvdb
! dmesg | sed '1,/scenario 17-systemd-restart/d' | grep -i 'I/O error' || fail "dom0 saw an I/O error"
