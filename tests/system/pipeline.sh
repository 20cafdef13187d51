#!/bin/bash
# pipeline.sh - the whole line on a tiny random model: same bits on any ranks and threads, stopped and resumed, killed and
# resumed, damaged checkpoints, export, evaluation, forgetting; and what a user sees who does it wrong.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$1/manifest.json" | head -n 1; }
# metrics.jsonl without what may differ between reruns.
lines() { sed 's/, "step_time_s": [^,}]*//; s/, "tokens_per_s": [^,}]*//' "$1/metrics.jsonl"; }

check model-init "$X" model init --like tiny --seed 1 --out tiny || finish
check model "$X" model tiny
grep -q 'layers' "$T/out" && ok model-facts || fail model-facts "no layers in: $(head -n 3 "$T/out")"
check synth "$X" synth --users 8 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out corpus.h5 || finish
check prepare-on-2-ranks mpirun -n 2 "$X" prepare --data data --model tiny --out corpus2.h5
same prepare-same-content "$(grep '"sha256"' corpus.report.json)" "$(grep '"sha256"' corpus2.report.json)"

config=(--config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --set optim.warmup_steps=0
    --set batch.pairs=6 --set train.steps=4 --set train.epochs=4 --set optim.lr=1e-3 --set checkpoint.every=1)
