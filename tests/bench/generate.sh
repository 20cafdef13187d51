#!/bin/bash
# generate.sh MODEL BENCH GGUF [N_PROMPTS [REPEATS]]: prismx generate against llama.cpp's batched bench, 2 threads, bf16, 32 at once
# and one at a time, prompts of about 64 tokens, 64 new ones. MODEL: Hugging Face folder; BENCH:
# llama-batched-bench; GGUF: the same weights as a bf16 GGUF. Takes turns, prints medians, ratios and
# peak memory; the peer's number is its decoding alone, ours the whole command. Appends to LOG.md.
set -eu
. "$(dirname "$0")/../../jobs/lib.sh"
[ $# -ge 3 ] || die "MODEL, BENCH and GGUF are wanted"
model=$1 bench=$2 gguf=$3 n=${4:-128} repeats=${5:-3}
prismx=$ROOT/build/prismx
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT

awk -v n="$n" 'BEGIN {
    srand(7)
    split("time way year work people day man thing woman life child world school state family student group country problem hand part place case week company system program question government number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house", w, " ")
    for (i = 0; i < n; i++) {
        text = ""
        for (k = 0; k < 34; k++) text = text " " w[1 + int(rand() * 56)]
        printf "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}\n", i, substr(text, 2)
    }
}' >"$t/p.jsonl"
head -n 8 "$t/p.jsonl" >"$t/p1.jsonl"

# ours PROMPTS BATCH: new tokens a second of the whole command.
ours() {
    /usr/bin/time -f '%e %M' -o "$t/time" "$prismx" generate --model "$model" --prompts "$1" --out "$t/a.jsonl" --overwrite \
        --max-new-tokens 64 --ignore-eos --temperature 0 --batch "$2" --set threads=2 >/dev/null 2>&1
    awk -v n="$(wc -l <"$1")" '{ printf "%.1f %.0f\n", 64 * n / $1, $2 / 1024 }' "$t/time"
}
# peer BATCH: its decoding, tokens a second.
peer() {
    "$bench" -m "$gguf" -c $((160 * $1)) -b 2048 -ub 512 -npp 64 -ntg 64 -npl "$1" -t 2 -tb 2 2>/dev/null |
        awk -F '|' '/^\| *64/ { gsub(/ /, "", $9); print $9 }' | tail -n 1
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for batch in 32 1; do
    prompts=$t/p.jsonl
    [ $batch = 32 ] || prompts=$t/p1.jsonl
    : >"$t/ours" && : >"$t/peer"
    for _ in $(seq "$repeats"); do
        ours "$prompts" $batch >>"$t/ours"
        peer $batch >>"$t/peer"
    done
    a=$(cut -d ' ' -f 1 "$t/ours" | median) b=$(median <"$t/peer") m=$(cut -d ' ' -f 2 "$t/ours" | sort -n | tail -n 1)
    printf -- '- generate, batch %d, %d prompts: %s new tokens/s (whole command), peer %s (decode alone), ratio %s, peak %s MB; %s\n' $batch \
        "$(wc -l <"$prompts")" "$a" "$b" "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f", a / b }')" "$m" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" | tee -a "$ROOT/tests/bench/LOG.md"
done
