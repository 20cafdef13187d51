#!/bin/bash
# job.sh - whole jobs on a tiny random model: kept, changed, failed, stopped, killed and gone on with, two at
# once, one step alone, ranks; and that the table of steps knows every option that the commands have.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$1/manifest.json" | head -n 1; }
# did NAME STEPS: the steps that the last `run` ran.
did() { same "$1" "$(sed -n 's/^[0-9:]* \([a-z0-9-]*\): runs: .*/\1/p' "$T/err" | tr '\n' ' ')" "$2"; }
why() { grep -q -- "$2" "$T/err" && ok "$1" || fail "$1" "no \"$2\" in: $(tail -n 4 "$T/err" | tr '\n' ' ')"; }

cat >j.json <<'J'
{ // a tiny one
  "vars": {"steps": 4, "lr": 1e-3}, "threads": 1,
  "steps": {
    "tiny": {"command": "model", "args": ["init"], "like": "tiny", "seed": 1, "out": "tiny"},
    "data": {"command": "synth", "users": 6, "seed": 3, "out": "data"},
    "corpus": {"command": "prepare", "data": "data", "model": "tiny", "out": "corpus.h5"},
    "reference": {"command": "reference", "corpus": "corpus.h5", "model": "tiny"},
    "ppft": {"command": "train", "needs": ["reference"], "corpus": "corpus.h5", "model": "tiny", "out": "ppft",
      "set": {"user.model": "bank", "optim": {"warmup_steps": 0, "lr": "${lr}"}, "batch.pairs": 4,
        "train": {"steps": "${steps}", "epochs": "${steps}"}, "checkpoint.every": 1, "lora.targets": ["q_proj"]}},
    "eval": {"command": "eval", "run": "ppft", "corpus": "corpus.h5", "split": "seen", "out": "eval/seen.h5",
      "set": {"eval.bootstrap": 50}},
    "report": {"command": "report", "needs": ["eval"], "out": "report.html", "args": ["ppft"]}
  }
}
J
check dry-run "$X" run j.json --dry-run
[ ! -e runs ] && ok dry-run-does-nothing || fail dry-run-does-nothing "it made runs/"
check run "$X" run j.json || { cat "$T/err"; finish; }
did run-all "tiny data corpus reference ppft eval report "
want=$(sha runs/j/ppft)
[ ${#want} = 64 ] && ok run-trained || fail run-trained "no params_sha256"
grep -q 'reference: log-probabilities of .* from ' runs/j/logs/ppft.log && ok reference-shared ||
    fail reference-shared "train computed it again"
check run-again "$X" run j.json --ranks 2
did run-again-nothing ""
check changed "$X" run j.json --var lr=2e-3
did changed-what-hangs-on-it "ppft eval report "
why changed-says-why 'ppft: runs: optim.lr has changed (0.001 to 0.002)'
check status "$X" status j.json
grep -qE '^ppft +train +done .*step 4/4  loss [0-9.]+  accuracy [0-9.]+$' "$T/out" && ok status-line ||
    fail status-line "$(grep ppft "$T/out")"
check status-json "$X" status runs/j --json
grep -q '"status":.*"done"' "$T/out" && ok status-json-done || fail status-json-done "$(head -n 5 "$T/out")"
check only "$X" run j.json --job-dir one --only tiny
refuses only-needs 2 'step corpus needs data, which has to run before it: never run' "$X" run j.json --job-dir one --only corpus

# begun DIR: waits until the training there has a line; its run is $pid.
begun() {
    for _ in $(seq 1 1500); do
        [ -s "$1/ppft/metrics.jsonl" ] && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.02
    done
}
# A long training's job is stopped by TERM: the step writes its checkpoint, run exits 3.
cp -r runs/j long && rm -rf long/ppft long/.steps/ppft.* long/.steps/eval.* long/.steps/report.*
long=("$X" run j.json --job-dir long --var steps=16)
"${long[@]}" >out 2>err &
pid=$!
begun long
refuses two-at-once 2 "another process works on the job folder .*pid $pid" "${long[@]}"
refuses step-at-once 0 'tiny: unchanged' "$X" run j.json --job-dir long --var steps=16 --only tiny
kill -TERM $pid
wait $pid
same term-exits-3 $? 3
grep -q 'step ppft was stopped' err && ok term-says-so || fail term-says-so "$(tail -n 1 err)"
# SIGKILL, which nobody can catch: what it left running ends too, and the next run waits for that.
"${long[@]}" >out 2>err &
pid=$!
lines=$(wc -l <long/ppft/metrics.jsonl)
for _ in $(seq 1 1500); do
    [ "$(wc -l <long/ppft/metrics.jsonl)" -gt "$lines" ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.02
done
kill -9 $pid
wait $pid 2>/dev/null
check killed-goes-on "${long[@]}"
why killed-says-why 'ppft: runs: it was \(interrupted\|stopped\)'
grep -c 'train.*--resume' long/logs/ppft.log >out
same killed-resumed "$(cat out)" 2
check unbroken "$X" run j.json --job-dir whole --var steps=16
same killed-same-bits "$(sha long/ppft)" "$(sha whole/ppft)"
same killed-one-line-a-step "$(wc -l <long/ppft/metrics.jsonl)" 16

# A failed step leaves what is finished, and its exit code is the job's.
sed 's/"split": "seen"/"split": "sene"/' j.json >bad.json
refuses fails-with-its-code 2 'step eval failed \(exit 2\).*sene' "$X" run bad.json --job-dir runs/j --var lr=2e-3
check mended "$X" run j.json --var lr=2e-3
did mended-only-that "eval "
refuses no-job 2 'no job' "$X" run
refuses no-such-file 2 'nowhere.json' "$X" run nowhere.json
refuses no-var 2 'no "vars" of that name' "$X" run j.json --var lrr=1
refuses nearest-option 2 'did you mean corpus' bash -c "sed 's/\"corpus\": \"corpus.h5\", \"split\"/\"corpsu\": \"corpus.h5\", \"split\"/' j.json >x.json; exec '$X' run x.json"
refuses bad-ranks 2 'ranks' "$X" run j.json --ranks many
mkdir empty
refuses status-nothing 2 "no job folder" "$X" status empty

# The job files that come with it: everything they name is known, and paths lead where they should.
for f in "$ROOT"/jobs/*.json; do
    grep -q '"steps"' "$f" || continue
    vars=()
    grep -q '"model": null' "$f" && vars+=(--var model=runs/j/tiny)
    grep -q '"data": null' "$f" && vars+=(--var data=runs/j/data)
    check "dry-$(basename "$f" .json)" "$X" run "$f" --dry-run --job-dir dry "${vars[@]}"
    same "dry-$(basename "$f" .json)-all" "$(grep -c 'would run: never run' "$T/err")" "$(grep -c '"command": ' "$f")"
done

# The same bits on two ranks, by mpirun that the job starts itself.
check on-2-ranks "$X" run j.json --job-dir two --ranks 2
same on-2-ranks-same-bits "$(sha two/ppft)" "$want"

# Every option of the commands is known to the table of steps, and none that they lack.
for command in model synth prepare reference train eval prompts generate traits simulate trials stats export verify report; do
    echo "{\"steps\": {\"a\": {\"command\": \"$command\", \"zzzz\": 1}}}" >t.json
    table=$("$X" run t.json 2>&1 | sed -n 's/.*accepted: //p' | tr ',' '\n' | tr -d ' ' | sort -u | tr '\n' ' ')
    has=$("$X" $command --help | grep -oE '^ +(-[a-zA-Z?], )?--[a-z0-9-]+' | sed 's/.*--//' |
        grep -vxE 'help|usage|version|print-config|resume|overwrite|tensors|precisions|stop-after|profile|ranks' | sort -u | tr '\n' ' ')
    same "options-$command" "$table" "$has"
done
finish
