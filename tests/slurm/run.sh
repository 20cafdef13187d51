#!/bin/bash
# run.sh [--all] [--only WORD]: prismx under a real Slurm of three nodes on this machine (cluster.sh),
# started and stopped here, everything in one temporary folder. Prints a line a case, "ok NAME",
# "fail NAME: WHY" or "skip NAME: WHY", as the system tests do. Without --all the cases that need
# little time; --only runs the groups whose name holds WORD. Without root or the right to make
# namespaces all of it is one skipped case.
# Not in /tmp: each node has a /tmp of its own, and what they share must lie elsewhere.
set -u
shopt -s extglob
export TMPDIR=${PX_SLURM_TMP:-/var/tmp}
. "$(dirname "${BASH_SOURCE[0]}")/../system/lib.sh"
HERE=$ROOT/tests/slurm
all= only=
while [ $# -gt 0 ]; do
    case "$1" in
    --all) all=1 ;;
    --only) only=${2:?--only wants a word} && shift ;;
    -h | --help) sed -n '2,7s/^# //p' "$0" && exit 0 ;;
    *) DIE_CODE=2 die "unknown option $1; accepted: --all, --only WORD" ;;
    esac
    shift
done
wanted() { # NAME [all]
    [ -z "$only" ] || [[ $1 == *"$only"* ]] || return 1
    [ "${2-}" != all ] || [ -n "$all" ] || [ -n "$only" ]
}

why=$("$HERE/cluster.sh" can 2>&1) || {
    skip slurm "$why"
    finish
}
C=$T/c
# A second interrupt of the test must not leave a cluster behind.
trap '"$HERE/cluster.sh" down "$C" || true; rm -rf "$T"' EXIT
trap 'exit 1' INT TERM HUP
cd "$T" || exit 1
if ! KILL_WAIT=20 "$HERE/cluster.sh" up "$C" >up.out 2>up.err </dev/null; then
    fail cluster "$(tail -n 3 up.err | tr '\n' ' ')"
    finish
fi
ok cluster
export PATH=$C/bin:$PATH PRISMX_PROGRESS_S=1

