#!/bin/bash
# demo.sh [--ranks N] [--users N] [--out DIR] [--fresh]: the whole way once, on this machine, in some ten
# minutes: installs and builds, fetches a small real model, invents people with tastes of their own
# (synth), and goes from their conversations to two trained models (pooled: DPFT, personal: PPFT), their
# evaluation, answers to held-out prompts and their traits, adapters for PEFT and a report. Results lie
# in runs/demo.
# Run again, it keeps every step whose command, program and inputs are the same and goes on from the first
# that differs; an interrupted training goes on from its last checkpoint. --fresh begins anew.
set -eu
. "$(dirname "$0")/lib.sh"
exec </dev/null

cores=$(n_cores)
ranks=$((cores < 2 ? cores : 2)) users=16 out=$ROOT/runs/demo fresh=
whole() { [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || DIE_CODE=2 die "$1 $2: a whole number above 0 is wanted"; }
while [ $# -gt 0 ]; do
    case "$1" in
    --ranks) whole "$1" "${2-}" && ranks=$2 && shift ;;
    --users) whole "$1" "${2-}" && users=$2 && shift ;;
    --out) out=${2:?--out wants a folder} && shift ;;
    --fresh) fresh=1 ;;
    -h | --help) sed -n '2,8s/^# //p' "$0" && exit 0 ;;
    *) DIE_CODE=2 die "unknown option $1; accepted: --ranks N, --users N, --out DIR, --fresh" ;;
    esac
    shift
done
mpi_environment
export OMP_NUM_THREADS=$((cores / ranks > 0 ? cores / ranks : 1))
started=$(date +%s)
took() { printf '%d:%02d' $((($(date +%s) - $1) / 60)) $((($(date +%s) - $1) % 60)); }
head_line() { printf '\n== %s\n' "$*"; }

head_line "1 packages and program"
"$ROOT"/jobs/install.sh
cd "$ROOT"
mkdir -p build
{ cmake --preset release && cmake --build --preset release --target prismx; } >build/demo-build.log 2>&1 ||
    { tail -n 20 build/demo-build.log >&2 && die "the build failed, all of it is in build/demo-build.log"; }
prismx=$ROOT/build/prismx
say "$("$prismx" --version), $ranks ranks of $OMP_NUM_THREADS threads"

head_line "2 model"
model=$("$ROOT"/jobs/get-model.sh)
say "$model"

mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock -n 9 || die "another demo.sh works in $out"
[ -z "$fresh" ] || rm -rf "$out"/{data,corpus.h5,corpus.report.json,dpft,ppft,eval,answers,adapters,report.html,.steps}
mkdir -p "$out/.steps" "$out/eval" "$out/answers" "$out/adapters"

# step NAME OUTPUT COMMAND...: unless OUTPUT is there and was made by the same command of the same
# program from the same things. $chain stands for all that came before.
chain=$(cat "$prismx" "$model" | sha256sum)
step() {
    local name=$1 output=$2 t0=$(date +%s) rc=0
    shift 2
    chain=$(printf '%s\n' "$chain" "$@" | sha256sum)
    if [ -e "$output" ] && [ "$(cat "$out/.steps/$name" 2>/dev/null)" = "$chain" ]; then
        say "   kept: ${output#"$out"/}"
        return
    fi
    local again=()
    [ "$1" != generate ] || again=(--overwrite)
    if [ "$1" = train ]; then
        again=(--overwrite)
        [ "$(cat "$out/.steps/$name.begun" 2>/dev/null)" != "$chain" ] || again=(--resume)
        echo "$chain" >"$out/.steps/$name.begun"
    fi
    rm -f "$out/.steps/$name"
    say "   prismx $* ${again[*]-}"
    "${launch[@]}" "$prismx" "$@" ${again[@]+"${again[@]}"} >"$out/.steps/$name.out" || rc=$?
    sed 's/^/   /' "$out/.steps/$name.out"
    case $rc in
    0) ;;
    3) DIE_CODE=3 die "$name was stopped; its checkpoint is written, run this script again to go on" ;;
    *) DIE_CODE=$rc die "$name failed (exit $rc), see the message above; run again goes on from here" ;;
    esac
    echo "$chain" >"$out/.steps/$name"
    say "   $(took "$t0") min"
}
alone=() many=(mpirun -n "$ranks")

