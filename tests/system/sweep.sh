#!/bin/bash
# sweep.sh - a training with keys varied, on a tiny random model: what is shared is computed once, same
# trainings are one, failing points, one point alone, interruption, table, plot, report, wrong files.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

runs() { sed -n 's/^[0-9:]* \([a-z0-9-]*\).*: runs: .*/\1/p' "${1-$T/err}"; } # steps that ran
n_runs() { runs | grep -c "^$1"; }
column() { awk -F'\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } NR > 1 { print $c }' "$T/out"; }

check model "$X" model init --like tiny --seed 1 --out tiny || finish
check synth "$X" synth --users 6 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out corpus.h5 || finish
base='"config": "'$ROOT'/configs/ppft.json", "corpus": "corpus.h5", "model": "tiny"'
set='"train.steps": 1, "batch": {"pairs": 4}, "optim.warmup_steps": 0, "eval.bootstrap": 20, "lora.targets": ["q_proj"]'
echo "{\"base\": {$base, \"set\": {$set}}, \"threads\": 1,
    \"grid\": {\"user.model\": [\"bank\", \"none\"], \"user.tokens\": [1, 2]}}" >s.json

check dry-run "$X" sweep s.json --dry-run
[ ! -e runs ] && ok dry-run-does-nothing || fail dry-run-does-nothing "it made runs/"
refuses point-first 2 'needs reference, which has to run before it' "$X" sweep s.json --point 1
check shared "$X" sweep s.json --shared
same shared-alone "$(runs | tr '\n' ' ')" "reference "
# Without people's embeddings the soft tokens do not matter: four points, three trainings.
check point "$X" sweep runs/s --point 3
same point-alone "$(runs | sed 's/-.*//' | tr '\n' ' ')" "train eval "
refuses point-too-high 2 'there are points 1 to 3' "$X" sweep s.json --point 4
check table-half "$X" sweep table runs/s
same table-half-states "$(column state | tr '\n' ' ')" "train never train never done done "
same table-half-na "$(column acc_seen_own | head -n 2 | tr '\n' ' ')" "NA NA "
check sweep "$X" sweep s.json --ranks 1
same reference-once "$(grep -c reference "$T/err")" 1
same trainings-left "$(n_runs train)" 2
check table "$X" sweep table runs/s
same table-rows "$(column state | tr '\n' ' ')" "done done done done "
same table-hashes "$(column params_sha256 | sort -u | wc -l)" 3
same table-keys "$(head -n 3 "$T/out" | cut -f 1,2 | tr '\t\n' '  ')" "user.model user.tokens bank 1 bank 2 "
same table-is-eval "$(column acc_seen_own | head -n 1)" \
    "$(sed -n 's/.*"split": "seen", "type": "all".*"accuracy_own": \[\([^,]*\),.*/\1/p' "runs/s/eval/$(column run | head -n 1 | sed 's/.*\///').json")"
check again "$X" sweep s.json
same again-nothing "$(runs)" ""
check plot "$X" sweep plot runs/s --out plot.html
grep -q 'class="s1 dot"' plot.html && ok plot-marks-the-best || fail plot-marks-the-best "no diamond"
check plot-svg "$X" sweep plot runs/s --out plot.svg
grep -q '^<svg xmlns' plot.svg && ok plot-svg-is-one || fail plot-svg-is-one "$(head -c 100 plot.svg)"
check report "$X" report --out report.html runs/s
check report-with-run "$X" report --out report.html "$(echo runs/s/points/* | cut -d ' ' -f 1)" runs/s
grep -q 'id="sweep"' report.html && ok report-section || fail report-section "no section"
check status "$X" status runs/s

# A point that cannot be trained (its rate blows it up) is named; the others run; it is left until asked.
echo "{\"base\": {$base, \"set\": {$set, \"train.steps\": 3, \"train.epochs\": 3}}, \"threads\": 1, \"name\": \"f\",
    \"points\": [{\"optim\": {\"lr\": 10}, \"lora.alpha\": 1e6, \"lora.r\": 1}, {\"optim.lr\": 1e-3}]}" >f.json
