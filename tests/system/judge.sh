#!/bin/bash
# judge.sh - traits with a judge: an endpoint that judges by rule, and small models that cannot; the same bytes on
# any number of ranks, going on after a kill and after errors, what stands in the lines and the table, wrong files.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000 OMP_WAIT_POLICY=passive
TESTD=$(dirname "$X")/tests/unit/judge_testd
cd "$T" || exit 1
[ -x "$TESTD" ] || {
    skip judge "$TESTD is not built"
    finish
}
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$T"' EXIT

# stop_testd NAME: ends it; its requests in $requests.
stop_testd() {
    kill $pid
    wait $pid 2>/dev/null
    requests=$(sed -n 2p "$1.out")
}

# Two arms, sixty prompts; some answers that the judge never rates, some that it rates after a repair.
awk 'BEGIN {
    for (i = 0; i < 60; i++)
        for (a = 0; a < 2; a++) {
            text = (a && i % 4 ? "Hello my friend, it is so good to hear from you today." : \
                    "The bus leaves at nine and it comes back at five.")
            if (i % 10 == 3) text = "MEND what is wrong with it, " text
            if (i == 30) text = "JUNK goes in here, " text
            if (i % 7 == 1 && a) text = text " You are absolutely right about this."
            printf "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"When does it leave?\"}],\"arm\":\"%s\",\"user_id\":\"u%d\",\"text\":%s}\n",
                i, a ? "warm" : "base", i % 20, i == 31 && a ? "null" : "\"" text "\""
        }
}' >a.jsonl
start_testd testd || finish
endpoint() { printf '"endpoint": {"url": "http://127.0.0.1:%d/v1", "model": "judge-x", "max_retries": 1, "backoff_s": 0.05%s}' "$port" "${1-}"; }
echo "{$(endpoint), \"pairwise\": true} // how answers are judged" >judge.json
traits=("$X" traits --answers a.jsonl --judge judge.json)
check judged "${traits[@]}" --out t.jsonl || finish
cp out table.txt
grep -q 'a.jsonl.meta.json is not there' err && ok warned || fail warned "$(cat err)"
same lines "$(wc -l <t.jsonl) $(wc -l <t.judge.jsonl)" "120 120"
same order "$(sed 's/^{"id":"\([^"]*\)","arm":"\([a-z]*\)".*/\1\2/' t.judge.jsonl | sha256sum)" \
    "$(sed 's/^{"id":"\([^"]*\)".*"arm":"\([a-z]*\)".*/\1\2/' a.jsonl | sha256sum)"
same nothing-left "$(ls -d ./*.parts .*.tmp 2>/dev/null)" ""
same joined "$(grep -c '"lists":"[0-9a-f]*","judge":{"sycophancy":' t.jsonl)" 120
same joined-same "$(sed 's/.*,"judge":{//; s/}$//' t.jsonl | sha256sum)" "$(sed 's/^.*"arm":"[a-z]*",//' t.judge.jsonl | sha256sum)"
grep -qE '^warm +relationship .* [0-9.]+ +[0-9.]+ +[0-9.]+$' table.txt && ok table-intervals || fail table-intervals "$(grep "^warm" table.txt)"
same a-score "$(sed -n 4p t.judge.jsonl | grep -o '"relationship":8.5,"tries":{"sycophancy":\[8,9\],"relationship":\[8,9\]}')" \
    '"relationship":8.5,"tries":{"sycophancy":[8,9],"relationship":[8,9]}'
# JUNK: both answers, two traits, two tries. The one without text is not judged, nor compared.
same invalid "$(grep -c '"invalid":4,' t.judge.jsonl)" 2
same repaired "$(grep -c '"repaired":4,' t.judge.jsonl)" 12
same not-judged "$(sed -n 64p t.judge.jsonl | grep -c '"sycophancy":null,"relationship":null,.*"invalid":0,"errors":0')" 1
grep -q '^judge judge-x, rubric sha256 [0-9a-f]*: 120 answers, 1 without text not judged, 48 replies good' table.txt &&
    ok table-head || fail table-head "$(grep '^judge judge' table.txt)"
grep -qE '^all +relationship +[0-9.]+ +117 +4 +0 +1.000 +0\.9' table.txt && ok table-row || fail table-row "$(grep '^all ' table.txt)"
grep -qE '^warm +relationship +0.8[0-9]* +4[0-9] +1[0-9] +0 +1[0-9] +0$' table.txt && ok table-pairs || fail table-pairs "$(grep '^warm ' table.txt)"
grep -q 'judge, relationship, all arms: Spearman 0.*validated' table.txt && ok agreement || fail agreement "$(tail -n 6 table.txt)"
grep -q '^flags (share).*moral_endorsement' table.txt && ok flags || fail flags "no flags"
for n in 2 3; do
    check "on-$n-ranks" mpirun -n $n "${traits[@]}" --out "r$n.jsonl"
    same "same-table-on-$n" "$(cat out)" "$(cat table.txt)"
    same "same-bytes-on-$n" "$(sha256sum <"r$n.jsonl")$(sha256sum <"r$n.judge.jsonl")" "$(sha256sum <t.jsonl)$(sha256sum <t.judge.jsonl)"
done
check again "${traits[@]}" --out t.jsonl
same again-same "$(sha256sum <t.judge.jsonl)" "$(sha256sum <r2.judge.jsonl)"
same summary "$(grep -c '^,\?"judge":{"name":"judge-x","rubric_sha256":"' t.summary.json) $(grep -c '"win_rate":0' t.summary.json)" "1 1"
same summary-on-2 "$(sha256sum <r2.summary.json)" "$(sha256sum <t.summary.json)"
# The same answers as turns of trials: one turn a trial, its two arms at A and B.
awk -F'"text":' '{ sub(/}$/, "", $2); if (NR % 2) { a = $2; next }
    printf "{\"trial\":\"p%d\",\"person\":\"u%d\",\"slots\":[{\"pos\":\"A\",\"arm\":\"base\"},{\"pos\":\"B\",\"arm\":\"warm\"}],", NR / 2 - 1, (NR / 2 - 1) % 20
    printf "\"turns\":[{\"n\":1,\"user\":\"When does it leave?\",\"answers\":{\"A\":%s,\"B\":%s}}]}\n", a, $2 }' a.jsonl >trials.jsonl
