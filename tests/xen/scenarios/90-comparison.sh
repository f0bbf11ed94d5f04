# shellcheck shell=bash
# Linux blkback, QEMU qdisk and Blkring on the same image on tmpfs: medians of interleaved repetitions.
# limit: 1500
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
readonly LOADS=("randread 4k 32" "randwrite 4k 32" "randread 64k 8" "read 1M 4") REPETITIONS=5
backends=(blkback qdisk)
[[ $BACKEND == blkring ]] && backends+=(blkring)

new_image disk 256M
try "fill the image" dd if=/dev/urandom of="$IMAGE" bs=1M count=256 conv=notrunc status=none
devices=(xvdb xvdc xvdd)
for i in "${!backends[@]}"; do attach "$IMAGE" "${devices[i]}" "${backends[i]}"; done
for repetition in $(seq $REPETITIONS); do
    for load in "${LOADS[@]}"; do
        # shellcheck disable=SC2086
        for i in "${!backends[@]}"; do
            measure /out/comparison.tsv "${backends[i]}" "${backends[i]}" "${devices[i]}" $load
        done
    done
    say "repetition $repetition of $REPETITIONS"
done
for i in "${!backends[@]}"; do detach "${devices[i]}" "${backends[i]}"; done
