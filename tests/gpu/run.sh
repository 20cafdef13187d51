#!/bin/bash
# run.sh [--packed FOLDER] [--report FILE] [STEP...]: what shows that prismx works on this machine's GPU, and how fast it
# is. Builds (cmake --preset cuda), or takes what tests/gpu/pack.sh --tests packed. Steps, all of them where none is named:
# ops (every operation against the float64 reference), tiny (trainings against the CPU and against themselves),
# smollm2-135m, llama-3.2-1b, llama-3.1-8b (random weights: times, memory, and PyTorch on the same pairs where it is
# there; SHAPE-train, SHAPE-decode, SHAPE-bits, SHAPE-peers: a part of it), sanitizer (the operations under
# compute-sanitizer, long).
# --report appends card, date, commit, and each number as soon as it is known (tests/bench/GPU.md says where); what a
# part that failed said goes to FILE.log. No part takes longer than PX_PART_S seconds (600). Weights lie in TMPDIR: 17 GB
# for 8B. The last line says how many parts passed. It has not run on a card yet.
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
packed='' report='' steps=()
all=(ops tiny smollm2-135m llama-3.2-1b llama-3.1-8b sanitizer)
while [ $# -gt 0 ]; do
    case "$1" in
    --packed) packed=$(cd "${2:?--packed wants a folder}" && pwd) && shift || exit 2 ;;
    --report) report=$(realpath "${2:?--report wants a file}") && shift ;;
    -h | --help) sed -n '2,11s/^# //p' "$0" && exit 0 ;;
    ops | tiny | sanitizer) steps+=("$1") ;;
    smollm2-135m* | llama-3.2-1b* | llama-3.1-8b* | tiny-*) steps+=("$1") ;;
    *) DIE_CODE=2 die "unknown option or step $1; accepted: --packed FOLDER, --report FILE, ${all[*]}" ;;
    esac
    shift