check trials "$X" traits --trials trials.jsonl --judge judge.json --out trials.traits.jsonl
same trials-judged-alike "$(sed 's/^{"id":"p[0-9]*\/1"//' trials.traits.judge.jsonl | sha256sum)" "$(sed 's/^{"id":"p[0-9]*"//' t.judge.jsonl | sha256sum)"
same trials-joined "$(grep -c '"judge":{"sycophancy":' trials.traits.jsonl)" 120
grep -q 'judge, relationship, all arms: Spearman 0.*validated' out && ok trials-agreement || fail trials-agreement "$(tail -n 6 out)"
check scores-read "$X" traits --validate --answers a.jsonl --judge t.judge.jsonl
grep -q 'judge: 117 answers judged, 3 without a score' out && ok scores-read-counted || fail scores-read-counted "$(tail -n 8 out)"

# Killed while it is answered, then again: nothing is asked that was answered.
stop_testd testd
start_testd slow
echo "{$(endpoint ', "concurrency": 1'), \"pairwise\": true}" >judge.json
"${traits[@]}" --out cut.jsonl >out 2>err &
job=$!
for _ in $(seq 1 400); do
    [ "$(cat cut.judge.jsonl.parts/*.parts/rank-*.jsonl 2>/dev/null | wc -l)" -ge 30 ] && break
    sleep 0.01
done
kill -9 $job 2>/dev/null && ok killed || skip killed "it was finished before"
wait $job 2>/dev/null
check resumed mpirun -n 2 "${traits[@]}" --out cut.jsonl
same resumed-same "$(sha256sum <cut.jsonl)" "$(sha256sum <t.jsonl)"
stop_testd slow
# 119 × 4 scores, 59 × 4 choices, repairs; what was under way when it was killed is asked twice
[ "$requests" -le $((119 * 4 + 59 * 4 + 48 + 8 + 4)) ] && ok resumed-asks-the-rest || fail resumed-asks-the-rest "$requests requests"

# An error is no score: the run fails, what is there is kept, and the judge is asked for the rest alone.
start_testd part
echo "{$(endpoint), \"traits\": [\"sycophancy\"]}" >judge.json
sed '5s/bus/REFUSED bus/' a.jsonl >e.jsonl
refuses errors 1 '2 prompts got no answer.*the same command asks again' "$X" traits --answers e.jsonl --judge judge.json --out e.out.jsonl
[ ! -e e.out.jsonl ] && [ ! -e e.out.judge.jsonl ] && ok errors-no-file || fail errors-no-file "$(ls e.*)"
refuses errors-on-2 1 '2 prompts got no answer' mpirun -n 2 "$X" traits --answers e.jsonl --judge judge.json --out e.out.jsonl
# Other answers under the same name: nothing of the earlier ones is used.
cp a.jsonl e.jsonl
check other-answers "$X" traits --answers e.jsonl --judge judge.json --out e.out.jsonl
same other-traits "$(grep -c '"judge":{"sycophancy":[0-9.nul]*,"tries":{"sycophancy"' e.out.jsonl) $(grep -c relationship e.out.judge.jsonl)" "120 0"
stop_testd part
refuses dead 1 'connect|refused|no answer' "$X" traits --answers a.jsonl --judge judge.json --out dead.jsonl

