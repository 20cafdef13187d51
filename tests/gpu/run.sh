#!/bin/bash
# run.sh [--packed FOLDER] [--report FILE]: what shows that prismx works on this machine's GPU, and how fast it is. Builds (cmake
# --preset cuda), or takes what tests/gpu/pack.sh --tests packed; then every operation against the float64 reference, the
# same under compute-sanitizer, tiny trainings against the CPU and against themselves, then models of real shapes with
# random weights (PX_SHAPES names others): times, memory, and PyTorch on the same pairs where it is there. --report writes card, date, commit and
# numbers (tests/bench/GPU.md says where). The last line says how many parts passed. It has not run on a card yet.
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
cd "$ROOT" || exit 1
packed='' report=''
while [ $# -gt 0 ]; do
    case "$1" in
    --packed) packed=${2:?--packed wants a folder} && shift ;;
    --report) report=${2:?--report wants a file} && shift ;;
    -h | --help) sed -n '2,7s/^# //p' "$0" && exit 0 ;;
    *) DIE_CODE=2 die "unknown option $1; accepted: --packed FOLDER, --report FILE" ;;
    esac
    shift
done
command -v nvidia-smi >/dev/null && nvidia-smi -L || DIE_CODE=2 die "no GPU: nvidia-smi lists none"
mpi_environment
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
passed=0 failed=0 lines=()
part() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$T/log" 2>&1; then
        passed=$((passed + 1)) && echo "ok $name"
    else
        failed=$((failed + 1)) && echo "fail $name" && tail -n 15 "$T/log"
    fi
}
number() { lines+=("| $1 | $2 |") && echo "$1: $2"; }
if [ -n "$packed" ]; then
    packed=$(cd "$packed" && pwd)
    X=$packed/prismx with=$packed/with unit=$packed/tests
    "$X" --version >/dev/null || exit # unpacks, finds the libraries
else
    jobs/install.sh --tests --cuda || exit
    cmake --preset cuda && cmake --build --preset cuda -j "$(n_cores)" || exit
    X=build-cuda/prismx with=env unit=build-cuda/tests/unit
fi
"$X" doctor | grep 'gpu\.'
for test in ops_rows ops_layers ops_lora ops_linear ops_exact attention head cached graphs; do
    [ -x "$unit/test_$test" ] || continue
    part "$test" env PX_TEST_BACKEND=cuda "$with" "$unit/test_$test"
    command -v compute-sanitizer >/dev/null || continue
    for tool in memcheck racecheck initcheck; do
        part "$tool-$test" env PX_TEST_BACKEND=cuda "$with" compute-sanitizer --tool "$tool" --error-exitcode 9 "$unit/test_$test"
    done
done
command -v compute-sanitizer >/dev/null || echo "skip sanitizer: no compute-sanitizer here"

# --- a tiny training: the CPU's numbers, its own bits ---
"$X" model init --like tiny --seed 1 --out "$T/tiny" && "$X" synth --users 8 --seed 3 --out "$T/data" &&
    "$X" prepare --data "$T/data" --model "$T/tiny" --out "$T/corpus.h5" || exit
train() { # DEVICE OUT [OPTION...]
    local device=$1 run=$2
    shift 2
    "$X" train --config configs/ppft.json --corpus "$T/corpus.h5" --model "$T/tiny" --set precision=f32 \
        --set optim.warmup_steps=0 --set batch.pairs=6 --set train.steps=4 --set optim.lr=1e-3 --set device="$device" --out "$T/$run" "$@"
}
sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$T/$1/manifest.json" | head -n 1; }
losses() { sed -n 's/.*"loss": \([^,]*\),.*/\1/p' "$T/$1/metrics.jsonl"; }
near() { # RUN RUN: losses to 1e-4
    paste <(losses "$1") <(losses "$2") | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-4 * (1 + $2)) bad = 1 } END { exit bad || NR == 0 }'
}
part train-cpu train cpu cpu
part train-cuda train cuda cuda
part near-the-cpu near cuda cpu
part train-cuda-again train cuda again
part same-bits-again [ "$(sha cuda)" = "$(sha again)" ]
part train-cuda-small-slots train cuda slots --set batch.slot_tokens=800
cards=$(nvidia-smi -L | wc -l)
for n in 2 3; do
    [ "$cards" -ge $n ] && command -v mpirun >/dev/null || { echo "skip $n ranks: $cards cards" && continue; }
    part "train-$n-ranks" mpirun -n $n "$X" train --config configs/ppft.json --corpus "$T/corpus.h5" --model "$T/tiny" --set precision=f32 \
        --set optim.warmup_steps=0 --set batch.pairs=6 --set train.steps=4 --set optim.lr=1e-3 --set device=cuda --out "$T/r$n"
    part "same-bits-$n-ranks" [ "$(sha cuda)" = "$(sha "r$n")" ]
done

