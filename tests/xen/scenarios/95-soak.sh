# shellcheck shell=bash
# Cycles of attach, load and detach for the given time; every fifth detach is under load, and every tenth cycle has a
# guest that is destroyed. The daemon's resources are sampled after each cycle. Fails if they grow.
# limit: 300
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
readonly SAMPLES=/out/soak.tsv WARM_UP_CYCLES=5 SPARE_KIB=8192
end=$((SECONDS + SOAK_MINUTES * 60))

load() {
    fio --name=load --filename="/dev/$1" --direct=1 --ioengine=libaio --rw=randrw --bsrange=4k-128k --blockalign=4k \
        --iodepth=32 --time_based --runtime="$2"
}

calm_cycle() {
    local device
    for device in xvdb xvdc; do attach "$IMAGES/$device.raw" "$device"; done
    for device in xvdb xvdc; do load "$device" 3 >/dev/null || fail "load on $device failed"; done
    for device in xvdb xvdc; do detach "$device"; done
}

unplug_cycle() {
    attach $IMAGES/xvdb.raw xvdb
    load xvdb 60 >/dev/null 2>&1 &
    sleep 2
    detach xvdb
    kill $! 2>/dev/null
    wait
}

guest_cycle() {
    guest_root soak 48M \
        'echo load; while :; do dd if=/dev/urandom of=/data/file bs=64k count=32 conv=fsync 2>/dev/null; done'
    guest_start soak pv "$IMAGE"
    wait_for 120 "load in the guest" guest_says soak '^load'
    sleep 2
    try "destroy the guest" xl destroy soak
    # The daemon releases the device after xl has returned.
    sleep 2
}

# Median of column $1 of lines $2 to $3 of the samples.
median() { sed -n "$2,$3p" $SAMPLES | cut -f "$1" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

for device in xvdb xvdc; do new_image $device 64M; done
cycles=0
while ((SECONDS < end || cycles < WARM_UP_CYCLES * 3)); do
    cycles=$((cycles + 1))
    if ((cycles % 10 == 0)); then guest_cycle; elif ((cycles % 5 == 0)); then unplug_cycle; else calm_cycle; fi
    read -r -a held <<<"$(daemon_holds)"
    printf '%s\t' "$cycles" "${held[@]}" | sed 's/\t$/\n/' | tee -a $SAMPLES
done

last=$(wc -l <$SAMPLES)
third=$(((last - WARM_UP_CYCLES) / 3))
status=0
{
    echo "soak: $cycles cycles in $((SECONDS / 60)) minutes;" \
        "medians of the first, second and last third after $WARM_UP_CYCLES cycles"
    printf '%-24s %10s %10s %10s\n' '' start middle end
    column=2
    for what in descriptors "mapped grant ranges" "bound event channels" "resident KiB"; do
        from=$((WARM_UP_CYCLES + 1))
        start=$(median $column $from $((from + third - 1)))
        middle=$(median $column $((from + third)) $((from + 2 * third - 1)))
        final=$(median $column $((from + 2 * third)) "$last")
        spare=0
        [[ $column != 5 ]] || spare=$((SPARE_KIB + start / 20))
        verdict=
        if ((final > start + spare)); then verdict='  grows' status=1; fi
        printf '%-24s %10s %10s %10s%s\n' "$what" "$start" "$middle" "$final" "$verdict"
        column=$((column + 1))
    done
} >/out/soak.txt
cat /out/soak.txt
((status == 0)) || fail "the daemon grows: $(grep grows /out/soak.txt | paste -sd';')"
