#!/bin/bash
# plan.sh [CASE…]: what prismx plan says beside what then happens, for six short trainings. A line a case:
# memory of a rank at its peak, wall time and processor time (all ranks), each predicted, seen, and their
# ratio. Measures this machine first where it has not been (prismx plan --calibrate). On a busy machine
# the processor's time is the fairer one; with several ranks it holds waiting too.
set -eu
. "$(dirname "$0")/../../jobs/lib.sh"
mpi_environment
X=${PX_PROGRAM:-$ROOT/build/prismx}
T=$(mktemp -d "${TMPDIR:-/tmp}/prismx-plan.XXXXXX")
trap 'rm -rf "$T"' EXIT
export PRISMX_PROGRESS_S=1000 OMP_WAIT_POLICY=passive
rates=${PX_RATES:-$T/rates.json}
real=$("$ROOT"/jobs/get-model.sh)
cd "$T"

[ -f "$rates" ] || {
    "$X" plan --calibrate --rates "$rates" --like tiny --like smollm2-135m
    mpirun -n 2 "$X" plan --calibrate --rates "$rates"
} >&2
"$X" model init --like tiny --seed 1 --out tiny
"$X" synth --users 40 --seed 3 --out many && "$X" synth --users 3 --seed 4 --out few
"$X" prepare --data many --model tiny --out tiny.h5 >/dev/null 2>&1
"$X" prepare --data few --model "$real" --out real.h5 --set data.max_prompt_tokens=80 --set data.max_tokens=160 >/dev/null 2>&1

value() { sed -n "s/.*\"$1\": \([-0-9.e+]*\).*/\1/p" "$2" | head -n 1; }

# one NAME RANKS CORPUS MODEL CONFIG [--set KEY=VALUE…]
one() {
    local name=$1 ranks=$2 corpus=$3 model=$4 config=$ROOT/configs/$5.json start=()
    shift 5
    [ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 0
    set -- --config "$config" --corpus "$corpus" --model "$model" --set optim.warmup_steps=0 "$@"
    "$X" plan --json --rates "$rates" --ranks "$ranks" --threads 1 "$@" >plan.json
    [ "$ranks" = 1 ] || start=(mpirun -n "$ranks")
    rm -rf refs && mkdir refs
    TIMEFORMAT='%R %U %S'
    { time nice -n 10 ${start[@]+"${start[@]}"} "$X" train "$@" --set threads=1 --set reference.cache=refs --out "$name" \
        >out 2>err; } 2>times || { tail -n 3 err && exit 1; }
    read -r wall user system < <(tail -n 1 times)
    awk -v name="$name" -v m="$(value memory_bytes plan.json)" -v seen="$(value peak_memory_bytes "$name/manifest.json")" \
        -v t="$(value time_s plan.json)" -v wall="$wall" -v c="$(value core_s plan.json)" -v cpu="$user" -v sys="$system" '
        BEGIN {
            cpu += sys
            printf "%-16s memory %8.1f %8.1f MB %5.2f   wall %7.2f %7.2f s %5.2f   processor %7.2f %7.2f s %5.2f\n", name,
                m / 1e6, seen / 1e6, m / seen, t, wall, t / wall, c, cpu, c / cpu
        }'
}

wanted=("$@")
tiny=(--set batch.pairs=32 --set train.epochs=4)
one tiny-dpft 1 tiny.h5 tiny dpft "${tiny[@]}" --set train.steps=24
one tiny-bank 2 tiny.h5 tiny ppft "${tiny[@]}" --set train.steps=16
one tiny-full 1 tiny.h5 tiny dpft "${tiny[@]}" --set full_finetune=true --set lora.r=0 --set batch.slot_tokens=512 \
    --set train.steps=16
small=(--set batch.pairs=4 --set train.steps=2)
one real-bank 1 real.h5 "$real" ppft "${small[@]}"
one real-individual 1 real.h5 "$real" ppft "${small[@]}" --set user.model=individual --set batch.slot_tokens=512
one real-full 1 real.h5 "$real" dpft --set batch.pairs=4 --set train.steps=1 --set full_finetune=true --set lora.r=0
