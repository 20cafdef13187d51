#!/bin/bash
# demo.sh [--ranks N] [--users N] [--out DIR] [--fresh]: the whole way once, on this machine, in some ten
# minutes: installs and builds, fetches a small real model, invents people with tastes of their own
# (synth), and goes from their conversations to two trained models (pooled: DPFT, personal: PPFT), their
# evaluation, answers to held-out prompts and their traits, people played by the model who judge the models,
# statistics, adapters for PEFT and a report. Results lie in runs/demo.
# The steps are those of jobs/demo.json. Run again, it keeps every step whose options and inputs are the
# same; an interrupted training goes on from its last checkpoint. --fresh begins anew.
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
started=$(date +%s)
took() { printf '%d:%02d' $((($(date +%s) - $1) / 60)) $((($(date +%s) - $1) % 60)); }
head_line() { printf '\n== %s\n' "$*"; }

head_line "packages and program"
"$ROOT"/jobs/install.sh
cd "$ROOT"
mkdir -p build
{ cmake --preset release && cmake --build --preset release --target prismx; } >build/demo-build.log 2>&1 ||
    { tail -n 20 build/demo-build.log >&2 && die "the build failed, all of it is in build/demo-build.log"; }
prismx=$ROOT/build/prismx
threads=$((cores / ranks > 0 ? cores / ranks : 1))
say "$("$prismx" --version), $ranks ranks of $threads threads"

head_line "model"
model=$("$ROOT"/jobs/get-model.sh)
say "$model"

head_line "jobs/demo.json: $users people"
[ -z "$fresh" ] || rm -rf "$out"/{data,corpus.*,dpft,ppft,eval,answers,trials,stats.*,adapters,report.html,.steps,logs,job.json,lock}
rc=0
"$prismx" run "$ROOT/jobs/demo.json" --job-dir "$out" --ranks "$ranks" --threads "$threads" --var model="$model" \
    --var users="$users" || rc=$?
[ $rc = 0 ] || DIE_CODE=$rc die "see the message above; run again goes on from there"
out=$(cd "$out" && pwd)

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
say "trials:   $out/trials/converse.jsonl, $out/stats.tsv"
say "adapters: $out/adapters/dpft, $out/adapters/ppft (for transformers + PEFT)"