done
cd "$ROOT" || exit 1
[ ${#steps[@]} -gt 0 ] || steps=("${all[@]}")
device=${PX_GPU_DEVICE:-cuda} # another one tests this script
limit=(timeout -k 10 "${PX_PART_S:-600}")
command -v nvidia-smi >/dev/null && nvidia-smi -L || DIE_CODE=2 die "no GPU: nvidia-smi lists none"
mpi_environment
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
passed=0 failed=0
told() { [ -z "$report" ] || printf '%s\n' "$*" >>"$report"; }
fail() { # NAME LOG
    failed=$((failed + 1)) && echo "fail $1" && tail -n 15 "$2"
    told "| FAILED: $1 | |"
    [ -z "$report" ] || { echo "== $1" && tail -n 200 "$2"; } >>"$report.log"
}
part() { # NAME COMMAND...
    local name=$1 from=$SECONDS
    shift
    if "$@" >"$T/log" 2>&1; then
        passed=$((passed + 1)) && echo "ok $name ($((SECONDS - from)) s)"
    else
        fail "$name" "$T/log"
    fi
}
number() { # NAME VALUE [LOG]
    if [ -n "$2" ]; then
        echo "$1: $2" && told "| $1 | $2 |"
    else
        fail "no number: $1" "${3:-/dev/null}"
    fi
}
if [ -n "$packed" ]; then
    X=$packed/prismx with=$packed/with unit=$packed/tests
    "$X" --version >/dev/null || exit # unpacks, finds the libraries
else
    jobs/install.sh --tests --cuda || jobs/install.sh --cuda || exit
    CUDACXX=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
    export CUDACXX
    cmake --preset cuda && cmake --build --preset cuda -j "$(n_cores)" || exit
    X=build-cuda/prismx with=env unit=build-cuda/tests/unit
fi
prismx() { "${limit[@]}" "$X" "$@"; }
prismx doctor | grep 'gpu\.'
told "## $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1), $(date -u +%F), $(git rev-parse --short HEAD 2>/dev/null), ${steps[*]}"
told ''
told '| what | |'
told '|---|---|'

tests=(ops_rows ops_layers ops_lora ops_linear ops_exact attention head cached graphs)
step_ops() {
    for test in "${tests[@]}"; do
        [ ! -x "$unit/test_$test" ] || part "$test" "${limit[@]}" env PX_TEST_BACKEND="$device" "$with" "$unit/test_$test"
    done
}
# Calls of CUDA that fail are the tests' own and the libraries' affair (memory that is not there).
step_sanitizer() {
    local tool test options
    command -v compute-sanitizer >/dev/null || { echo "skip sanitizer: no compute-sanitizer here" && return; }
    for tool in memcheck racecheck initcheck; do
        options=(--tool $tool --error-exitcode 9)
        [ $tool != memcheck ] || options+=(--report-api-errors no)
        for test in "${tests[@]}"; do
            [ ! -x "$unit/test_$test" ] || part "$tool-$test" "${limit[@]}" env PX_TEST_BACKEND="$device" "$with" \
                compute-sanitizer "${options[@]}" "$unit/test_$test"
        done
    done
}

# A tokenizer of bytes for all shapes, people and their conversations.
tokenizer() {
    [ -e "$T/tiny/tokenizer.json" ] || prismx model init --like tiny --seed 1 --out "$T/tiny" >"$T/log" 2>&1 ||
        { fail "model init tiny" "$T/log" && return 1; }
}
people() { # FOLDER N
    [ -e "$1" ] || prismx synth --users "$2" --seed 3 --out "$1" >"$T/log" 2>&1 || { fail "synth $2" "$T/log" && return 1; }
}

# --- a tiny training: the CPU's numbers, its own bits ---
tiny=(--set precision=f32 --set optim.warmup_steps=0 --set batch.pairs=6 --set train.steps=4 --set optim.lr=1e-3)
train() { # DEVICE OUT [OPTION...]
    local at=$1 run=$2
    shift 2
    prismx train --config configs/ppft.json --corpus "$T/corpus.h5" --model "$T/tiny" "${tiny[@]}" --set device="$at" --out "$T/$run" "$@"
}
sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$T/$1/manifest.json" | head -n 1; }
same() { [ -n "$(sha "$1")" ] && [ "$(sha "$1")" = "$(sha "$2")" ]; }
losses() { sed -n 's/.*"loss": \([^,]*\),.*/\1/p' "$T/$1/metrics.jsonl"; }
near() { # RUN RUN: losses to 1e-4
    paste <(losses "$1") <(losses "$2") | awk '{ print; d = $1 - $2; if (d < 0) d = -d; if (!(d <= 1e-4 * (1 + $2))) bad = 1 } END { exit bad || NR == 0 }'
}
step_tiny() {
    tokenizer && people "$T/data" 8 || return
    part prepare prismx prepare --data "$T/data" --model "$T/tiny" --out "$T/corpus.h5"
    part train-cpu train cpu cpu
    part train-cuda train "$device" cuda
    part near-the-cpu near cuda cpu
    part train-cuda-again train "$device" again
    part same-bits-again same cuda again
    part train-cuda-small-slots train "$device" slots --set batch.slot_tokens=800
    local cards n
    cards=$(nvidia-smi -L | wc -l)
    for n in 2 3; do
        [ "$cards" -ge $n ] && command -v mpirun >/dev/null || { echo "skip $n ranks: $cards cards" && continue; }
        part "train-$n-ranks" "${limit[@]}" mpirun -n $n "$X" train --config configs/ppft.json --corpus "$T/corpus.h5" \
            --model "$T/tiny" "${tiny[@]}" --set device="$device" --set comm.bucket_mb=0.05 --out "$T/r$n"
        part "same-bits-$n-ranks" same cuda "r$n"
    done
}

# --- real shapes, random weights ---
memory() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0; }
in_json() { sed -n "s/.*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p" "$2" 2>/dev/null | head -n 1; }
# RUN BEFORE: what plan said ($T/plan.json) against what the run held and what the card counts, less the MiB in use before.
planned() {
    awk -v p="$(in_json device_memory_bytes "$T/plan.json")" -v a="$(in_json device_memory_allowance "$T/plan.json")" \
        -v held="$(in_json device_peak_memory_bytes "$1/manifest.json")" -v n="$(in_json device_allocations "$1/manifest.json")" \
        -v card="$(in_json device_card_memory_used_bytes "$1/manifest.json")" -v before="$2" 'BEGIN {
            card -= before * 1048576
            printf "planned %.3f GB, of it %.3f allowed; held %.3f in %d pieces; on the card %.3f\n", p / 1e9, a / 1e9, held / 1e9, n, card / 1e9
            exit !(n == 1 && held > 0 && held < p && card < 1.02 * p && card > 0.85 * p) }'
}
# metrics.jsonl -> "pairs seconds tokens" of each step.
per_step() {
    sed -n 's/.*"pairs": \([0-9]*\).*"step_time_s": \([0-9.e-]*\).*"tokens_per_s": \([0-9.e+]*\).*/\1 \2 \3/p' "$1/metrics.jsonl" 2>/dev/null |
        awk '{ print $1, $2, $2 * $3 }'
}
# The profile's products a token, at the speed of a run that is not profiled: its part of the peak. The first step warms up.
of_peak() { # PROFILED RUN
    local peak all
    peak=$(sed -n 's/^device .*: \([0-9.]*\) TFLOP\/s,.*/\1/p' "$T/profile")
    all=$(awk '$1 == "all" { print $2 * $5 * ($6 ~ /^T/ ? 1 : 1e-3) }' "$T/profile")
    per_step "$1" | awk '{ n += $3 } END { print n }' >"$T/profiled-tokens"
    per_step "$2" | awk -v all="$all" -v peak="$peak" -v tokens="$(cat "$T/profiled-tokens")" 'NR > 1 { n += $3; s += $2 }
        END { if (s && tokens && peak) printf "%.1f %% of %.0f TFLOP/s\n", 100 * all / tokens * n / s / peak, peak }'
}
shape_train() { # SHAPE MODEL
    local shape=$1 m=$2 before looker run=$T/run-$1
    local how=(--config configs/ppft.json --corpus "$T/$shape.h5" --model "$m" --set batch.slot_tokens=4096 --set batch.pairs=32 --set device="$device")
    before=$(memory)
    (while memory && sleep 1; do :; done) >"$T/memory" 2>/dev/null &
    looker=$!
    part "train-$shape" prismx train "${how[@]}" --set train.steps=6 --out "$run"
    kill $looker 2>/dev/null
    wait $looker 2>/dev/null
    # The first step warms up.
    number "P-DPO LoRA bf16, $shape, tokens/s" "$(per_step "$run" | awk 'NR > 1 { n += $3; s += $2 } END { if (s) printf "%.0f\n", n / s }')"
    number "P-DPO LoRA bf16, $shape, pairs/s" "$(per_step "$run" | awk 'NR > 1 { n += $1; s += $2 } END { if (s) printf "%.3f\n", n / s }')"
    number "peak memory, $shape, slots of 4,096 tokens, GB" "$(sort -n "$T/memory" | tail -n 1 | awk '{ print $1 * 1.048576 / 1000 }')"
    # Where the time goes, and the part of the card's peak.
    part "profile-$shape" prismx train "${how[@]}" --set train.steps=3 --profile --out "$T/profile-$shape"
    grep -v '^[a-z]* *[0-9/]* steps' "$T/log" >"$T/profile" && cat "$T/profile"
    [ -z "$report" ] || { echo "== profile $shape" && cat "$T/profile"; } >>"$report.log"
    number "of the card's bf16 peak, $shape, as fast as without --profile" "$(of_peak "$T/profile-$shape" "$run")"
    number "of the card's bf16 peak, $shape, every operation waited for" "$(awk '$1 == "all" { print $(NF - 1), $NF }' "$T/profile")"
    if [ "$device" = cuda ]; then
        prismx plan "${how[@]}" --set train.steps=6 --json >"$T/plan.json" 2>/dev/null
        part "planned-$shape" planned "$run" "$before"
        number "the same by plan, $shape, GB" "$(in_json device_memory_bytes "$T/plan.json" | awk '{ print $1 / 1e9 }')"
        number "of the card beside what the program holds, $shape, GB" "$(echo "$(in_json device_card_memory_used_bytes "$run/manifest.json")" \
            "$(in_json device_peak_memory_bytes "$run/manifest.json")" "$before" | awk 'NF == 3 { print ($1 - $2 - $3 * 1048576) / 1e9 }')"
    fi
    rm -rf "$run" "$T/profile-$shape"
}
new=${PX_GPU_TOKENS:-128}
answers() { # MODEL GRAPHS BATCH [OPTION...]
    local m=$1 graphs=$2 batch=$3
    shift 3
    awk -v n=$((batch * 4)) 'BEGIN { for (i = 0; i < n; i++)
        printf "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"Tell me about number %d and its neighbours.\"}]}\n", i, i }' >"$T/p-$batch.jsonl"
    PRISMX_LOG=debug prismx generate --model "$m" --prompts "$T/p-$batch.jsonl" --out "$T/a-$graphs-$batch.jsonl" --overwrite \
        --max-new-tokens "$new" --ignore-eos --temperature 0 --batch "$batch" --set device="$device" --set generate.graphs="$graphs" "$@" \
        >/dev/null 2>"$T/graphs-$graphs-$batch"
}
# As the peer: without reading the model and what is done for the first time.
generated() { sed -n 's/.*: \([0-9.]*\) new tokens a second after the first.*/\1/p' "$T/graphs-$1-$2" | head -n 1; }
shape_bits() { # SHAPE MODEL
    local bits
    for bits in q8_0 q4_1; do
        answers "$2" true 64 --set precision=$bits
        number "decoding, $1, $bits, 64 at once, tokens/s" "$(generated true 64)" "$T/graphs-true-64"
    done
}
shape_decode() { # SHAPE MODEL
    local shape=$1 batch graphs
    for batch in 64 1; do
        for graphs in true false; do # the same answers, and the debug log says that steps were replayed
            answers "$2" $graphs $batch
            number "decoding, $shape, $batch at once, graphs $graphs, tokens/s" "$(generated $graphs $batch)" "$T/graphs-$graphs-$batch"
        done
        [ "$device" = cpu ] || part "graphs-replayed-$shape-$batch" grep -E 'steps: [1-9][0-9]* by [1-9][0-9]* CUDA graphs' "$T/graphs-true-$batch"
        part "graphs-same-answers-$shape-$batch" cmp "$T/a-true-$batch.jsonl" "$T/a-false-$batch.jsonl"
    done
    # An answer is the same in any company: those of one at a time are the first of those of 64.
    part "company-$shape" cmp "$T/a-true-1.jsonl" <(head -n 4 "$T/a-true-64.jsonl")
}
py_device=$device
[ "$device" = simt ] && py_device=cpu
shape_peers() { # SHAPE MODEL
    local batch value
    python3 -c 'import torch, transformers' 2>"$T/log" || { echo "skip peers of $1: $(tail -n 1 "$T/log")" && return; }
    for batch in 64 1; do
        number "decoding by transformers, $1, $batch at once, tokens/s" \
            "$(DEVICE=$py_device "${limit[@]}" python3 tests/gpu/decode_peer.py "$2" $batch "$new" 2>"$T/log" | tail -n 1)" "$T/log"
    done
    python3 -c 'import peft' 2>"$T/log" || { echo "skip training by PyTorch: $(tail -n 1 "$T/log")" && return; }
    for batch in 1 2 4; do
        DEVICE=$py_device "${limit[@]}" python3 tests/bench/prlhf_step.py "$2" "$T/people" "${PX_GPU_PAIRS:-24}" $batch >"$T/peer" 2>"$T/log"
        value=$(sed -n 's/.*"pairs_per_s": \([0-9.]*\).*"gpu_gb": \([0-9a-z.]*\).*/\1; \2/p' "$T/peer")
        [ -n "$value" ] || ! grep -q OutOfMemory "$T/log" || value='out of memory'
        number "the same pairs by PyTorch + PEFT, $1, $batch at a time, pairs/s; GB" "$value" "$T/log"
    done
}
step_shape() { # SHAPE PART
    local shape=$1 m=$T/model-$1
    tokenizer && people "$T/people" "${PX_GPU_PEOPLE:-24}" || return
    if [ ! -e "$m/config.json" ]; then
        rm -rf "$T"/model-* # one at a time
        prismx model init --like "$shape" --seed 1 --out "$m" >"$T/log" 2>&1 || { fail "model init $shape" "$T/log" && return; }
        cp "$T/tiny"/tokenizer*.json "$m/"
        prismx prepare --data "$T/people" --model "$m" --out "$T/$shape.h5" >"$T/log" 2>&1 || { fail "prepare $shape" "$T/log" && return; }
    fi
    case $2 in
    train | decode | bits | peers) "shape_$2" "$shape" "$m" ;;
    *) shape_train "$shape" "$m" && shape_decode "$shape" "$m" && shape_bits "$shape" "$m" && shape_peers "$shape" "$m" ;;
    esac
}
for step in "${steps[@]}"; do
    echo "== $step"
    case $step in
    ops | tiny | sanitizer) "step_$step" ;;
    *-train | *-decode | *-bits | *-peers) step_shape "${step%-*}" "${step##*-}" ;;
    *) step_shape "${step%-all}" '' ;;
    esac
done
told ''
told "$passed parts passed, $failed failed."
told ''
echo "$passed passed, $failed failed"
[ $failed = 0 ]
