#!/bin/bash
# submit.sh - prismx submit without a Slurm: the scripts it prints, and what a user sees who does it
# wrong. tests/slurm/run.sh has the rest.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
cat >job.json <<'END'
{
  "name": "small", "ranks": 2,
  "steps": {
    "tiny": {"command": "model", "args": ["init"], "like": "tiny", "seed": 1, "out": "tiny"},
    "data": {"command": "synth", "users": 3, "seed": 3, "out": "data"},
    "corpus": {"command": "prepare", "data": "data", "model": "tiny", "out": "corpus.h5", "time": "3:00"}
  }
}
END
check print "$X" submit job.json --print
same print-scripts "$(grep -c '^#!/bin/bash' out)" 3
same print-dependency "$(grep -o 'dependency=.* ' out)" 'dependency=afterok:<tiny>:<data> '
grep -q '^#SBATCH --time=3:00$' out && grep -q '^#SBATCH --ntasks=2$' out && ok print-options || fail print-options "$(grep SBATCH out | tail -n 9)"
[ ! -e runs ] && ok print-writes-nothing || fail print-writes-nothing "$(ls runs)"
sed -n '/^#!/,/^esac$/p' out | awk '/^#!/ { n++ } { print > ("script" n) }'
for n in 1 2 3; do check "script-$n-is-bash" bash -n "script$n"; done

# What is done is not submitted, and what hangs on it waits for nothing.
check run-one "$X" run job.json --only tiny
check print-rest "$X" submit job.json --print
same print-rest-scripts "$(grep -c '^#!/bin/bash' out)" 2
same print-rest-dependency "$(grep -o 'dependency=.* ' out)" 'dependency=afterok:<data> '

# Batch scripts with no Slurm around: the step runs, its exit code is the script's.
"$X" submit job.json --print >out 2>err
sed -n '/^#!/,/^esac$/p' out | awk '/^#!/ { n++ } { print > ("script" n) }'
check script-runs env SLURM_JOB_ID=1 SLURM_JOB_NODELIST=here bash script1
[ -s runs/small/data/survey.jsonl ] && ok script-made-it || fail script-made-it "$(tail -n 2 err)"
mv runs/small/data/survey.jsonl away
: >runs/small/data/survey.jsonl
refuses script-fails 2 'corpus' env SLURM_JOB_ID=1 SLURM_JOB_NODELIST=here PRISMX_LAUNCHER=mpirun bash script2

# What a batch script makes of its step's end, with a step and a scontrol of our own: STEP is what runs,
# REASON what Slurm says of the job. `said` holds what it asked of Slurm, err its messages.
mkdir bin
cat >bin/scontrol <<'END'
#!/bin/bash
case $1 in
requeue) echo "requeue $2" >>"$SAID" && exit 1 ;; # a real one would end the script here
show) echo "JobId=1 JobState=COMPLETING Reason=${REASON-None}" ;;
esac
END
chmod +x bin/scontrol
export SLURM_JOB_ID=7 SLURM_JOB_NODELIST=here SAID=$T/said
"$X" submit job.json --print >out 2>err
sed -n '/^#!/,/^esac$/p' out | awk '/^#!/ { n++ } n == 1' |
    sed "s|^[^ ]*prismx run .* &\$|bash -c \"\$STEP\" \&|; s|^out=.*|out=$T/run|; s|^state=.*|state=$T/state|; s|^log=.*|log=$T/log|" >scripted
