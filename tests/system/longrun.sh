#!/bin/bash
# longrun.sh - what goes wrong in runs of days: two writers of one folder, a rank that stands still, a disk that fills up,
# a limit that no step fits into, a folder that cannot be written, a clock that was set back.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000 OMP_WAIT_POLICY=passive
cd "$T" || exit 1
mounted=
trap '[ -z "$mounted" ] || umount -l "$T/small"; rm -rf "$T"' EXIT

"$X" model init --like tiny --seed 1 --out tiny >/dev/null 2>&1 &&
    "$X" synth --users 8 --seed 3 --out data >/dev/null 2>&1 &&
    "$X" prepare --data data --model tiny --out corpus.h5 >/dev/null 2>&1 || {
    fail inputs "cannot be made"
    finish
}
config=(--config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --set optim.warmup_steps=0 --set batch.pairs=6
    --set train.epochs=2000 --set train.steps=2000 --set checkpoint.every=1 --set threads=1)
# until COMMAND...: waits for it to hold, a minute at most.
until_() {
    for _ in $(seq 1 1200); do
        "$@" && return
        sleep 0.05
    done
    return 1
}
number() { sed 's/step-0*\([0-9]*\).h5/\1/' <<<"$1"; }
newest() { ls "$1/checkpoints" | tail -n 1; }

# --- one writer ---
"$X" train "${config[@]}" --out run >out 2>err &
pid=$!
until_ test -s run/checkpoints/step-000002.h5 || fail started "$(tail -n 1 err)"
refuses alive-is-refused 2 "being written by process $pid on $(hostname)" "$X" train "${config[@]}" --out run --resume
refuses alive-is-not-overwritten 2 "being written by process $pid" "$X" train "${config[@]}" --out run --overwrite
refuses alive-is-not-forgotten 2 "being written by process $pid" "$X" users forget --run run --user "$("$X" users list --run run 2>/dev/null | awk 'NR == 3 { print $2 }')"
grep -q '"phase"' run/heartbeat.json && grep -q "\"pid\": $pid" run/heartbeat.json && ok heartbeat || fail heartbeat "$(cat run/heartbeat.json)"
# Another took it over, as after a cut network and a requeue.
sed -i 's/"token": "......../"token": "another_/' run/owner.json
wait $pid
same lost-exits-1 $? 1
grep -q 'belongs to process .* leaves everything as it is' err && ok lost-says-so || fail lost-says-so "$(tail -n 1 err)"
[ -f run/owner.json ] && [ -z "$(find run -name '*.tmp')" ] && ok lost-leaves-all || fail lost-leaves-all "$(ls -A run)"
# Its process is gone now: taken over.
refuses taken-over 3 stop-after "$X" train "${config[@]}" --out run --resume --stop-after 1
grep -q 'taken over from process' "$T/err" && ok taken-over-is-said || fail taken-over-is-said "$(head -n 3 "$T/err")"
[ ! -e run/owner.json ] && [ ! -e run/heartbeat.json ] && ok given-up || fail given-up "$(ls -A run)"

# --- a rank that stands still ---
# The tests' own machine may stand still for seconds: the limit is generous, and what is said is what counts.
LIMIT=90 refuses hang-is-named 1 'rank [02] on .*no progress for [0-9]+ s .comm.timeout_s 12. in .*step 1.*; rank 1 on .* has not been heard of' \
    env PX_FAULT=step-hang:1 mpirun -n 3 "$X" train "${config[@]}" --set comm.timeout_s=12 --out hang
check hang-resumes mpirun -n 2 "$X" train "${config[@]}" --set train.steps=2 --set train.epochs=1 --out hang --overwrite

# --- no step before the limit ---
cp -r run stuck
step=$(number "$(newest stuck)")
echo "{\"step\": $step, \"starts\": 8}" >stuck/starts.json
refuses stuck-says-so 1 "started 8 times after step $step and never finished a step" "$X" train "${config[@]}" --out stuck --resume
refuses stuck-next-try 3 stop-after "$X" train "${config[@]}" --out stuck --resume --stop-after 1

