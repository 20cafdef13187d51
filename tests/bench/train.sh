#!/bin/bash
# train.sh MODEL DATA [PYTHON]: P-DPO in bf16 on 2 threads, whole command, against the P-RLHF step in PyTorch + PEFT
# (prlhf_step.py) on the same pairs, in turn, twice each; prints the ratio and peak memory, and appends a line to
# LOG.md. MODEL: a Hugging Face folder of SmolLM2-135M; DATA: a folder in PRISM's format; PYTHON: one with
# torch, transformers and peft (default: python3). The second of our runs finds the reference cache, as any rerun does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
model=${1:?MODEL is missing} data=${2:?DATA is missing} python=${3:-python3}
x=$root/build/prismx
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
set_=(--set data.split.unseen_users=0 --set data.split.seen_test=0 --set threads=2 --set precision=bf16)
"$x" prepare --data "$data" --model "$model" --out "$t/c.h5" "${set_[@]}"
ours() {
    local start=$EPOCHREALTIME
    "$x" train --config "$root/configs/ppft.json" --corpus "$t/c.h5" --model "$model" --out "$t/r$1" "${set_[@]}" \
        --set batch.pairs=32 --set optim.warmup_steps=0 >"$t/log$1" 2>&1
    awk "BEGIN { print $EPOCHREALTIME - $start }" >"$t/s$1"
}
"$python" "$here/prlhf_step.py" "$model" "$data" 16 2 2>/dev/null | tail -n 1 >"$t/p1"
ours 1
"$python" "$here/prlhf_step.py" "$model" "$data" 16 2 2>/dev/null | tail -n 1 >"$t/p2"
ours 2
number() { sed -n "s/.*\"$2\": \([0-9.e+-]*\).*/\1/p" "$1"; }
peer=$({ number "$t/p1" pairs_per_s; number "$t/p2" pairs_per_s; } | sort -g | tail -n 1)
pairs=$(awk -F'"pairs": ' '{ split($2, a, ","); n += a[1] } END { print n }' "$t/r2/metrics.jsonl")
steps=$(awk -F'"step_time_s": ' '{ split($2, a, ","); n += a[1] } END { print n }' "$t/r2/metrics.jsonl")
memory=$(sed -n 's/.*"peak_memory_bytes":[[:space:]]*\([0-9]*\).*/\1/p' "$t/r2/manifest.json")
line=$(awk -v p="$peer" -v n="$pairs" -v c="$(cat "$t/s1")" -v w="$(cat "$t/s2")" -v s="$steps" -v m="$memory" 'BEGIN {
    printf "peer %.3f pairs/s; whole command %.2f (%.1fx), with the reference computed %.2f (%.1fx), steps %.2f (%.1fx); peak %.2f GB",
        p, n / w, n / w / p, n / c, n / c / p, n / s, n / s / p, m / 1e9 }')
echo "$line"
printf '\n- %s, %s, %s threads: P-DPO step: %s\n' "$(date +%F)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" 2 "$line" \
    >>"$here/LOG.md"