grep -q 'bash -c "$STEP" &' scripted && ok scripted || fail scripted "$(grep -n '&$' scripted)"
# ends NAME CODE REQUEUES [SIGNAL]: runs it, signals it once the step says it is ready.
ends() {
    local pid rc
    rm -f said ready
    PATH=$T/bin:$PATH bash scripted >out 2>err &
    pid=$!
    if [ -n "${4-}" ]; then
        for _ in $(seq 1 1200); do
            [ ! -e ready ] || break
            sleep 0.05
        done
        kill "-$4" $pid
    fi
    wait $pid
    rc=$?
    # bash loses a code now and then when signal and end meet; 255 is as good as the step's.
    [ "$2" != 3 ] || [ $rc != 255 ] || rc=3
    same "$1" "$rc, requeued $(cat said 2>/dev/null | wc -l)" "$2, requeued $3"
}
waits='trap "exit 3" USR1; : >ready; while :; do sleep 0.05; done'
mkdir -p run/checkpoints runs/small/slurm
STEP='exit 0' ends step-done 0 0
STEP='exit 1' ends step-fails 1 0
STEP='exit 2' ends step-wrong 2 0
STEP='exit 3' ends step-stopped 3 1
echo '  "code": 137,' >state
STEP='exit 1' ends step-loses-a-rank 1 1
grep -q 'ended with 137' err && ok step-says-137 || fail step-says-137 "$(tail -n 1 err)"
echo '  "code": 0,' >state # an earlier step's: this one failed all the same
STEP='exit 1' ends step-fails-later 1 0
printf '%s\n' '== before' 'error: rank 1: no progress for 9 s (comm.timeout_s 8)' '== now --set=comm.timeout_s=8' 'error: y' >log
STEP='exit 1' ends step-fails-now 1 0
printf '%s\n' '== now' 'error: rank 1 on n2: no progress for 9 s (comm.timeout_s 8) in checkpoint' >log
STEP='exit 1' ends step-peer-dead 1 1
rm state log
export STEP=$waits
ends usr1-requeues 3 1 USR1
grep -q 'stopped at a checkpoint: queued again' err && ok usr1-says-so || fail usr1-says-so "$(tail -n 1 err)"
STEP='trap "exit 3" TERM; : >ready; kill -TERM $PPID; kill -TERM $$' ends term-stays-cancelled 3 0
grep -q 'ended by Slurm' err && ok term-says-so || fail term-says-so "$(tail -n 1 err)"
REASON=TimeLimit STEP='trap "exit 3" TERM; kill -TERM $PPID; kill -TERM $$' ends term-at-limit 3 1
SLURM_RESTART_COUNT=20 ends restarts-end 1 0 USR1
grep -q 'allows no more' err && ok restarts-say-so || fail restarts-say-so "$(tail -n 1 err)"
# Three starts in a row without a new checkpoint: no fourth. One in between begins the count anew.
rm -f runs/small/slurm/*.stalls
ends stall-1 3 1 USR1
ends stall-2 3 1 USR1
STEP="touch run/checkpoints/step-000001.h5; $waits" ends stall-reset 3 1 USR1
ends stall-3 3 1 USR1
ends stall-4 3 1 USR1
ends stall-ends 1 0 USR1
grep -q 'without getting any further' err && ok stall-says-so || fail stall-says-so "$(tail -n 1 err)"
unset SLURM_JOB_ID SLURM_JOB_NODELIST STEP

# With nothing in Slurm, status says what the folder knows; with ids and no Slurm, it warns.
check status "$X" status job.json
grep -q slurm out && fail status-without-slurm "$(grep slurm out)" || ok status-without-slurm
echo '{"tiny": {"id": "1"}}' >runs/small/slurm.json
check status-no-slurm env PATH="$T" "$X" status job.json
grep -q 'warning: tiny, job 1' err && ok status-warns || fail status-warns "$(tail -n 1 err)"
rm runs/small/slurm.json

refuses no-job 2 'no job' "$X" submit
refuses no-such-job 2 'nowhere.json' "$X" submit nowhere.json
refuses no-such-cluster 2 'nowhere.json' "$X" submit job.json --cluster nowhere.json
echo '{"partitoin": "x"}' >cluster.json
refuses wrong-cluster 2 'did you mean partition' "$X" submit job.json --cluster cluster.json
refuses no-slurm 2 'sbatch is not on PATH' env PATH="$T" "$X" submit job.json
refuses wrong-option 2 'unrecognized|help' "$X" submit job.json --prnt
check help "$X" submit --help
finish
