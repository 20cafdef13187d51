#!/bin/bash
# generate.sh - answers on a tiny random model and a tiny run of it: the same text on any number of ranks, in any batch,
# resumed or not, greedy and sampled; people's soft tokens; and what a user sees who does it wrong.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

check model "$X" model init --like tiny --seed 1 --out tiny || finish
check synth "$X" synth --users 6 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out corpus.h5 || finish
# Rates so high that two steps are seen in the answers.
check train "$X" train --config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --out run --set batch.pairs=6 \
    --set train.steps=2 --set optim.warmup_steps=0 --set optim.lr=3e-2 --set user.init=reference --set threads=1 || finish
person=$("$X" users list --run run 2>err | grep -o 'user[0-9]*' | tail -n 1)
[ -n "$person" ] && ok person || fail person "users list names nobody"

# Two dozen prompts, half with a long common beginning, every third of a person.
awk -v person="$person" 'BEGIN {
    for (i = 0; i < 400; i++) long = long " and on it goes"
    for (i = 0; i < 24; i++)
        printf "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"%s tell me %d things\"}]%s}\n",
            i, (i % 2 ? substr(long, 1, 120 + 10 * i) : ""), i, (i % 3 ? "" : ",\"user_id\":\"" person "\"")
}' >p.jsonl

