# shellcheck shell=bash
# Linux blkback, QEMU qdisk and Blkring on the same image on tmpfs: medians of interleaved repetitions.
# limit: 1500
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
readonly LOADS=("randread 4k 32" "randwrite 4k 32" "randread 64k 8" "read 1M 4") REPETITIONS=5 SECONDS_EACH=3
backends=(blkback qdisk)
[[ $BACKEND == blkring ]] && backends+=(blkring)

# The CPU time in clock ticks that the process serving a backend has used so far; blkback has a kernel thread a ring.
cpu_ticks() {
    local process
    case $1 in
        blkring) process=$(daemon_pid) ;;
        qdisk) process=$(cat /run/qdisk.pid) ;;
        blkback) process=$(pgrep -f '^\[?0\.xvd' | head -n 1); [[ -n $process ]] || process=$(pgrep '^0\.xvd' | head -n 1) ;;
    esac
    awk '{print $14 + $15}' "/proc/$process/stat"
}

# $1: backend, $2: device, then the load: one line, the columns of comparison.tsv.
measure() {
    local backend=$1 device=$2 direction=$3 block=$4 depth=$5 before figures
    before=$(cpu_ticks "$backend")
    figures=$(fio --name=load --filename="/dev/$device" --direct=1 --ioengine=libaio --rw="$direction" --bs="$block" --iodepth="$depth" \
        --time_based --runtime=$SECONDS_EACH --ramp_time=1 --randrepeat=0 --output-format=terse --terse-version=3) || fail "fio on $backend: $figures"
    # Columns of fio's terse format 3: bandwidth and operations a second are 7 and 8 of reads, 48 and 49 of writes.
    awk -F';' -v OFS='\t' -v backend="$backend" -v load="$direction $block qd$depth" -v ticks="$(($(cpu_ticks "$backend") - before))" \
        '{print load, backend, $8 + $49, $7 + $48, ticks}' <<<"$figures" | tee -a /out/comparison.tsv
}

new_image disk 256M
try "fill the image" dd if=/dev/urandom of="$IMAGE" bs=1M count=256 conv=notrunc status=none
devices=(xvdb xvdc xvdd)
for i in "${!backends[@]}"; do attach "$IMAGE" "${devices[i]}" "${backends[i]}"; done
for repetition in $(seq $REPETITIONS); do
    for load in "${LOADS[@]}"; do
        # shellcheck disable=SC2086
        for i in "${!backends[@]}"; do measure "${backends[i]}" "${devices[i]}" $load; done
    done
    say "repetition $repetition of $REPETITIONS"
done
for i in "${!backends[@]}"; do detach "${devices[i]}" "${backends[i]}"; done