# A model that cannot judge is held to the form: every try is a valid score. Its own answers it may not judge.
check model "$X" model init --like tiny --seed 2 --out other || finish
check arm "$X" model init --like tiny --seed 1 --out tiny || finish
printf '{"id":"p%d","messages":[{"role":"user","content":"Tell me about %d"}]}\n' 1 1 2 2 3 3 >p.jsonl
check generate "$X" generate --model tiny --prompts p.jsonl --out g.jsonl --max-new-tokens 12 --set threads=1 || finish
echo '{"model": "other", "max_tokens": 16}' >local.json
for n in 1 2; do
    check "local-on-$n" mpirun -n $n "$X" traits --answers g.jsonl --judge local.json --out "l$n.jsonl" --set threads=1
done
same local-same "$(sha256sum <l1.judge.jsonl)" "$(sha256sum <l2.judge.jsonl)"
same local-scores "$(grep -cE '"sycophancy":[0-9.]+,"relationship":[0-9.]+,.*"repaired":0,"invalid":0,"errors":0}' l1.judge.jsonl)" 3
# Two arms in pairs, more answers than grammars are kept, in batches and one by one.
echo '{"model": "other", "pairwise": true}' >pairs.json
awk 'NR <= 60 { if (!/"text":null/) print }' a.jsonl >pairs.jsonl
check local-pairs "$X" traits --answers pairs.jsonl --judge pairs.json --out lp.jsonl --set threads=1
same local-pairs-valid "$(grep -c '"repaired":0,"invalid":0,"errors":0}' lp.judge.jsonl) $(grep -c '"relationship_win":[01]' lp.judge.jsonl)" "60 30"
check local-pairs-one-by-one mpirun -n 2 "$X" traits --answers pairs.jsonl --judge pairs.json --out lq.jsonl --set threads=1 --set generate.batch=1
same local-pairs-same "$(sha256sum <lq.judge.jsonl)" "$(sha256sum <lp.judge.jsonl)"
echo '{"model": "./tiny/"}' >self.json
refuses self 2 'the judge is the model of the arm .*no model judges itself' "$X" traits --answers g.jsonl --judge self.json --out x.jsonl
echo '{"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "Tiny"}}' >self.json
refuses self-by-name 2 'no model judges itself' "$X" traits --answers g.jsonl --judge self.json --out x.jsonl

# What is wrong is named, and nothing is left behind.
bad() { printf '%s\n' "$1" >bad.json; }
badly=("$X" traits --answers a.jsonl --judge bad.json --out x.jsonl)
refuses no-judge-file 2 'nowhere.json' "$X" traits --answers a.jsonl --judge nowhere.json --out x.jsonl
bad '{' && refuses not-json 2 'bad.json' "${badly[@]}"
bad '{"modle": "tiny"}' && refuses unknown-key 2 'did you mean "model"' "${badly[@]}"
bad '{}' && refuses no-judge 2 'one of them' "${badly[@]}"
bad '{"model": "nowhere"}' && refuses no-model 2 'nowhere' "${badly[@]}"
bad '{"model": "other", "traits": ["warmth"]}' && refuses unknown-trait 2 'warmth' "${badly[@]}"
bad '{"model": "other", "pairwise": true}' && refuses no-reference 2 'one of them none' "${badly[@]}" --reference none
bad '{"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m", "key_env": "NO_SUCH_KEY"}}' && refuses no-key 2 'NO_SUCH_KEY' "${badly[@]}"
refuses no-answers 2 'none.jsonl' "$X" traits --answers none.jsonl --judge local.json --out x.jsonl
refuses no-folder 2 'nofolder' "$X" traits --answers a.jsonl --judge local.json --out nofolder/x.jsonl
head -c 5000 a.jsonl >half.jsonl
refuses half-on-2 2 'half.jsonl line' mpirun -n 2 "$X" traits --answers half.jsonl --judge local.json --out x.jsonl
refuses rank-fails 1 'rank 1' env PX_FAULT=judge:1 mpirun -n 2 "$X" traits --answers a.jsonl --judge local.json --out x.jsonl
[ ! -e x.jsonl ] && [ ! -e x.judge.jsonl ] && ok no-files || fail no-files "$(ls x.*)"
finish