# till SECONDS COMMAND...: until it succeeds.
till() {
    local n=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        n=$((n - 1))
        [ $n -gt 0 ] || return 1
        sleep 0.1
    done
}
sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$1/manifest.json" 2>/dev/null | head -n 1; }
# metrics.jsonl without what may differ between reruns.
lines() { sed 's/, "step_time_s": [^,}]*//; s/, "tokens_per_s": [^,}]*//' "$1/metrics.jsonl"; }
field() { scontrol -o show job "$1" 2>/dev/null | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
id_of() { sed -n "s/^$1  *job \([0-9]*\).*/\1/p" submit.out; }
# A job that was taken back waits two minutes in Slurm; here two seconds. Not none: slurmd knows to the
# second until when a job's credentials are revoked, and refuses a start in that second for good.
hurry() {
    local start
    if [ "$(field "$1" JobState)" = PENDING ]; then
        start=$(date -d "$(field "$1" StartTime)" +%s 2>/dev/null) || start=0
        [ "$start" -le $(($(date +%s) + 5)) ] || scontrol update JobId="$1" StartTime=now+2 2>/dev/null
    fi
    [[ "$(field "$1" JobState)" == $2 ]]
}
till_state() { till "$3" hurry "$1" "$2"; } # ID PATTERN SECONDS
ENDED='@(COMPLETED|FAILED|TIMEOUT|CANCELLED|NODE_FAIL|OUT_OF_MEMORY)'
completes() { till_state "$1" "$ENDED" "$2" && [ "$(field "$1" JobState)" = COMPLETED ]; } # ID SECONDS
steps_done() { [ "$(cat "$1/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$2" ]; }

submit() { # NAME OPTIONS...
    local name=$1
    shift
    if ! "$X" submit "$@" >submit.out 2>submit.err </dev/null; then
        fail "$name" "$(tail -n 2 submit.err | tr '\n' ' ')"
        return 1
    fi
}
what_said() { tail -n 3 "$1"/logs/slurm-*.out "$1"/logs/*.log 2>/dev/null | tr '\n' ' ' | tail -c 600; }

cat >two.json <<'END'
{
  "ranks_per_node": 1, "time": "30:00", "margin_s": 60,
  // The nodes share two cores: ranks that wait have to give way.
  "environment": {"SLURM_WAIT": "3", "OMPI_MCA_mpi_yield_when_idle": "1", "OMP_WAIT_POLICY": "passive"}
}
END
sed 's/"time"/"launcher": "mpirun", "time"/' two.json >mpirun.json
sed 's/"time"/"partition": "spare", "time"/' two.json >spare.json

# A whole job, each of two ranks on a node of its own.
train='"command": "train", "config": "'$ROOT/configs/ppft.json'", "set": {"optim.warmup_steps": 0,
    "batch.pairs": 2, "train.steps": STEPS, "train.epochs": 100, "optim.lr": 1e-3, "checkpoint.every": 4}'
cat >whole.json <<END
{
  "name": "whole", "ranks": 2, "threads": 1,
  "steps": {
    "tiny": {"command": "model", "args": ["init"], "like": "tiny", "seed": 1, "out": "tiny"},
    "data": {"command": "synth", "users": 8, "seed": 3, "out": "data"},
    "corpus": {"command": "prepare", "data": "data", "model": "tiny", "out": "corpus.h5"},
    "ppft": {${train/STEPS/24}, "corpus": "corpus.h5", "model": "tiny", "out": "ppft", "time": "20:00"},
    "seen": {"command": "eval", "run": "ppft", "corpus": "corpus.h5", "split": "seen", "out": "seen.h5"},
    "report": {"command": "report", "args": ["ppft"], "out": "report.html"}
  }
}
END

whole_job() {
    submit submit whole.json --cluster two.json --job-dir "$T/whole" || return
    same submit-six-jobs "$(grep -c ' job [0-9]' submit.out)" 6
    local report=$(id_of report) seen=$(id_of seen) ids
    ids=$(sed -n 's/.* job \([0-9]*\).*/\1/p' submit.out | tr '\n' ' ')
    submit submit-twice whole.json --cluster two.json --job-dir "$T/whole" &&
        same submit-twice-queues-nothing "$(grep -c 'left as it is' submit.out)/$(squeue -h -t all | wc -l)" 6/6
    if completes "$report" 300 && completes "$seen" 60; then ok job-completes; else
        fail job-completes "$(squeue -h -t all | tr '\n' ' ') $(what_said whole)"
        return
    fi
    local id states=
    for id in $ids; do states="$states$(field "$id" JobState) "; done
    same job-states "$states" "COMPLETED COMPLETED COMPLETED COMPLETED COMPLETED COMPLETED "
    "$X" status whole >out 2>err
    same status-slurm "$(grep -c 'COMPLETED .* n[1-3]\|COMPLETED .* n\[1-2\]' out)" 6
    same status-own "$(grep -c ' done ' out)" 6
    "$X" status whole --json >out 2>err
    same status-json "$(grep -c '"state":[[:space:]]*"COMPLETED"' out)" 6
    [ -s whole/report.html ] && ok job-report || fail job-report "no report.html"
    grep -q 'place: 2 ranks on 2 nodes, 1 thread each' whole/logs/ppft.log && ok place-said-once ||
        fail place-said-once "$(grep place: whole/logs/ppft.log)"
    submit submit-finished whole.json --cluster two.json --job-dir "$T/whole" &&
        same submit-finished-keeps "$(grep -c 'unchanged, kept' submit.out)" 6
    # What Slurm made is what `run` makes here, on one rank.
    check run-here "$X" run whole.json --job-dir "$T/here" --ranks 1
    same run-srun-same-bits "$(sha here/ppft)" "$(sha whole/ppft)"
    submit submit-mpirun whole.json --cluster mpirun.json --job-dir "$T/mpi" --ranks 3 || return
    completes "$(id_of ppft)" 300 || fail mpirun-completes "$(what_said mpi)"
    grep -q 'place: 3 ranks on 3 nodes' mpi/logs/ppft.log && ok mpirun-three-nodes ||
        fail mpirun-three-nodes "$(grep place: mpi/logs/ppft.log)"
    same run-mpirun-same-bits "$(sha mpi/ppft)" "$(sha whole/ppft)"
}

# One training of its own a case, on the corpus of the whole job; the same unbroken is what each must become.
one_training() { # STEPS
    cat <<END
{"name": "long", "ranks": 2, "threads": 1,
 "steps": {"ppft": {${train/STEPS/$1}, "corpus": "$T/here/corpus.h5", "model": "$T/here/tiny", "out": "ppft"}}}
END
}
one_training 60 >long.json
one_training 400 >longer.json # not over before Slurm gets round to what it is asked
unbroken() { # [JOB]: $unbroken is its folder
    local job=long.json
    unbroken=unbroken
    [ "${1-}" != longer.json ] || job=longer.json unbroken=unbroken-longer
    [ ! -e $unbroken/ppft/manifest.json ] || return 0
    [ -e here/corpus.h5 ] || "$X" run whole.json --job-dir "$T/here" --ranks 1 >out 2>err || return 1
    "$X" run $job --job-dir "$T/$unbroken" --ranks 1 >out 2>err
}
# begin NAME CLUSTER [JOB]: a training that is at its third step; $job its id.
begin() {
    unbroken "${3-}" || {
        fail "$1" "no unbroken run: $(tail -n 1 err)"
        return 1
    }
    submit "$1" "${3-long.json}" --cluster "$2" --job-dir "$T/$1" || return 1
    job=$(id_of ppft)
    till 120 steps_done "$1/ppft" 3 && return
    fail "$1" "no third step: $(field "$job" JobState) $(what_said "$1")"
    return 1
}
# ends_the_same NAME RESTARTS (a pattern): it comes to its end, as if nothing had been.
ends_the_same() {
    if ! completes "$job" 300; then
        fail "$1" "$(field "$job" JobState): $(what_said "$1")"
        return
    fi
    local n=$(field "$job" Restarts)
    if [[ $n == $2 ]]; then ok "$1-restarts"; else fail "$1-restarts" "$n, not $2"; fi
    same "$1-same-bits" "$(sha "$1/ppft")" "$(sha $unbroken/ppft)"
    same "$1-each-step-once" "$(lines "$1/ppft")" "$(lines $unbroken/ppft)"
}
interrupt_usr1() { # as before the time limit
    begin usr1 two.json || return
    scancel --batch -s USR1 "$job"
    ends_the_same usr1 1
    grep -q 'stopped at a checkpoint: queued again' usr1/logs/slurm-ppft-*.out && ok usr1-says-so || fail usr1-says-so "$(what_said usr1)"
}
interrupt_usr1_mpirun() {
    begin usr1-mpirun mpirun.json || return
    scancel --batch -s USR1 "$job"
    ends_the_same usr1-mpirun 1
}
gone() { ! "$C/bin/on" "$1" kill -0 "$2"; } # NODE PID
rank_pid() { "$C/bin/on" "$1" pgrep -x prismx -n; }
interrupt_rank_killed() {
    begin rank-killed two.json || return
    "$C/bin/on" n2 kill -KILL "$(rank_pid n2)"
    ends_the_same rank-killed 1
    grep -q 'a rank or a node was lost: queued again' rank-killed/logs/slurm-ppft-*.out && ok rank-killed-says-so ||
        fail rank-killed-says-so "$(what_said rank-killed)"
}
interrupt_rank_killed_mpirun() {
    begin rank-killed-mpirun mpirun.json || return
    "$C/bin/on" n2 kill -KILL "$(rank_pid n2)"
    ends_the_same rank-killed-mpirun 1
}
interrupt_requeue() {
    begin requeue two.json || return
    scontrol requeue "$job"
    ends_the_same requeue 1
}
interrupt_preempted() {
    begin preempted spare.json longer.json || return
    sbatch --parsable -p main -N 3 --exclusive --output=/dev/null --wrap 'sleep 1' >other.id
    if completes "$(cat other.id)" 60; then ok preempted-gives-way; else fail preempted-gives-way "the other job is $(field "$(cat other.id)" JobState)"; fi
    ends_the_same preempted 1
}
interrupt_cancelled() { # stays cancelled; the same submit goes on
    begin cancelled two.json || return
    scancel "$job"
    till_state "$job" CANCELLED 60
    sleep 3
    same cancelled-stays "$(field "$job" JobState)" CANCELLED
    submit cancelled-goes-on long.json --cluster two.json --job-dir "$T/cancelled" || return
    job=$(id_of ppft)
    ends_the_same cancelled 0
}
interrupt_slurmd_killed() { # the node's daemon alone: its tasks live on
    begin slurmd-killed two.json || return
    "$HERE/cluster.sh" node "$C" n2 kill && "$HERE/cluster.sh" node "$C" n2 start
    ends_the_same slurmd-killed 0
}
interrupt_node_crashed() {
    begin node-crashed two.json || return
    "$HERE/cluster.sh" node "$C" n2 crash
    ends_the_same node-crashed 1
    "$HERE/cluster.sh" node "$C" n2 boot
}
interrupt_time_limit() { # no USR1 comes through: the limit itself strikes
    sed 's/kill -USR1/: kill -USR1/' "$ROOT/slurm/step.sbatch" >deaf.sbatch
    sed "s|\"time\"|\"template\": \"$T/deaf.sbatch\", \"time\"|" two.json >deaf.json
    begin time-limit deaf.json || return
    # However fast the machine, it is in the middle when its minute is up.
    "$C/bin/on" n1 kill -STOP "$(rank_pid n1)"
    "$C/bin/on" n2 kill -STOP "$(rank_pid n2)"
    scontrol update JobId="$job" TimeLimit=1
    till 150 grep -q 'time limit' time-limit/logs/slurm-ppft-*.out
    ends_the_same time-limit 1
    grep -q 'the time limit was reached: queued again' time-limit/logs/slurm-ppft-*.out && ok time-limit-says-so || fail time-limit-says-so "$(what_said time-limit)"
}
interrupt_network_cut() {
    sed 's/"checkpoint.every"/"comm.timeout_s": 15, "checkpoint.every"/' long.json >cut.json
    begin network-cut two.json cut.json || return
    "$HERE/cluster.sh" node "$C" n2 cut
    local cut=$SECONDS both= one=$(rank_pid n1) two=$(rank_pid n2)
    # Each half has lost the other and ends by itself, before anybody joins them again.
    till 60 gone n1 "$one" && till 60 gone n2 "$two" && both=$((SECONDS - cut))
    if [ -n "$both" ]; then ok network-cut-both-end; else fail network-cut-both-end "a rank lives 60 s after the cut"; fi
    echo "# network-cut: both ranks had ended ${both:-more than 60} s after the cut, comm.timeout_s 15"
    till 60 grep -q 'rank [01] .*no progress for .* (comm.timeout_s 15) in .*, step [0-9]' network-cut/logs/ppft.log && ok network-cut-noticed ||
        fail network-cut-noticed "$(what_said network-cut)"
    "$HERE/cluster.sh" node "$C" n2 join
    # It may have been started again before the node was back.
    ends_the_same network-cut '[12]'
}

# 3 x 3 x 2 trainings as one array, at most three at once, on what was made once for all.
cat >sweep.json <<END
{
  "name": "sweep", "ranks": 1, "threads": 1, "time": "20:00", "parallel": 3,
  "base": {"config": "$ROOT/configs/ppft.json", "data": "$T/here/data", "model": "$T/here/tiny",
    "set": {"train.steps": 3, "batch.pairs": 2, "optim.warmup_steps": 0, "optim.lr": 1e-3}},
  "grid": {"loss.alpha": [0.25, 0.5, 0.75], "loss.beta": [0.1, 0.3, 0.5], "user.tokens": [1, 2]}
}
END
sweep_array() {
    unbroken || {
        fail sweep "no data: $(tail -n 1 err)"
        return
    }
    check sweep-submit "$X" sweep sweep.json --submit --cluster two.json --job-dir "$T/sweep" || return
    cp "$T/out" submit.out
    local points=$(id_of points) table=$(id_of table) plot=$(id_of plot)
    same sweep-throttle "$(field "$points" ArrayTaskThrottle)" 3
    check sweep-submit-twice "$X" sweep sweep.json --submit --cluster two.json --job-dir "$T/sweep"
    same sweep-twice-queues-nothing "$(grep -c 'left as it is\|unchanged, kept' "$T/out")" "$(grep -c ' job [0-9]' submit.out)"
    completes "$table" 600 && completes "$plot" 60 && ok sweep-completes ||
        fail sweep-completes "$(squeue -h -t all | tail -n 5 | tr '\n' ' ') $(what_said sweep)"
    same sweep-points-done "$(awk -F '\t' 'NR > 1 { print $(NF - 1) }' sweep/table.tsv | sort | uniq -c | tr -s ' ')" " 18 done"
    same sweep-points-differ "$(awk -F '\t' 'NR > 1 { print $4 }' sweep/table.tsv | sort -u | wc -l)" 18
    [ -s sweep/plot.html ] && ok sweep-plot || fail sweep-plot "no plot.html"
    # The reference was computed by its own step and read by every training.
    same sweep-reference-once "$(ls sweep/logs/reference*.log | wc -l)" 1
    same sweep-reference-read "$(grep -l 'reference: log-probabilities of .* from ' sweep/logs/train-*.log | wc -l)" 18
    "$X" status sweep >"$T/out" 2>err
    grep -q 'points .*18 tasks: 0 wait, 0 run, 18 completed' "$T/out" && ok sweep-status || fail sweep-status "$(grep points "$T/out")"
    # The first and the last point, made here.
    check sweep-here-shared "$X" sweep sweep.json --shared --job-dir "$T/sweep-here"
    check sweep-here-first "$X" sweep sweep.json --point 1 --job-dir "$T/sweep-here"
    check sweep-here-last "$X" sweep sweep.json --point 18 --job-dir "$T/sweep-here"
    "$X" sweep table sweep-here >here.tsv 2>err
    for n in 2 19; do same "sweep-row-$n" "$(sed -n ${n}p sweep/table.tsv)" "$(sed -n ${n}p here.tsv)"; done
    check sweep-finished "$X" sweep sweep.json --submit --cluster two.json --job-dir "$T/sweep"
    same sweep-finished-keeps "$(grep -c ' job [0-9]' "$T/out")" 0
}

! wanted whole || whole_job
! wanted usr1 || interrupt_usr1
! wanted rank-killed || interrupt_rank_killed
! wanted cancelled all || interrupt_cancelled
! wanted requeue all || interrupt_requeue
! wanted preempted all || interrupt_preempted
! wanted usr1-mpirun all || interrupt_usr1_mpirun
! wanted rank-killed-mpirun all || interrupt_rank_killed_mpirun
! wanted slurmd all || interrupt_slurmd_killed
! wanted network-cut all || interrupt_network_cut
! wanted node-crashed all || interrupt_node_crashed
! wanted sweep all || sweep_array
! wanted time-limit all || interrupt_time_limit
finish
