# shellcheck shell=bash
# An older blkring is killed under verified load. The one under test continues its rings: it reads the older journal,
# and the frontend notices a pause and nothing else.
# limit: 300
# backends: blkring
# needs: upgrade-from
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
present=$BLKRING
# The scenario ends with the daemon with which it began.
trap 'BLKRING=$present; daemon_stop; daemon_start' EXIT

# journal_version FILE: the number behind the magic; version 1 has it in the same place.
journal_version() { od -An -tu4 -j8 -N4 "$1" | tr -d ' '; }

new_image disk 128M
for ((i = 0; i < 4; i++)); do
    try "stop the daemon" daemon_stop
    BLKRING=$OLDER_BLKRING
    try "start the older daemon" daemon_start
    attach "$IMAGE" xvdb
    verified_load_start xvdb
    sleep 3
    try "kill the older daemon" daemon_kill
    for journal in /run/blkring/journal/*/*; do
        [[ -e $journal ]] || fail "the older daemon keeps no journal"
        say "$journal: version $(journal_version "$journal")"
    done
    BLKRING=$present
    try "start the daemon under test" daemon_start
    say "journal: version $(journal_version "$journal") now"
    sleep 3
    kill -0 "$VERIFIED_LOAD" || fail "the load has ended: $(tail -n 1 /tmp/load.log)"
    verified_load_stop
    detach xvdb
done
! dmesg | sed '1,/scenario 72-daemon-upgrade/d' | grep -i 'I/O error' || fail "dom0 saw an I/O error"
