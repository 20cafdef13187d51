#!/bin/bash
# doctor.sh - prismx doctor as a user sees it: alone, as JSON, on several ranks, in a folder that is not there
# or cannot be written; what it leaves behind (nothing).
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
mkdir place

check alone "$X" doctor --dir place
grep -q '^ok .*cpu.kernels\|^warning .*cpu.kernels' out && ok names-kernels || fail names-kernels "$(head -n 3 out)"
grep -q '^ok .*dir.write' out && ok tries-the-folder || fail tries-the-folder "$(grep dir. out)"
grep -qE '^[0-9]+ ok, [0-9]+ warnings, 0 problems$' out && ok counts || fail counts "$(tail -n 1 out)"
check json "$X" doctor --dir place --json
same json-whole "$(head -c 1 out)$(tail -n 1 out)" '{]}'
grep -q '"problems": 0' out && ok json-counts || fail json-counts "$(head -n 1 out)"

check on-3-ranks mpirun -n 3 "$X" doctor --mpi --dir place
for what in mpi.allreduce mpi.latency mpi.bandwidth hdf5.all_ranks; do
    grep -q "^ok  *$what " out && ok "ranks-$what" || fail "ranks-$what" "$(grep "$what" out)"
done
grep -q '^ok  *mpi.ranks  *3 on 1 machine' out && ok ranks-counted || fail ranks-counted "$(grep mpi.ranks out)"
same once "$(grep -c cpu.model out)" 1
same leaves-nothing "$(ls -A place)" ""

refuses no-folder 1 '1 problem' "$X" doctor --dir nowhere
grep -A 1 'problem .*dir.kind .*nowhere is no folder' out | grep -q -- '-> make it' && ok says-what-to-do ||
    fail says-what-to-do "$(grep dir.kind out)"
refuses ranks-no-folder 1 'problem' mpirun -n 2 "$X" doctor --mpi --dir nowhere
grep -q '^problem .*hdf5.all_ranks' out && ok ranks-say-so || fail ranks-say-so "$(tail -n 3 out)"
refuses unknown-option 2 'unrecognized option' "$X" doctor --folder place
check help "$X" doctor --help
finish
