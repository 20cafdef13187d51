#!/bin/bash
# experiment.sh - jobs/prism-x-small.json from end to end, with a tiny random model in place of a real one: every step
# runs, simulated people give valid trials, all families of statistics are there, and a second run does nothing.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

check model "$X" model init --like tiny --seed 1 --out tiny || finish
# The tiny model's tokens are bytes.
job=("$X" run "$ROOT/jobs/prism-x-small.json" --job-dir job --threads 1 --var model=tiny --var users=6 --var prompt_tokens=1500 --var tokens=2500)
LIMIT=600 check run "${job[@]}" --var people=3 --ranks 2 || { for f in job/logs/*; do tail -n 3 "$f"; done; finish; }
same trials "$(wc -l <job/trials/converse.jsonl) $(wc -l <job/trials/judge.jsonl)" "12 12"
for t in converse judge; do # held to a form: random weights write valid JSON too
    same "ranked-$t" "$(grep -c '"rank":{"preference":\["[A-D]","[A-D]","[A-D]","[A-D]"\]' "job/trials/$t.jsonl")" 12
done
same arms "$(grep -o '"arm":"[a-z]*"' job/trials/converse.jsonl | sort | uniq -c | awk '{ printf "%s%s ", $1, $2 }')" \
    '12"arm":"base" 12"arm":"dpft" 12"arm":"ppft" 12"arm":"prompt" '
for family in preference provenance simulator topics dynamics offline traits; do
    awk -F '\t' -v f=$family '$1 == f' job/stats.tsv | grep -q . && ok "stats-$family" || fail "stats-$family" "no row"
done
for source in judge converse; do
    awk -F '\t' -v s=$source '$3 == "plackett_luce" && $14 == s && $6 != "NA"' job/stats.tsv | grep -q . &&
        ok "worths-$source" || fail "worths-$source" "none"
done
[ -s job/report.html ] && ok report || fail report "none"
check again "${job[@]}" --var people=3
same again-nothing "$(grep -c ': runs: ' "$T/err")" 0

# Stopped among the conversations, it goes on there.
"${job[@]}" --var people=5 >out 2>err </dev/null &
pid=$!
for _ in $(seq 1 600); do
    ls job/trials/converse.jsonl.parts/* >/dev/null 2>&1 && break
    sleep 0.05
done
kill -TERM $pid 2>/dev/null
wait $pid
rc=$?
LIMIT=600 check goes-on "${job[@]}" --var people=5
if [ $rc = 3 ]; then
    grep -q -- 'simulate .*--resume' job/logs/converse.log && ok resumed || fail resumed "$(grep '^==' job/logs/converse.log | tail -n 2)"
else
    skip resumed "it was finished before"
fi
same trials-of-five "$(wc -l <job/trials/converse.jsonl)" 20
finish
