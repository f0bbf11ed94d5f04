# shellcheck shell=bash
# Blkring's grant modes and blkback on the same image on tmpfs. The default of Grants, "auto", is based on these
# figures.
# asked: yes
# limit: 1800
# backends: blkring
# shellcheck source=tests/xen/dom0/lib.sh
source "$LIBRARY"
readonly LOADS=("randread 4k 32" "randwrite 4k 32" "randread 4k 1" "randread 64k 8" "randwrite 64k 8" "read 1M 4")
readonly REPETITIONS=3
names=(blkback copy map persistent)
devices=(xvdb xvdc xvdd xvde)

for i in 1 2 3; do own+="${own:+, }\"0/${devices[i]}\": { \"Grants\": \"${names[i]}\" }"; done
echo "{ \"Lock\": \"no\", \"Devices\": { $own } }" >/run/modes.json
daemon_with --config /run/modes.json
new_image disk 256M
try "fill the image" dd if=/dev/urandom of="$IMAGE" bs=1M count=256 conv=notrunc status=none
attach "$IMAGE" "${devices[0]}" blkback
for i in 1 2 3; do attach "$IMAGE" "${devices[i]}"; done
for repetition in $(seq $REPETITIONS); do
    for load in "${LOADS[@]}"; do
        for i in "${!names[@]}"; do
            owner=blkring
            ((i > 0)) || owner=blkback
            # shellcheck disable=SC2086
            measure /out/modes.tsv "${names[i]}" $owner "${devices[i]}" $load
        done
    done
    say "repetition $repetition of $REPETITIONS"
done
detach "${devices[0]}" blkback
for i in 1 2 3; do detach "${devices[i]}"; done
