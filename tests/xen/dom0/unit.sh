# shellcheck shell=bash
# More functions, for scenarios of the systemd unit: the daemon is installed as docs/deploy.md says.
export BLKRING=/usr/local/bin/blkring
readonly DROP_INS=/etc/systemd/system/blkring.service.d CONFIGURATION=/etc/blkring/blkring.json
readonly OPENER_DROP_INS=/etc/systemd/system/blkring-opener.service.d
# A folder in which the opener's unit allows images.
readonly UNIT_IMAGES=/var/lib/xen/images
UNIT_SINCE=$(date +%s)

unit_install() { try "install" packaging/install --from bin; }

# As docs/deploy.md says, after the installation.
unit_start() { try "enable and start" systemctl enable --quiet --now blkring; }

# unit_drop_in NAME: makes a drop-in of the standard input; it applies from the next start on.
unit_drop_in() {
    mkdir -p $DROP_INS
    cat >"$DROP_INS/$1.conf"
    try "daemon-reload" systemctl daemon-reload
}

# opener_drop_in NAME: the same for the opener's unit.
opener_drop_in() {
    mkdir -p $OPENER_DROP_INS
    cat >"$OPENER_DROP_INS/$1.conf"
    try "daemon-reload" systemctl daemon-reload
}

unit_restart() { try "restart" systemctl restart blkring; }

unit_property() { systemctl show -P "$1" blkring; }
unit_is() { [[ $(unit_property "$1") == "$2" ]]; }
unit_pid() { unit_property MainPID; }
unit_runs() { unit_is ActiveState active; }
# unit_runs_anew PID: the unit is ready, and its process is not PID.
unit_runs_anew() { unit_runs && ! unit_is MainPID "$1"; }

# The unit's log lines since the scenario began.
unit_journal() {
    journalctl --sync
    journalctl --unit blkring --since "@$UNIT_SINCE" --no-pager -o cat
}
unit_says() { unit_journal | grep -q -- "$1"; }

# A folder for images as on a real host: a separate file system on a block device.
unit_images() {
    local loop
    new_image filesystem "$1"
    loop=$(losetup --show -f "$IMAGE") || fail "no loop device"
    mkdir -p $UNIT_IMAGES
    try "a file system for images" mkfs.ext4 -q "$loop"
    try "mount it" mount "$loop" $UNIT_IMAGES
}

# unit_image NAME SIZE: like new_image, in a folder in which the unit allows images.
unit_image() {
    IMAGE=$UNIT_IMAGES/$1.raw
    truncate -s "$2" "$IMAGE" || fail "no image"
}

# Removes everything that a scenario of the unit may have left.
unit_clean_up() {
    local status=0
    if systemctl cat blkring >/dev/null 2>&1; then packaging/install --uninstall || status=1; fi
    systemctl reset-failed blkring blkring-opener 2>/dev/null
    rm -rf $DROP_INS $OPENER_DROP_INS ${CONFIGURATION%/*}
    systemctl daemon-reload
    dmsetup remove_all || status=1
    losetup -D
    ! mountpoint -q $UNIT_IMAGES || umount $UNIT_IMAGES || status=1
    return $status
}