# generate NAME RANKS THREADS OPTIONS...
cat >generate <<E2
#!/bin/bash
name=\$1 n=\$2 t=\$3 && shift 3
exec mpirun -n "\$n" $X generate --prompts p.jsonl --out "\$name.jsonl" --max-new-tokens 24 --set threads="\$t" "\$@"
E2
chmod +x generate
sampled=(--temperature 1.3 --top-p 0.9 --seed 5)
check greedy ./generate greedy 1 1 --model tiny --temperature 0 --batch 1 || finish
check sampled ./generate sampled 1 1 --model tiny "${sampled[@]}" --batch 1 || finish
same one-line-a-prompt "$(wc -l <greedy.jsonl)" 24
same ids-in-order "$(sed 's/^{"id":"\([^"]*\)".*/\1/' greedy.jsonl | tr '\n' ' ')" "$(seq -f 'p%.0f' -s ' ' 0 23) "
cmp -s greedy.jsonl sampled.jsonl && fail sampling-differs "sampled answers are the greedy ones" || ok sampling-differs
for way in 1:2:4 2:1:32 3:1:2 4:1:7; do
    IFS=: read -r ranks threads batch <<<"$way"
    check "greedy-$way" ./generate "g$ranks$batch" "$ranks" "$threads" --model tiny --temperature 0 --batch "$batch"
    cmp -s greedy.jsonl "g$ranks$batch.jsonl" && ok "greedy-same-$way" || fail "greedy-same-$way" "another text"
    check "sampled-$way" ./generate "s$ranks$batch" "$ranks" "$threads" --model tiny "${sampled[@]}" --batch "$batch"
    cmp -s sampled.jsonl "s$ranks$batch.jsonl" && ok "sampled-same-$way" || fail "sampled-same-$way" "another text"
done
check f32 ./generate f32 1 1 --model tiny --temperature 0 --set precision=f32
check f32-2-ranks ./generate f32b 2 1 --model tiny --temperature 0 --set precision=f32 --batch 3
cmp -s f32.jsonl f32b.jsonl && ok f32-same || fail f32-same "another text"

for bits in q8_0 q4_1; do
    check $bits ./generate $bits 1 1 --model tiny --temperature 0 --set precision=$bits
    check $bits-2-ranks ./generate $bits-2 2 2 --model tiny --temperature 0 --set precision=$bits --batch 5
    cmp -s $bits.jsonl $bits-2.jsonl && ok $bits-same || fail $bits-same "another text"
done
check precisions "$X" model tiny --precisions
same precisions-lines "$(grep -c '^precision' "$T/out")" 4
awk '/^precision\tq8_0/ { if ($5 < 0.05 && $5 > 0) good = 1 } END { exit !good }' "$T/out" && ok q8-is-near || fail q8-is-near "$(cat "$T/out")"
check q8-eval "$X" eval --model tiny --corpus corpus.h5 --out e.h5 --set precision=q8_0

# Killed while it answers, again and again, on other numbers of ranks; then it goes on.
killed=0
for i in 1 2 3 4 5 6; do
    "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume --max-new-tokens 400 --temperature 0 \
        --ignore-eos --batch 2 --set threads=1 >out 2>err &
    pid=$!
    for _ in $(seq 1 200); do
        [ "$(cat cut.jsonl.parts/rank-*.jsonl 2>/dev/null | wc -l)" -ge $((3 * i)) ] && break
        sleep 0.02
    done
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
done
[ $killed -ge 2 ] && ok killed-$killed-times || skip killed "the answers were finished before it was killed"
printf '{"item":3,"answer":{"id":"p3","te' >>cut.jsonl.parts/rank-0000.jsonl 2>/dev/null
long=(--max-new-tokens 400 --temperature 0 --ignore-eos --set threads=1)
if [ -d cut.jsonl.parts ]; then
    refuses parts-are-not-overwritten 2 'resume' "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl "${long[@]}"
    refuses other-settings 2 'other settings' "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume --temperature 1
    check resumed mpirun -n 2 "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume "${long[@]}"
fi
check whole "$X" generate --model tiny --prompts p.jsonl --out whole.jsonl "${long[@]}"
cmp -s cut.jsonl whole.jsonl && ok resumed-same || fail resumed-same "another text"
[ ! -d whole.jsonl.parts ] && ok parts-are-gone || fail parts-are-gone "whole.jsonl.parts is there"

# One command for the first start and every other.
before=$(sha256sum <cut.jsonl)
check finished-stays mpirun -n 2 "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume "${long[@]}"
grep -q 'is finished already' "$T/out" && ok finished-says-so || fail finished-says-so "$(cat "$T/out")"
same finished-same "$(sha256sum <cut.jsonl)" "$before"
refuses finished-other 2 'other settings; --overwrite' "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume --temperature 1
# Other weights under the same path are another model.
check other-model "$X" model init --like tiny --seed 2 --out tiny-2
mv tiny tiny-1 && mv tiny-2 tiny
refuses other-weights 2 'another model' "$X" generate --model tiny --prompts p.jsonl --out cut.jsonl --resume "${long[@]}"
mv tiny tiny-2 && mv tiny-1 tiny

# Stopped by a signal.
"$X" generate --model tiny --prompts p.jsonl --out stop.jsonl "${long[@]}" --batch 1 --n 40 >out 2>err &
pid=$!
for _ in $(seq 1 300); do
    [ -s stop.jsonl.parts/rank-0000.jsonl ] && break
    sleep 0.02
done
kill -TERM $pid
wait $pid
same signal-exit "$?" 3
grep -q -- --resume err && ok signal-message || fail signal-message "$(tail -n 1 err)"

# A run: a person's own soft tokens, the generic ones, none.
check own ./generate own 1 1 --run run --temperature 0
check own-2-ranks ./generate own2 2 1 --run run --temperature 0 --batch 5
cmp -s own.jsonl own2.jsonl && ok own-same || fail own-same "another text"
check generic ./generate generic 1 1 --run run --temperature 0 --user generic
check none ./generate none 1 1 --run run --temperature 0 --user none
answers() { sed 's/.*"text"/"text"/; s/,"context_tokens.*//' "$1.jsonl"; }
[ "$(answers own | sed -n 1p)" != "$(answers generic | sed -n 1p)" ] && ok own-is-not-generic ||
    fail own-is-not-generic "the same answer"
[ "$(answers generic)" != "$(answers none)" ] && ok generic-is-not-none || fail generic-is-not-none "the same answers"
same context-tokens "$(grep -c '"context_tokens":10' own.jsonl) $(grep -c '"context_tokens":0' none.jsonl)" "24 24"
same whose "$(grep -c '"user":"own"' own.jsonl) $(grep -c '"user":"generic"' own.jsonl)" "8 16"

# Stop texts, alternatives, several samples, limits.
check stop-text ./generate stopped 1 1 --model tiny --temperature 0 --stop e --max-new-tokens 200
grep -q '"text":"[^"]*e[^"]*","tokens"' stopped.jsonl && fail stop-text-cut "a text holds it" || ok stop-text-cut
check logprobs ./generate logprobs 1 1 --model tiny --temperature 0 --logprobs 3
same logprobs-lines "$(grep -c '"logprobs":\[{"id":' logprobs.jsonl)" 24
check samples ./generate samples 1 1 --model tiny --temperature 1 --n 3
same samples-lines "$(wc -l <samples.jsonl) $(sort -u samples.jsonl | wc -l)" "72 72"
check least ./generate least 1 1 --model tiny --temperature 0 --min-new-tokens 24
same least-tokens "$(grep -c '"new_tokens":24,' least.jsonl)" 24
awk 'BEGIN { for (i = 0; i < 30000; i++) text = text "word "
    printf "{\"id\":\"long\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}\n", text
    print "{\"id\":\"short\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}" }' >long.jsonl
check too-long "$X" generate --model tiny --prompts long.jsonl --out l.jsonl --temperature 0 --max-new-tokens 4
same too-long-line "$(grep -c '"finish":"error","error":"a prompt of' l.jsonl) $(grep -c '"finish":"length"' l.jsonl)" "1 1"
grep -q '1 prompts could not be answered' "$T/out" && ok too-long-counted || fail too-long-counted "$(cat "$T/out")"

# Arms: every prompt by every arm, in the order of the prompts; people told of in words.
cat >arms.json <<'E2'
{"arms": [
  {"name": "base"},
  {"name": "ppft", "run": "run"},
  {"name": "facts", "context": "demographics"},
  {"name": "profile", "context": "summary"}],
 "summary": {"cache": "summaries"}} // the base writes them
E2
arms=("$X" generate --prompts p.jsonl --model tiny --arms arms.json --data data --max-new-tokens 12 --set threads=1)
check arms "${arms[@]}" --out arms.jsonl
cp out table 2>/dev/null || cp "$T/out" table
same arms-lines "$(wc -l <arms.jsonl)" 96
same arms-in-order "$(sed -n '1,5s/.*"arm":"\([a-z]*\)".*/\1/p' arms.jsonl | tr '\n' ' ')" "base ppft facts profile base "
same arms-context "$(sed -n 1,2p arms.jsonl | grep -o '"context_tokens":[0-9]*' | tr '\n' ' ')" '"context_tokens":0 "context_tokens":10 '
[ "$(sed -n 3p arms.jsonl | sed 's/.*"context_tokens":\([0-9]*\).*/\1/')" -gt 20 ] && ok arms-facts ||
    fail arms-facts "$(sed -n 3p arms.jsonl | cut -c 1-300)"
grep -qE '^profile +24 ' table && grep -q 'R1' table && ok arms-table || fail arms-table "$(cat table)"
grep -q 'facts: 16 without a context' table && ok arms-untold || fail arms-untold "$(cat table)"
check arms-2-ranks mpirun -n 2 "${arms[@]}" --out arms2.jsonl --batch 3
cmp -s arms.jsonl arms2.jsonl && ok arms-same || fail arms-same "another text"
[ "$(ls summaries/*.txt 2>/dev/null | wc -l)" = 1 ] && ok summary-cached || fail summary-cached "$(ls summaries)"
echo 'They like short answers.' >"$(ls summaries/*.txt)"
check arms-cached "${arms[@]}" --out arms3.jsonl
cmp -s arms.jsonl arms3.jsonl && fail summary-used "what the cache holds is not used" || ok summary-used
check arms-choices "${arms[@]}" --out arms4.jsonl --corpus corpus.h5
cmp -s arms3.jsonl arms4.jsonl && fail choices-used "training choices make no difference" || ok choices-used
bad_arms() { printf '%s\n' "$1" >bad.json; }
badly=("$X" generate --prompts p.jsonl --out w.jsonl --arms bad.json)
bad_arms '{"arms": [{"name": "a", "modle": "tiny"}]}' && refuses arms-unknown-key 2 'did you mean "model"' "${badly[@]}"
bad_arms '{"arms": [{"name": "a"}]}' && refuses arms-no-model 2 'names no run, model or endpoint' "${badly[@]}"
bad_arms '{"arms": [{"name": "a", "model": "tiny"}, {"name": "a", "model": "tiny"}]}' && refuses arms-twice 2 'is taken' "${badly[@]}"
bad_arms '{"arms": [{"name": "a", "model": "tiny", "user": "x"}]}' && refuses arms-user 2 'own, generic or none' "${badly[@]}"
bad_arms '{"arms": [{"name": "a", "model": "tiny", "context": "demographics"}]}' && refuses arms-no-data 2 '--data' "${badly[@]}"
bad_arms '{"arms": []}' && refuses arms-empty 2 '"arms" is empty' "${badly[@]}"
bad_arms '{"arms": [{"name": "a", "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m", "max_retries": 0}}]}' &&
    LIMIT=120 refuses arms-dead-endpoint 1 'no answer|refused|connect' "${badly[@]}"

# Held-out prompts, and the page that shows what the arms made of them.
check held-out "$X" prompts --data data --corpus corpus.h5 --split all --limit 5 --out held.jsonl
same held-out-lines "$(wc -l <held.jsonl) $(grep -o '"user_id":"[a-z0-9]*"' held.jsonl | sort -u | wc -l)" "5 5"
same held-out-splits "$("$X" prompts --data data --corpus corpus.h5 --split train --out t.jsonl >/dev/null && grep -vc '"split":"train"' t.jsonl)" 0
refuses held-out-split 2 'train, seen, unseen, several of them with commas, or all' "$X" prompts --data data --corpus corpus.h5 --split x --out t.jsonl
refuses held-out-data 2 'conversations.jsonl' "$X" prompts --data nothing --corpus corpus.h5 --split all --out t.jsonl
sed 's|}$|,"arm":"base","text":"I love <b>this</b> great question, my friend!"}|' held.jsonl >said.jsonl
check said-traits "$X" traits --answers said.jsonl --out traits.jsonl
check page "$X" report --out r.html --answers said.jsonl --traits traits.summary.json --truth data/truth.json run
same page-has "$(grep -c 'id="answers"' r.html) $(grep -c 'id="traits"' r.html) $(grep -c '<b>this' r.html) $(grep -c "$person" r.html)" "1 1 0 0"
grep -q '&lt;b&gt;this' r.html && grep -q 'The person likes' r.html && ok page-shows || fail page-shows "no answer or no taste in it"
refuses page-bad-traits 2 'summary that traits wrote' "$X" report --out r.html --traits data/truth.json run

# Done wrong.
use=("$X" generate --model tiny --out w.jsonl --prompts)
refuses no-prompts 2 'prompts is missing' "$X" generate --model tiny --out w.jsonl
refuses no-model 2 'run or --model' "$X" generate --prompts p.jsonl --out w.jsonl
refuses missing-file 2 'nowhere.jsonl' "${use[@]}" nowhere.jsonl
refuses out-is-there 2 'is there already; --overwrite' ./generate greedy 1 1 --model tiny
refuses bad-temperature 2 'temperature' "${use[@]}" p.jsonl --temperature -1
refuses bad-user 2 'own, generic or none' "${use[@]}" p.jsonl --user everybody
refuses no-run 2 'no such run folder' "$X" generate --run nothing --prompts p.jsonl --out w.jsonl
bad() { printf '%s\n' "$1" >bad.jsonl; }
bad '{"id":"a"}' && refuses no-messages 2 'bad.jsonl line 1: "messages"' "${use[@]}" bad.jsonl
bad '{"id":"a","messages":[]}' && refuses empty-messages 2 'line 1: "messages" is empty' "${use[@]}" bad.jsonl
bad '{"messages":[{"role":"user","content":"x"}]}' && refuses no-id 2 'line 1.*id' "${use[@]}" bad.jsonl
bad '{"id":"a","messages":[{"role":"user"}]}' && refuses no-content 2 'messages\[0\].*content' "${use[@]}" bad.jsonl
bad '{"id":"a","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}' &&
    refuses assistant-last 2 "the last message is the assistant's" "${use[@]}" bad.jsonl
bad 'not json' && refuses not-json 2 'bad.jsonl line 1' "${use[@]}" bad.jsonl
printf '%s\n%s\n' "$(head -n 1 p.jsonl)" "$(head -n 1 p.jsonl)" >bad.jsonl
refuses id-twice 2 'line 2: its id stands in line 1' "${use[@]}" bad.jsonl
: >bad.jsonl && refuses empty-file 2 'holds no prompt' "${use[@]}" bad.jsonl
finish
