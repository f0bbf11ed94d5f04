# shellcheck shell=bash
# The unit, installed as docs/deploy.md says: it is ready when systemd says so, hardened, and ordered before xendomains.
# It handles a broken configuration and a late xenstored, and nothing is left after its removal.
# boot: systemd
# limit: 900
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
# shellcheck source=tests/xen/dom0/unit.sh
source dom0/unit.sh
# process_has FIELD VALUE: in the status that the kernel shows for the daemon.
process_has() { grep -q "^$1:[[:space:]]*$2\$" "/proc/$(unit_pid)/status"; }
started_more_than() { (($(unit_property NRestarts) > $1)); }

unit_install
try "its configuration" "$BLKRING" serve --check-config
complaints=$(systemd-analyze verify blkring.service blkring-opener.service blkring-opener.socket 2>&1 | grep blkring)
[[ -z $complaints ]] || fail "systemd-analyze verify: $complaints"
for unit in blkring blkring-opener; do say "$(systemd-analyze security --no-pager $unit | tail -n 1)"; done

say "start and list"
unit_start
unit_runs || fail "not active after its start: $(unit_property ActiveState)"
try "list at once" "$BLKRING" list
unit_is StatusText "serving vbd3: 0 devices" || fail "its status is '$(unit_property StatusText)'"
[[ -L /etc/systemd/system/multi-user.target.wants/blkring.service ]] || fail "it does not start at boot"
# xendomains is an init script of Debian; systemd makes a unit of it.
[[ " $(unit_property Before) " == *" xendomains.service "* ]] || fail "not before xendomains: $(unit_property Before)"
[[ " $(systemctl show -P After xendomains) " == *" blkring.service "* ]] || fail "xendomains is not after it"

say "restrictions that the kernel enforces"
process_has NoNewPrivs 1 || fail "it can gain privileges"
process_has Seccomp 2 || fail "no system call is filtered"
for set in CapEff CapPrm CapAmb CapBnd; do
    process_has $set 0000000000000000 || fail "capabilities: $(grep ^Cap "/proc/$(unit_pid)/status" | paste -sd' ')"
done
[[ $(stat -c %U "/proc/$(unit_pid)") == blkring ]] || fail "it runs as $(stat -c %U "/proc/$(unit_pid)")"

unit_is MemoryDenyWriteExecute yes || fail "MemoryDenyWriteExecute is not set"
if grep -qE '^[^ ]+ .wx' "/proc/$(unit_pid)/maps"; then fail "it has memory that is writable and executable"; fi

say "a broken configuration"
cp $CONFIGURATION /tmp/blkring.json
echo '{ "Cach": "none" }' >$CONFIGURATION
if systemctl restart blkring; then fail "it starts with a broken configuration"; fi
unit_is ExecMainStatus 2 || fail "exit code $(unit_property ExecMainStatus)"
unit_is SubState failed || fail "tried again: $(unit_property SubState)"
unit_is NRestarts 0 || fail "tried again $(unit_property NRestarts) times"
unit_says "there is no such key; the nearest is Cache" ||
    fail "the journal does not say what to do: $(unit_journal | tail -n 3 | paste -sd'|')"
say "$(unit_journal | grep 'no such key')"
cp /tmp/blkring.json $CONFIGURATION
try "start with the corrected configuration" systemctl start blkring
unit_runs || fail "not active"

say "a xenstored that starts late"
unit_is StartLimitIntervalUSec 0 ||
    fail "systemd gives up after $(unit_property StartLimitBurst) starts in $(unit_property StartLimitIntervalUSec)"
unit_drop_in late <<'CONF'
[Service]
Environment=XENSTORED_PATH=/run/late-xenstored
RestartSec=100ms
CONF
if systemctl restart blkring; then fail "it is ready without xenstored"; fi
wait_for 120 "more starts than systemd allows by default" started_more_than 5
unit_says "xenstore does not answer" ||
    fail "the journal does not say what is missing: $(unit_journal | tail -n 3 | paste -sd'|')"
ln -s /run/xenstored/socket /run/late-xenstored
wait_for 30 "the daemon to start after xenstored" unit_runs
rm /run/late-xenstored

try "uninstall" packaging/install --uninstall
if systemctl cat blkring >/dev/null 2>&1; then fail "the unit is still there"; fi
left=$(find / -xdev -path '*blkring*' -not -path '/etc/blkring*' -not -path "$DROP_INS*" \
    -not -path '/proc/*' -not -path '/run/*/invocation:*' | paste -sd' ')
[[ -z $left ]] || fail "left behind: $left"
[[ -s $CONFIGURATION ]] || fail "the configuration is gone"
[[ -z $(pgrep -x blkring) ]] || fail "the daemon still runs"
