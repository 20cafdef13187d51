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