head_line "3 invented people: $users of them"
launch=(${alone[@]+"${alone[@]}"})
step synth "$out/data/utterances.jsonl" synth --out "$out/data" --users "$users" --seed 1
head_line "4 corpus"
launch=("${many[@]}")
# Longer pairs are left out to save time; the defaults are 470 and 770 tokens.
step prepare "$out/corpus.h5" prepare --data "$out/data" --model "$model" --out "$out/corpus.h5" \
    --set data.max_prompt_tokens=160 --set data.max_tokens=320

# A short run needs small batches, a short warm-up and a brisk rate; user parameters have a rate of their
# own and people begin apart, else they would hardly leave the place where all begin (RUNBOOK.md).
settings=(--set optim.lr=5e-4 --set optim.warmup_steps=2 --set batch.pairs=16 --set batch.slot_tokens=1024
    --set train.epochs=2 --set checkpoint.every=5)
head_line "5 pooled training (DPFT)"
step dpft "$out/dpft/manifest.json" train --config "$ROOT/configs/dpft.json" --corpus "$out/corpus.h5" \
    --model "$model" --out "$out/dpft" "${settings[@]}"
head_line "6 personal training (PPFT)"
step ppft "$out/ppft/manifest.json" train --config "$ROOT/configs/ppft.json" --corpus "$out/corpus.h5" \
    --model "$model" --out "$out/ppft" "${settings[@]}" --set optim.user_lr=2e-2 --set user.init=reference

head_line "7 evaluation"
for run in dpft ppft; do
    for split in seen unseen; do
        # How much of what was planted in the people is found again, where people have embeddings.
        truth=()
        [ $run$split != ppftseen ] || truth=(--truth "$out/data/truth.json")
        step "eval-$run-$split" "$out/eval/$run-$split.h5" eval --run "$out/$run" --corpus "$out/corpus.h5" \
            --split "$split" --out "$out/eval/$run-$split.h5" --tsv "$out/eval/$run-$split.tsv" \
            ${truth[@]+"${truth[@]}"}
    done
done
head_line "8 answers to held-out prompts, and their traits"
launch=(${alone[@]+"${alone[@]}"}) answers=$out/answers
step prompts "$answers/prompts.jsonl" prompts --data "$out/data" --corpus "$out/corpus.h5" --split seen \
    --limit 40 --out "$answers/prompts.jsonl"
printf '{"arms": [{"name": "base", "model": "%s"}, {"name": "dpft", "run": "%s"}, {"name": "ppft", "run": "%s"}]}\n' \
    "$model" "$out/dpft" "$out/ppft" >"$answers/arms.json"
launch=("${many[@]}")
step generate "$answers/answers.jsonl" generate --prompts "$answers/prompts.jsonl" --arms "$answers/arms.json" \
    --out "$answers/answers.jsonl" --max-new-tokens 96
step traits "$answers/traits.jsonl" traits --answers "$answers/answers.jsonl" --out "$answers/traits.jsonl"

head_line "9 adapters and report"
launch=(${alone[@]+"${alone[@]}"})
for run in dpft ppft; do
    step "export-$run" "$out/adapters/$run/adapter_config.json" export --run "$out/$run" --format peft \
        --out "$out/adapters/$run"
done
step report "$out/report.html" report --out "$out/report.html" --answers "$answers/answers.jsonl" \
    --traits "$answers/traits.summary.json" --truth "$out/data/truth.json" "$out/dpft" "$out/ppft"

head_line "done in $(took "$started") min"
# One line a run and split, from the row for all conversation types of each summary.
say "share of held-out pairs ranked as the person did, with the embedding of"
printf '%-6s %-8s %6s   %9s %9s %9s\n' run split pairs "the person" nobody another
for run in dpft ppft; do
    for split in seen unseen; do
        awk -v run="$run" -v RS='{' '
            function value(name, at) {
                if (!match($0, "\"" name "\": \\[?[-0-9.e]+")) return "-"
                at = substr($0, RSTART, RLENGTH)
                sub(/^"[^"]*": \[?/, "", at)
                return at
            }
            function share(name, v) { return (v = value(name)) == "-" ? v : sprintf("%.3f", v) }
            /"type": "all"/ {
                match($0, /"split": "[a-z]+/)
                printf "%-6s %-8s %6d   %9s %9s %9s\n", run, substr($0, RSTART + 10, RLENGTH - 10),
                    value("n_pairs"), share("accuracy_own"), share("accuracy_generic"), share("accuracy_other")
            }' "$out/eval/$run-$split.json"
    done
done
say "(few pairs: the intervals above are wide; RUNBOOK.md says how to read them)"
say "report:   $out/report.html"
say "answers:  $out/answers/answers.jsonl"
say "adapters: $out/adapters/dpft, $out/adapters/ppft (for transformers + PEFT)"