# --- disks ---
refuses quota-start 3 stop-after "$X" train "${config[@]}" --set train.steps=4 --out quota --stop-after 2
refuses quota 1 'step-000003.h5: no room for [0-9]+ bytes.*File too large' bash -c 'ulimit -f 150; exec "$@"' x \
    "$X" train "${config[@]}" --set train.steps=4 --out quota --resume
[ "$(newest quota)" = step-000002.h5 ] && [ -z "$(find quota -name '*.tmp')" ] && ok quota-keeps || fail quota-keeps "$(ls -A quota/checkpoints)"
check quota-resumes "$X" train "${config[@]}" --set train.steps=4 --out quota --resume
check unbroken "$X" train "${config[@]}" --set train.steps=4 --out unbroken
check quota-same-bits "$X" diff quota unbroken

# --- the clock set back ---
if command -v faketime >/dev/null; then
    # Each start finds a folder, and the caches of the reference, from its own future.
    refuses clock-start 3 stop-after "$X" train "${config[@]}" --set train.steps=4 --out back --stop-after 1
    for days in 400 800; do
        refuses clock-back-$days 3 stop-after faketime -f "-${days}d" "$X" train "${config[@]}" --set train.steps=4 --out back --resume --stop-after $((days / 400 + 1))
        grep -q "resuming after step $((days / 400))" "$T/err" && ok clock-back-$days-newest || fail clock-back-$days-newest "$(grep resuming "$T/err")"
    done
    check clock-resumes "$X" train "${config[@]}" --set train.steps=4 --out back --resume
    check clock-same-bits "$X" diff back unbroken
    # A run that was killed: its last sign of life lies ahead of the clock.
    "$X" train "${config[@]}" --out ahead >out 2>err &
    pid=$!
    until_ test -s ahead/checkpoints/step-000001.h5
    refuses clock-alive-is-refused 2 "being written by process $pid" faketime -f -400d "$X" train "${config[@]}" --out ahead --resume
    kill -KILL $pid
    wait $pid 2>/dev/null
    refuses clock-taken-over 3 stop-after faketime -f -400d "$X" train "${config[@]}" --out ahead --resume --stop-after 1
    # While it runs: the heartbeat's and progress's intervals do not wait for the old time to come again.
    echo "+0" >clock
    LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME_TIMESTAMP_FILE=$T/clock FAKETIME_NO_CACHE=1 \
        "$X" train "${config[@]}" --out during >out 2>err &
    pid=$!
    until_ test -s during/checkpoints/step-000002.h5
    echo "-400d" >clock
    steps=$(cat during/metrics.jsonl | wc -l)
    later() { [ "$(cat during/metrics.jsonl | wc -l)" -gt $((steps + 3)) ]; }
    until_ later && ok clock-during-goes-on || fail clock-during-goes-on "$(tail -n 1 err)"
    kill -TERM $pid
    wait $pid
    same clock-during-stops $? 3
else
    skip clock "faketime is not installed"
fi

mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=6m none small 2>/dev/null; then
    mounted=1
    "$X" train "${config[@]}" --set reference.cache="$T" --out small/run >out 2>err &
    pid=$!
    until_ test -s small/run/checkpoints/step-000002.h5
    free=$(df --output=avail -k small | tail -n 1)
    head -c $((free * 1024 - 100000)) /dev/zero >small/fill
    wait $pid
    same full-exits-1 $? 1
    grep -qE 'step-[0-9]*.h5: no room for [0-9]+ bytes, [0-9]+ are free|No space left' err && ok full-names-file || fail full-names-file "$(tail -n 1 err)"
    last=$(newest small/run)
    rm small/fill
    refuses full-resumes 3 stop-after "$X" train "${config[@]}" --set reference.cache="$T" --out small/run --resume --stop-after 1
    grep -q "resuming after step $(number "$last")" "$T/err" && ok full-keeps-earlier ||
        fail full-keeps-earlier "$last: $(grep resuming "$T/err")"
    if mount -o remount,ro small 2>/dev/null; then
        refuses read-only 2 'small/run/owner.json: cannot be written: Read-only' "$X" train "${config[@]}" --out small/run --resume
        refuses read-only-new 2 'small/new: folder cannot be made: Read-only' "$X" train "${config[@]}" --out small/new
    else
        skip read-only "cannot be remounted"
    fi
else
    skip disk-full "needs root and a mount"
fi
finish
