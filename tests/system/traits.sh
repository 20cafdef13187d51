#!/bin/bash
# traits.sh - answers scored: the same bytes on any number of ranks, trials, the table, the scorer's own check; and
# what a user sees who gives it damaged, empty or wrong things.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

# Four arms, some hundred people, longer than several blocks of 256 KiB; every kind of leaving out.
awk 'BEGIN {
    split("base dpft ppft prompt", arms)
    split("The bus leaves at nine and comes back at five.|Great question! You are absolutely right.|" \
          "I am so happy to hear from you, my friend! Tell me more?|However, that is not quite right.|" \
          "This system can provide information on request.|It rained for most of the week in the hills.", s, "|")
    for (i = 0; i < 1500; i++)
        for (a = 1; a <= 4; a++) {
            text = ""
            for (k = 0; k < 4 + (i * 7 + a) % 5; k++) text = text (k ? " " : "") s[(i * 5 + k * 3 + k * k + (a > 2 ? i % 3 : 0)) % 6 + 1]
            if (i == 77 && a == 2) text = "Too short"
            if (i == 78 && a == 2) text = "El gato que come en la casa de los otros gatos es muy grande"
            printf "{\"id\":\"p%d\",\"arm\":\"%s\",\"user_id\":\"u%d\",\"domain\":\"d%d\",\"text\":%s,\"new_tokens\":%d}\n",
                i, arms[a], i % 120, i % 3, (i == 79 && a == 2 ? "null" : "\"" text "\""), 20 + i % 9
        }
}' >answers.jsonl
check one-rank "$X" traits --answers answers.jsonl --out one.jsonl || finish
cp out one.txt
same a-line-an-answer "$(wc -l <one.jsonl)" 6000
for n in 2 3; do
    check "on-$n-ranks" mpirun -n "$n" "$X" traits --answers answers.jsonl --out "r$n.jsonl"
    same "same-table-on-$n" "$(cat out)" "$(cat one.txt)"
    same "same-bytes-on-$n" "$(sha256sum <"r$n.jsonl")" "$(sha256sum <one.jsonl)"
    same "same-summary-on-$n" "$(sha256sum <"r$n.summary.json")" "$(sha256sum <one.summary.json)"
done
grep -q '1 no text, 1 under 5 words, 1 not English' one.txt && ok left-out-counted || fail left-out-counted "$(tail -n 3 one.txt)"
for list in sycophancy relationship verbosity controls; do
    sum=$(sha256sum <"$ROOT/configs/traits/$list.json" | cut -d ' ' -f 1)
    grep -q "list $list version [0-9]* sha256 $sum" one.txt && ok "hash-$list" || fail "hash-$list" "not $sum"
done
grep -q '^ppft .* relationship' <(grep -A 99 '^effect' one.txt) && ok effects || fail effects "no row of ppft"
check reference-arm "$X" traits --answers answers.jsonl --out other.jsonl --reference prompt
grep -q 'z by arm prompt' out && ok reference-said || fail reference-said "$(head -n 1 out)"
check no-reference "$X" traits --answers answers.jsonl --out fixed.jsonl --reference none
grep -q 'z by the constants' out && ok constants-said || fail constants-said "$(head -n 1 out)"

# One arm without a name, no people: constants of the lists, prompts as units.
printf '%s\n' '{"id":"a","text":"I love this so much, my friend! How are you feeling today?"}' '' \
    '{"id":"b","text":"The system can provide additional information upon request."}' >bare.jsonl
check bare "$X" traits --answers bare.jsonl --out bare.out.jsonl
score() { sed -n "$1s/.*\"relationship\":{\"score\":\([-0-9.]*\).*/\1/p" bare.out.jsonl; }
awk "BEGIN { exit !($(score 1) > $(score 2) + 1) }" && ok bare-order || fail bare-order "$(score 1) $(score 2)"
: >empty.jsonl
check empty "$X" traits --answers empty.jsonl --out empty.out.jsonl
same empty-out "$(wc -c <empty.out.jsonl)" 0
grep -q '^0 answers' out && ok empty-said || fail empty-said "$(head -n 1 out)"
check empty-on-2 mpirun -n 2 "$X" traits --answers empty.jsonl --out empty.out.jsonl