# train RANKS THREADS OUT [OPTIONS], as a file because check runs programs.
{
    echo '#!/bin/bash'
    echo 'n=$1 t=$2 out=$3 && shift 3'
    printf 'exec mpirun -n "$n" %q train' "$X"
    printf ' %q' "${config[@]}"
    echo ' --set threads="$t" --out "$out" "$@"'
} >train && chmod +x train
check train ./train 1 1 whole || finish
want=$(sha whole)
[ ${#want} = 64 ] && ok params-hash || fail params-hash "manifest.json has no params_sha256"
same one-line-a-step "$(wc -l <whole/metrics.jsonl)" 4
for way in 1:2 2:1 3:1; do
    check "train-$way" ./train "${way%:*}" "${way#*:}" "r$way"
    same "same-bits-$way" "$(sha "r$way")" "$want"
    same "same-metrics-$way" "$(lines "r$way")" "$(lines whole)"
done
check train-fast ./train 2 1 fast --set comm.reduce=fast
check train-dpft "$X" train "${config[@]}" --set user.model=none --set threads=1 --out dpft
check train-individual "$X" train "${config[@]}" --set user.model=individual --set train.steps=2 --set threads=1 --out single

# Stopped by USR1 after some step: checkpoint, exit 3; resumed on another number of ranks.
"$X" train "${config[@]}" --set threads=1 --out stopped >out 2>err &
pid=$!
for _ in $(seq 1 600); do
    [ -s stopped/metrics.jsonl ] && break
    sleep 0.05
done
kill -USR1 $pid
wait $pid
rc=$?
# Four tiny steps may be over before the signal is there; the long run below is not.
[ $rc = 3 ] || [ $rc = 0 ] && ok signal-ends || fail signal-ends "exit $rc: $(tail -n 1 err)"
check resume-on-2-ranks ./train 2 1 stopped --resume
same resumed-same-bits "$(sha stopped)" "$want"
same resumed-same-metrics "$(lines stopped)" "$(lines whole)"
check resume-finished ./train 1 1 stopped --resume
same finished-stays "$(sha stopped)" "$want"

# signalled OUT FILE: starts a run of 2,000 steps, sends TERM once OUT/FILE has something in it, waits.
signalled() {
    "$X" train "${config[@]}" --set train.steps=2000 --set train.epochs=2000 --set threads=1 \
        --set reference.cache="$T/refs" --out "$1" ${more-} >out 2>err &
    pid=$!
    for _ in $(seq 1 1200); do
        [ -s "$1/$2" ] && break
        sleep 0.02
    done
    kill -TERM $pid
    wait $pid
}
mkdir refs
signalled early config.json # while the reference is computed, or in the first steps
same signal-early-exits-3 $? 3
[ ! -s early/metrics.jsonl ] && ok signal-early-is-early || fail signal-early-is-early "it was training already"
grep -q -- '--resume' err && ok signal-says-resume || fail signal-says-resume "$(tail -n 1 err)"
signalled long metrics.jsonl
same signal-exits-3 $? 3
steps=$(wc -l <long/metrics.jsonl)
[ -s "long/checkpoints/$(printf 'step-%06d.h5' "$steps")" ] && ok signal-checkpoint ||
    fail signal-checkpoint "none of step $steps: $(ls long/checkpoints)"
# What the message says has to work: the stopped run goes on (and is stopped again, it is a long one).
more=--resume signalled early metrics.jsonl
same signal-early-resumes $? 3

# kill -9 again and again.
for _ in 1 2 3 4; do
    "$X" train "${config[@]}" --set threads=1 --out killed --resume >out 2>err &
    pid=$!
    before=$(cat killed/metrics.jsonl 2>/dev/null | wc -l)
    for _ in $(seq 1 600); do
        [ "$(cat killed/metrics.jsonl 2>/dev/null | wc -l)" -gt "$before" ] && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.02
    done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
check killed-resumed ./train 1 1 killed --resume
same killed-same-bits "$(sha killed)" "$want"
same killed-same-metrics "$(lines killed)" "$(lines whole)"

# A damaged newest checkpoint: the one before it is used, the end is the same.
cp -r whole damaged
newest=$(ls damaged/checkpoints | tail -n 1)
head -c 20000 "damaged/checkpoints/$newest" >damaged/cut && mv damaged/cut "damaged/checkpoints/$newest"
check damaged-checkpoint ./train 1 1 damaged --resume
same damaged-same-bits "$(sha damaged)" "$want"

check eval "$X" eval --run whole --corpus corpus.h5 --split all --out eval.h5 --tsv pairs.tsv --set threads=1
check eval-2-ranks mpirun -n 2 "$X" eval --run whole --corpus corpus.h5 --split all --out eval2.h5 --tsv pairs2.tsv --set threads=1
cmp -s pairs.tsv pairs2.tsv && ok eval-same-on-ranks || fail eval-same-on-ranks "pairs.tsv differs"
same tsv-columns "$(head -n 1 pairs.tsv | tr '\t' ' ')" "conversation_id turn chosen_id rejected_id who chosen_tokens rejected_tokens logp_chosen logp_rejected ref_logp_chosen ref_logp_rejected margin"
check eval-base "$X" eval --model tiny --corpus corpus.h5 --split seen --out base.h5 --set threads=1
# Nobody asked for a run's stored keys, so none is warned of.
check eval-dpft "$X" eval --run dpft --corpus corpus.h5 --split seen --out dpft.h5 --set threads=1
grep -q 'no effect' "$T/err" && fail eval-no-warnings "$(grep 'no effect' "$T/err" | head -n 1)" || ok eval-no-warnings
# The reference of a fully fine-tuned run is the base's, also where it has to be computed again.
check train-full "$X" train "${config[@]}" --set full_finetune=true --set lora.r=0 --set train.steps=2 --set threads=1 --out full
mkdir refs-new
check eval-full "$X" eval --run full --corpus corpus.h5 --split seen --out full.h5 --tsv full.tsv --set threads=1
check eval-full-anew "$X" eval --run full --corpus corpus.h5 --split seen --out full2.h5 --tsv full2.tsv --set threads=1 \
    --set reference.cache="$T/refs-new"
[ -n "$(ls refs-new)" ] && cmp -s full.tsv full2.tsv && ok full-reference || fail full-reference "pairs differ, or nothing was computed anew"
check export-peft "$X" export --run whole --format peft --out adapter
[ -s adapter/adapter_model.safetensors ] && ok adapter-file || fail adapter-file "not there"
check export-merged "$X" export --run dpft --format merged --out merged
check eval-merged "$X" eval --model merged --corpus corpus.h5 --split seen --out merged.h5 --set threads=1
check users-list "$X" users list --run whole
someone=$(awk 'NR == 3 { print $2 }' "$T/out")
check users-show "$X" users show --run whole --user "$someone"
check users-forget "$X" users forget --run whole --user "$someone"
"$X" users list --run whole >out 2>err
grep -qw "$someone" out && fail forgotten "still listed" || ok forgotten
for f in whole/checkpoints/*.h5 whole/users.h5; do
    grep -qa "$someone" "$f" && fail forgotten-in-files "$f still names the person"
done

# One rank fails in each phase: all end at once, and it is named.
for phase in step checkpoint; do
    LIMIT=60 refuses "fault-$phase" 1 "rank 1: .*$phase" env PX_FAULT="$phase:1" mpirun -n 2 "$X" train "${config[@]}" \
        --set threads=1 --out "fault-$phase"
done

refuses no-command 2 'no command' "$X" trian
refuses unknown-option 2 'unrecognized|help' "$X" train --crpus x
refuses run-exists 2 'exists.*--resume' "$X" train "${config[@]}" --out dpft
refuses other-config 2 'optim.lr' "$X" train "${config[@]}" --set optim.lr=2e-3 --out stopped --resume
# What the folder alone decides is said before the model is looked for.
refuses run-exists-first 2 'dpft exists.*--resume' "$X" train "${config[@]}" --model nowhere --out dpft
refuses run-exists-first-2-ranks 2 'dpft exists.*--resume' mpirun -n 2 "$X" train "${config[@]}" --corpus nowhere.h5 --out dpft
refuses other-config-first 2 'optim.lr' "$X" train "${config[@]}" --model nowhere --set optim.lr=2e-3 --out stopped --resume
refuses unknown-key 2 'optim.rl.*optim.lr' "$X" train "${config[@]}" --set optim.rl=1 --out x
refuses out-of-range 2 'loss.alpha' "$X" train "${config[@]}" --set loss.alpha=1.5 --out x
refuses no-model 2 'nowhere' "$X" train --corpus corpus.h5 --model nowhere --out x
refuses no-corpus 2 'nowhere.h5' "$X" train --corpus nowhere.h5 --model tiny --out x
refuses not-a-corpus 2 'tiny/config.json' "$X" train --corpus tiny/config.json --model tiny --out x
mkdir home && touch home/file
refuses overwrite-no-run 2 'not a run folder' "$X" train "${config[@]}" --model nowhere --out home --overwrite
# And nothing is removed for a run that cannot begin.
refuses overwrite-no-model 2 'nowhere' "$X" train "${config[@]}" --model nowhere --out dpft --overwrite
[ -s dpft/config.json ] && ok overwrite-no-model-keeps || fail overwrite-no-model-keeps "dpft was removed"
[ -f home/file ] && ok home-untouched || fail home-untouched "removed"
refuses no-run 2 'nowhere.*no such run folder' "$X" eval --run nowhere --corpus corpus.h5 --out x.h5
refuses cut-model 2 'model.safetensors' bash -c "cp -r tiny cut && head -c 5000 tiny/model.safetensors > cut/model.safetensors && exec '$X' model cut"
finish
