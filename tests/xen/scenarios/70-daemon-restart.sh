# shellcheck shell=bash
# The daemon is stopped or killed and started again, several times, while a guest and dom0 do verified I/O: they notice
# only a pause. So they do if an image is away when the daemon starts.
# short: yes
# limit: 420
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
[[ -n $SHORT ]] && restarts=2 || restarts=6
rounds() { guest_says_count restart '^round'; }
more_rounds_than() { (($(rounds) > $1)); }
waits() { "$BLKRING" list | grep -q "$1 .* waiting"; }

# shellcheck disable=SC2016
guest_root restart 64M '
(read line; touch /tmp/stop) </dev/hvc0 &
round=0
while [ ! -e /tmp/stop ]; do
    round=$((round + 1))
    head -c 1048576 /dev/urandom >/data/file
    sha256sum /data/file >/tmp/sum
    sync
    echo 3 >/proc/sys/vm/drop_caches
    sha256sum -c /tmp/sum >/dev/null || exit 1
    echo "round $round"
done
! dmesg | grep -i "I/O error"'
guest_start restart pv "$IMAGE"
new_image disk 128M
disk=$IMAGE
attach "$disk" xvdb
wait_for 90 "verified rounds in the guest" more_rounds_than 2
verified_load_start xvdb
for ((i = 0; i < restarts; i++)); do
    sleep 2
    kill -0 "$VERIFIED_LOAD" || fail "the load has ended: $(tail -n 1 /tmp/load.log)"
    if ((i % 2 == 0)); then try "stop the daemon" daemon_stop; else try "kill the daemon" daemon_kill; fi
    say "frontend state $(store "$(store "$(backend_area 0 xvdb)/frontend")/state")," \
        "backend state $(store "$(backend_area 0 xvdb)/state")"
    stopped_at=$(rounds)
    sleep 3
    (($(rounds) <= stopped_at + 1)) || fail "the guest makes progress without a backend"
    try "start the daemon" daemon_start
    wait_for 60 "further rounds in the guest" more_rounds_than $((stopped_at + 2))
done

say "the image is away when the daemon starts"
try "kill the daemon" daemon_kill
try "take the image away" mv "$disk" "$disk.away"
stopped_at=$(rounds)
try "start the daemon" daemon_start
wait_for 30 "the device to wait" waits 0/51728
wait_for 60 "further rounds of the guest whose image is there" more_rounds_than $((stopped_at + 2))
[[ $(store "$(backend_area 0 xvdb)/state") == 4 ]] || fail "the device is not Connected"
say "$("$BLKRING" list | grep '^0/51728: ')"
kill -0 "$VERIFIED_LOAD" || fail "the load has ended without its image: $(tail -n 1 /tmp/load.log)"
try "bring the image back" mv "$disk.away" "$disk"
verified_load_stop
guest_type restart stop
guest_passed restart 60
detach xvdb
! dmesg | sed '1,/scenario 70-daemon-restart/d' | grep -i 'I/O error' || fail "dom0 saw an I/O error"