refuses failing 1 '1 of 2 points failed: 1 .*optim.lr 10' "$X" sweep f.json
check failing-table "$X" sweep table runs/f
same failing-states "$(column state | tr '\n' ' ')" "train failed done "
refuses failing-left 1 '1 of 2 points failed: 1 ' "$X" sweep f.json
same failing-left-alone "$(n_runs train)" 0
refuses failing-retried 1 '1 of 2 points failed: 1 ' "$X" sweep f.json --retry-failed
same failing-tried-again "$(n_runs train)" 1

# Stopped in the middle; goes on; the same bits as unbroken.
sed 's/"train.steps": 1/"train.steps": 12, "train.epochs": 12, "checkpoint.every": 1/; s/\["bank", "none"\]/["bank"]/' s.json >l.json
"$X" sweep l.json >out 2>err &
pid=$!
for _ in $(seq 1 1500); do
    [ -n "$(cat runs/l/points/*/metrics.jsonl 2>/dev/null)" ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.02
done
refuses two-at-once 2 "another process works on the job folder .*pid $pid" "$X" sweep l.json
kill -TERM $pid
wait $pid
same term-exits-3 $? 3
check goes-on "$X" sweep l.json
check unbroken "$X" sweep l.json --job-dir whole
check l-table "$X" sweep table runs/l
hashes=$(column params_sha256)
check whole-table "$X" sweep table whole
same goes-on-same-bits "$hashes" "$(column params_sha256)"

# Three people: nobody is left for the unseen split, and that is no failure.
check few-synth "$X" synth --users 3 --seed 3 --out few
check few-prepare "$X" prepare --data few --model tiny --out few.h5 --set data.split.unseen_users=0
sed 's/corpus.h5/few.h5/; s/\["bank", "none"\]/["bank"]/; s/\[1, 2\]/[1]/' s.json >few.json
check few "$X" sweep few.json
check few-table "$X" sweep table runs/few
same few-unseen-na "$(column acc_unseen_generic) $(column state)" "NA done"

# A job file as base: what its training needs comes along; a varied corpus is made for each way.
cat >j.json <<J
{"vars": {"n": null}, "threads": 1, "steps": {
  "corpus": {"command": "prepare", "data": "data", "model": "tiny", "out": "corpus.h5"},
  "reference": {"command": "reference", "corpus": "corpus.h5", "model": "tiny"},
  "ppft": {"command": "train", "needs": ["reference"], "corpus": "corpus.h5", "model": "tiny", "out": "ppft",
    "set": {$set, "user.model": "bank", "train.steps": "\${n}"}},
  "dpft": {"command": "train", "corpus": "corpus.h5", "model": "tiny", "out": "dpft"}}}
J
echo '{"base": "j.json", "train": "ppft", "grid": {"data.min_margin": [0, 1]}}' >b.json
check job-as-base "$X" sweep b.json --var n=1
same job-as-base-corpora "$(runs | grep -c '^corpus-')" 2
same job-as-base-references "$(runs | grep -c '^reference-')" 2

bad() { # NAME REGEX JSON
    echo "$3" >bad.json
    refuses "bad-$1" 2 "$2" "$X" sweep bad.json
}
bad key 'did you mean "grid"' '{"gird": {}}'
bad no-points '"grid" or "points" is wanted' "{\"base\": {$base}}"
bad empty-grid 'grid, loss.alpha: is empty' "{\"base\": {$base}, \"grid\": {\"loss.alpha\": []}}"
bad unknown 'point 1.*loss.alpha' "{\"base\": {$base}, \"grid\": {\"loss.alhpa\": [1]}}"
bad range 'point 2.*loss.alpha' "{\"base\": {$base}, \"grid\": {\"loss.alpha\": [1, 2]}}"
bad corpus 'data.max_tokens|"data" in its place' "{\"base\": {$base}, \"grid\": {\"data.max_tokens\": [100, 200]}}"
bad no-model '"model" is missing' '{"base": {"corpus": "corpus.h5"}, "grid": {"loss.alpha": [1]}}'
echo '{"base": "j.json", "grid": {"loss.alpha": [1]}}' >bad.json
refuses bad-which 2 '"train" names the one' "$X" sweep bad.json --var n=1
refuses table-nowhere 2 "no sweep's folder" "$X" sweep table tiny
refuses plot-no-out 2 'out is missing' "$X" sweep plot runs/s
refuses plot-ending 2 'html or .svg' "$X" sweep plot runs/s --out plot.pdf
refuses no-sweep 2 'no sweep' "$X" sweep
finish