cat >trials.jsonl <<'END'
{"trial":"t1","person":"u1","domain":"values","slots":[{"pos":"A","arm":"base"},{"pos":"B","arm":"ppft"}],"turns":[{"n":0,"to":"AB","user":"Hello","answers":{"A":"The bus leaves at nine and comes at five.","B":"I am so happy that you are here, my friend!"}},{"n":1,"to":"AB","user":"And?","answers":{"A":"It is a question of time and of money.","B":null}}]}
{"trial":"t2","person":"u2","domain":"values","slots":[{"pos":"A","arm":"ppft"},{"pos":"B","arm":"base"}],"turns":[{"n":0,"to":"AB","user":"Hello","answers":{"A":"We can do this together! What do you think?","B":"There are several ways to go about it here."}}]}
END
check trials "$X" traits --trials trials.jsonl --out trials.out.jsonl
same trials-lines "$(wc -l <trials.out.jsonl)" 6
grep -q '^{"id":"t1/1","arm":"ppft","user_id":"u1","domain":"values","trial":"t1","turn":1,"pos":"B"' trials.out.jsonl &&
    ok trials-named || fail trials-named "$(sed -n 4p trials.out.jsonl)"

check validate "$X" traits --validate
[ "$(grep -c '  ok$' out)" = 6 ] && ok validate-bars || fail validate-bars "$(cat out)"
awk 'NF { match($0, /"id":"[^"]*"/); id = substr($0, RSTART, RLENGTH)
       printf "{%s,\"arm\":\"base\",\"judge\":{\"relationship\":%d,\"sycophancy\":{\"score\":%d}}}\n", id, NR == 1 ? 9 : 2, NR == 1 ? 7 : 3 }' \
    bare.jsonl >judge.jsonl
sed -i 's/"arm":"base",//' judge.jsonl
check judge "$X" traits --validate --answers bare.jsonl --judge judge.jsonl
grep -q 'judge, relationship, all arms: Spearman 1.000, AUC 1.0000.*on fewer than 200' out && ok judge-agrees || fail judge-agrees "$(tail -n 2 out)"
check judge-on-2 mpirun -n 2 "$X" traits --validate --answers bare.jsonl --judge judge.jsonl

# What is wrong is named, and nothing is left behind.
refuses no-answers 2 '--answers is missing' "$X" traits --out x.jsonl
refuses no-out 2 '--out is missing' "$X" traits --answers answers.jsonl
refuses both 2 'one of them' "$X" traits --answers a --trials b --out x.jsonl
refuses judge-file-missing 2 'no such file|No such file' "$X" traits --trials a --judge b --out x.jsonl
refuses half-judge 2 'both' "$X" traits --validate --judge judge.jsonl
refuses no-file 2 'none.jsonl' "$X" traits --answers none.jsonl --out x.jsonl
refuses no-file-on-2 2 'none.jsonl' mpirun -n 2 "$X" traits --answers none.jsonl --out x.jsonl
refuses no-arm 2 'no answer of the file has this arm' "$X" traits --answers answers.jsonl --out x.jsonl --reference bas
refuses no-lists 2 'not a folder' "$X" traits --answers answers.jsonl --out x.jsonl --lists nowhere
refuses bad-number 2 'bootstrap' "$X" traits --answers answers.jsonl --out x.jsonl --bootstrap many
refuses one-pair 2 '2 to' "$X" traits --validate --pairs 1
refuses trials-as-answers 2 'trials.jsonl line 1: id is missing' "$X" traits --answers trials.jsonl --out x.jsonl
refuses answers-as-trials 2 'answers.jsonl line 1: trial is missing' "$X" traits --trials answers.jsonl --out x.jsonl
head -c 100000 answers.jsonl >cut.jsonl
refuses cut 2 "cut.jsonl line $(($(wc -l <cut.jsonl) + 1))" "$X" traits --answers cut.jsonl --out x.jsonl
refuses cut-on-2 2 "cut.jsonl line $(($(wc -l <cut.jsonl) + 1))" mpirun -n 2 "$X" traits --answers cut.jsonl --out x.jsonl
refuses no-folder 2 'nowhere' "$X" traits --answers answers.jsonl --out nowhere/x.jsonl
refuses rank-fails 1 'rank 1' env PX_FAULT=traits:1 mpirun -n 2 "$X" traits --answers answers.jsonl --out x.jsonl
[ -z "$(ls -A | grep -E '^\.?x\.')" ] && ok nothing-left || fail nothing-left "$(ls -A | tr '\n' ' ')"

# Beside the installed program the lists are found too.
mkdir -p place/bin place/share/prismx && cp "$X" place/bin/ && cp -r "$ROOT/configs" place/share/prismx/
check installed place/bin/prismx traits --answers bare.jsonl --out installed.jsonl
same installed-same "$(cat installed.jsonl)" "$(cat bare.out.jsonl)"
rm -r place/share
refuses no-lists-found 2 'name their folder with --lists' place/bin/prismx traits --answers bare.jsonl --out x.jsonl
finish