# --- real shapes, random weights ---
memory() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0; }
in_json() { sed -n "s/.*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p" "$2" | head -n 1; }
# RUN BEFORE: what plan said ($T/plan.json) against what the run held and what the card counts, less the MiB in use before.
planned() {
    awk -v p="$(in_json device_memory_bytes "$T/plan.json")" -v a="$(in_json device_memory_allowance "$T/plan.json")" \
        -v held="$(in_json device_peak_memory_bytes "$1/manifest.json")" -v n="$(in_json device_allocations "$1/manifest.json")" \
        -v card="$(in_json device_card_memory_used_bytes "$1/manifest.json")" -v before="$2" 'BEGIN {
            card -= before * 1048576
            printf "planned %.3f GB, of it %.3f allowed; held %.3f in %d pieces; on the card %.3f\n", p / 1e9, a / 1e9, held / 1e9, n, card / 1e9
            exit !(n == 1 && held > 0 && held < p && card < 1.02 * p && card > 0.85 * p) }'
}
for shape in ${PX_SHAPES:-smollm2-135m llama-3.2-1b llama-3.1-8b}; do
    m=$T/model-$shape
    "$X" model init --like "$shape" --seed 1 --out "$m" >/dev/null 2>&1 || { echo "skip $shape: no room for its weights" && continue; }
    "$X" prepare --data "$T/data" --model "$m" --out "$T/$shape.h5" >/dev/null 2>&1 || continue
    before=$(memory)
    (while sleep 1; do memory; done) >"$T/memory" 2>/dev/null &
    looker=$!
    part "train-$shape" "$X" train --config configs/ppft.json --corpus "$T/$shape.h5" --model "$m" --set batch.slot_tokens=4096 \
        --set batch.pairs=32 --set train.steps=4 --set device=cuda --out "$T/run-$shape"
    kill $looker 2>/dev/null
    wait $looker 2>/dev/null
    # The first step warms up.
    number "P-DPO LoRA bf16, $shape, tokens/s" "$(sed -n 's/.*"tokens_per_s": \([0-9.]*\).*/\1/p' "$T/run-$shape/metrics.jsonl" 2>/dev/null |
        tail -n +2 | sort -n | tail -n 1)"
    number "P-DPO LoRA bf16, $shape, pairs/s" "$(sed -n 's/.*"pairs": \([0-9]*\).*"step_time_s": \([0-9.]*\).*/\1 \2/p' "$T/run-$shape/metrics.jsonl" 2>/dev/null |
        tail -n +2 | awk '{ n += $1; s += $2 } END { if (s) print n / s }')"
    number "peak memory, $shape, slots of 4,096 tokens, GB" "$(sort -n "$T/memory" | tail -n 1 | awk '{ print $1 * 1.048576 / 1000 }')"
    "$X" plan --config configs/ppft.json --corpus "$T/$shape.h5" --model "$m" --set batch.slot_tokens=4096 --set batch.pairs=32 \
        --set train.steps=4 --set device=cuda --json >"$T/plan.json" 2>/dev/null
    part "planned-$shape" planned "$T/run-$shape" "$before"
    number "the same by plan, $shape, GB" "$(in_json device_memory_bytes "$T/plan.json" | awk '{ print $1 / 1e9 }')"
    number "of the card beside what the program holds, $shape, GB" "$(echo "$(in_json device_card_memory_used_bytes "$T/run-$shape/manifest.json")" \
        "$(in_json device_peak_memory_bytes "$T/run-$shape/manifest.json")" "$before" | awk '{ print ($1 - $2 - $3 * 1048576) / 1e9 }')"
    # Where the time goes, and the part of the card's peak.
    "$X" train --config configs/ppft.json --corpus "$T/$shape.h5" --model "$m" --set batch.slot_tokens=4096 --set batch.pairs=32 \
        --set train.steps=2 --set device=cuda --profile --out "$T/profile-$shape" >"$T/profile" 2>/dev/null && cat "$T/profile"
    number "of the card's bf16 peak, $shape, whole step" "$(awk '$1 == "all" { print $(NF - 1), $NF }' "$T/profile" 2>/dev/null)"
    awk 'BEGIN { for (i = 0; i < 256; i++) printf "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"Tell me about number %d and its neighbours.\"}]}\n", i, i }' >"$T/p.jsonl"
    for graphs in true false; do # the same answers, and the debug log says that steps were replayed
        for batch in 64 1; do
            head -n $((batch * 4)) "$T/p.jsonl" >"$T/p-$batch.jsonl"
            PRISMX_LOG=debug "$X" generate --model "$m" --prompts "$T/p-$batch.jsonl" --out "$T/a-$graphs-$batch.jsonl" \
                --overwrite --max-new-tokens 128 --ignore-eos --temperature 0 --batch $batch --set device=cuda \
                --set generate.graphs=$graphs >"$T/generated" 2>"$T/graphs-$graphs-$batch"
            number "decoding, $shape, $batch at once, graphs $graphs, tokens/s" \
                "$(sed -n 's/.*(\([0-9]*\) a second.*/\1/p' "$T/generated" | head -n 1)"
        done
    done
    for batch in 64 1; do
        part "graphs-replayed-$shape-$batch" grep -E 'steps: [1-9][0-9]* by [1-9][0-9]* CUDA graphs' "$T/graphs-true-$batch"
        part "graphs-same-answers-$shape-$batch" cmp "$T/a-true-$batch.jsonl" "$T/a-false-$batch.jsonl"
    done
    if python3 -c 'import torch, transformers' 2>/dev/null; then
        number "the same by transformers, tokens/s" "$(python3 tests/gpu/decode_peer.py "$m" 64 128 2>/dev/null | tail -n 1)"
        ! python3 -c 'import peft' 2>/dev/null ||
            number "the same pairs by PyTorch + PEFT, pairs/s" "$(DEVICE=cuda python3 tests/bench/prlhf_step.py "$m" "$T/data" 24 1 2>/dev/null |
                sed -n 's/.*"pairs_per_s": \([0-9.]*\).*/\1/p')"
    fi
    rm -rf "$m" "$T/run-$shape" "$T/profile-$shape"
done
if [ -n "$report" ]; then
    {
        echo "## $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1), $(date -u +%F), $(git rev-parse --short HEAD 2>/dev/null)"
        echo
        echo "$passed parts passed, $failed failed."
        echo
        printf '| what | |\n|---|---|\n'
        printf '%s\n' "${lines[@]}"
    } >"$report"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
