#!/bin/bash
# stats.sh - trials checked, tabled and analysed: the same bytes on any number of ranks, hostile texts, and what a
# user sees who gives damaged or wrong things.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
G=$ROOT/tests/golden/stats.jsonl

check good "$X" trials check "$G"
grep -q ' trials (.* 16 people, 5 arms, 3 domains' out && ok counts || fail counts "$(tail -n 1 out)"
check csv "$X" trials csv "$G" --out t.csv
same csv-rows "$(wc -l <t.csv)" "$((1 + $(grep -o '"pos"' "$G" | wc -l)))"
grep -q 'é' t.csv && fail csv-no-texts "an answer's text" || ok csv-no-texts

check one-rank "$X" stats --trials "$G" --out one.tsv --bootstrap 200 --by-position --plan-people 500 || finish
for n in 2 3; do
    check "on-$n-ranks" mpirun -n "$n" "$X" stats --trials "$G" --out "r$n.tsv" --bootstrap 200 --by-position --plan-people 500
    same "same-bytes-on-$n" "$(sha256sum <"r$n.tsv")" "$(sha256sum <one.tsv)"
    same "same-json-on-$n" "$(sha256sum <"r$n.json")" "$(sha256sum <one.json)"
done
same columns "$(awk -F '\t' 'NF != 15' one.tsv | wc -l)" 0
rows() { awk -F '\t' -v m="$1" -v t="$2" '$3 == m && $4 == t' one.tsv | wc -l; }
for r in "win_rate ppft>base" "plackett_luce ppft" "plackett_luce ppft-dpft" "bradley_terry ppft" "rank_logit_length length/100" \
    "rank_logit_length pos:D" "rank_logit_length error" "lmm ppft" "lmm sd:trial" "lmm domain:values" "tobit ppft" "cumulative_logit ppft" \
    "position A" "position chi2" "self_consistency tau" "agreement top1" "agreement worth_r" "vendi openings" "power ppft" "first_share ppft:pos:A" \
    "lmm source:judge:turn" "js_divergence topics"; do
    [ "$(rows $r)" -gt 0 ] && ok "row-${r/ /-}" || fail "row-${r/ /-}" "none in stats.tsv"
done
check twice "$X" stats --trials "$G" --out one.tsv --bootstrap 200 --by-position --plan-people 500
same twice-same "$(sha256sum <one.tsv)" "$(sha256sum <r2.tsv)"

# Split over two files it is the same study.
head -n 50 "$G" >a.jsonl && tail -n +51 "$G" >b.jsonl
check two-files "$X" stats --trials a.jsonl b.jsonl --out two.tsv --bootstrap 200 --by-position --plan-people 500
same two-files-same "$(sha256sum <two.tsv)" "$(sha256sum <one.tsv)"
check other-reference "$X" stats --trials "$G" --out ref.tsv --reference zeta --bootstrap 0
awk -F '\t' '$3 == "lmm" && $5 == "base-zeta"' ref.tsv | grep -q . && ok reference || fail reference "no contrast base-zeta"

# A file of prismx traits' form; the golden's own answers are no words.
awk 'BEGIN { for (i = 0; i < 60; i++) for (a = 0; a < 3; a++)
    printf "{\"id\":\"p%d\",\"arm\":\"%s\",\"user_id\":\"u%d\",\"domain\":\"d%d\",\"sycophancy\":{\"score\":%.3f},\"relationship\":{\"score\":null},\"verbosity\":{\"score\":0.1},\"controls\":{\"words\":%d}}\n",
        i, a == 0 ? "base" : a == 1 ? "ppft" : "dpft", i % 12, i % 2, (i * 7 + a * 5) % 11 / 10 + (a == 1), 20 + (i * 5 + a * 3) % 17 }' >traits.jsonl
check with-traits "$X" stats --trials "$G" --traits traits.jsonl --out tr.tsv --bootstrap 0
awk -F '\t' '$1 == "traits" && $3 == "lmm_length" && $4 == "ppft"' tr.tsv | grep -q . && ok traits-rows || fail traits-rows none
same traits-no-judge "$(awk -F '\t' '$2 ~ /^judge:/' tr.tsv | wc -l)" 0
# A judge's scores of the same answers: ppft's are by 3 higher, and an answer without a valid try is left out.
awk '{ i = NR - 1; n = int(i / 3); a = i % 3; s = (n * 5 + n % 12 + a * 2) % 4 + 2 + 3 * (a == 1)
    print substr($0, 1, length($0) - 1) ",\"judge\":{\"sycophancy\":" (n % 10 == 9 ? "null" : s) ",\"relationship\":" 9 - s ".5}}" }' traits.jsonl >judged.jsonl
check with-judge "$X" stats --trials "$G" --traits judged.jsonl --out tj.tsv --bootstrap 0
same judge-rows "$(awk -F '\t' '$1 == "traits" && $2 ~ /^judge:/ && $4 ~ /^(ppft|dpft|log_words)$/ && $11 != "NA" { print $2, $3, $4, $12 }' tj.tsv | sort)" \
    "$(for t in relationship:180 sycophancy:162; do for m in "lmm dpft" "lmm ppft" "lmm_length dpft" "lmm_length log_words" "lmm_length ppft"; do echo "judge:${t%:*} $m ${t#*:}"; done; done)"
awk -F '\t' '$2 == "judge:sycophancy" && $3 == "lmm" && $4 == "ppft" { exit !($6 > 2 && $6 < 4) }' tj.tsv && ok judge-effect || fail judge-effect "$(grep judge:syc tj.tsv | head -n 2)"
same traits-flat "$(awk -F '\t' '$2 == "trait:verbosity" && $6 != "NA"' tr.tsv | wc -l)" 0

# Invented trials: nearly all of the planted effects lie in their intervals (by chance 1 in 20 does not).
check synth "$X" synth --trials --out sy --people 40 --seed 12
check synth-check "$X" trials check sy/trials.jsonl
grep -q '480 trials (160 human, 160 judge, 160 converse)' out && ok synth-counts || fail synth-counts "$(cat out)"
check synth-stats mpirun -n 2 "$X" stats --trials sy/trials.jsonl --out sy.tsv --bootstrap 100
covered=$(awk -F '\t' '
    NR == FNR { if (match($0, /"value":[-0-9.e+]*/)) { v = substr($0, RSTART + 8, RLENGTH - 8) + 0; split($0, c, "\""); truth[c[4] FS c[8] FS c[12] FS c[16]] = v }; next }
    { key = $14 FS $2 FS $3 FS $4 }
    key in truth && $8 != "NA" { n++; hit += $8 + 0 <= truth[key] && truth[key] <= $9 + 0 }
    END { printf "%d of %d: %s", hit, n, (hit >= 0.88 * n && n > 150) ? "enough" : "too few" }' sy/truth.json sy.tsv)
[ "${covered#*: }" = enough ] && ok planted-effects || fail planted-effects "$covered"
awk -F '\t' '$3 == "js_divergence" && $5 == "converse-human" && $6 > 0.02 && $10 < 0.02' sy.tsv | grep -q . && ok topic-shift || fail topic-shift "$(grep js_div sy.tsv)"
refuses synth-both 2 '--people goes with --trials' "$X" synth --out sy2 --people 4
refuses synth-users 2 'do not go with --trials' "$X" synth --trials --out sy2 --users 4

# Preferences asked for in several orders: A before B, then round; A before B twice.
for i in 1 2 3; do
    [ $i = 1 ] && second='["B","A"]' || second='["A","B"]'
    echo "{\"trial\":\"t$i\",\"person\":\"u$i\",\"source\":\"judge\",\"sim\":{\"model\":\"m\",\"orders\":[[\"A\",\"B\"],$second]},\"slots\":[{\"pos\":\"A\",\"arm\":\"base\"},{\"pos\":\"B\",\"arm\":\"ppft\"}],\"rank\":{\"preference\":[\"A\",\"B\"]}}"
done >orders.jsonl
check orders "$X" stats --trials orders.jsonl --out orders.tsv --bootstrap 50
same orders-flips "$(awk -F '\t' '$3 == "orders" { printf "%s %s %.4f %s;", $1, $4, $6, $12 }' orders.tsv)" "simulator flip 0.3333 3;simulator flip_top 0.3333 3;"

# Texts that are out to do harm: markup, right-to-left, a megabyte, NUL, tabs and newlines in names.
awk 'BEGIN {
    big = "x"; while (length(big) < 1000000) big = big big
    for (i = 0; i < 6; i++) {
        text = i == 0 ? "<script>alert(1)</script>" : i == 1 ? "\342\200\256gnp.exe" : i == 2 ? big : i == 3 ? "a\\u0000b" : "=cmd|\\t\\n"
        printf "{\"trial\":\"t%d\",\"person\":\"%s%d\",\"domain\":\"d\\tx\",\"slots\":[{\"pos\":\"A\",\"arm\":\"base\"},{\"pos\":\"B\",\"arm\":\"<b>\\t\\n\"}],", i, i % 2 ? "=u" : "\342\200\256", i
        printf "\"turns\":[{\"n\":0,\"to\":\"AB\",\"user\":\"%s\",\"answers\":{\"A\":\"%s\",\"B\":\"%s\"}}],\"rank\":{\"preference\":[\"%s\",\"%s\"]}}\n",
            text, text, i, i % 3 ? "B" : "A", i % 3 ? "A" : "B"
    }
}' >hostile.jsonl
check hostile-check "$X" trials check hostile.jsonl
grep -q '1 NULs in texts' out && ok hostile-nul || fail hostile-nul "$(tail -n 1 out)"
check hostile-csv "$X" trials csv hostile.jsonl
grep -q "\"'=u1\"" out && ok hostile-formula || fail hostile-formula "$(sed -n 4p out)"
check hostile-stats "$X" stats --trials hostile.jsonl --out h.tsv --bootstrap 50
same hostile-columns "$(awk -F '\t' 'NF != 15' h.tsv | wc -l)" 0

printf '%s\n' '{"trial":"t","person":"u","slots":[{"pos":"A","arm":"a"},{"pos":"B","arm":"b"}],"rnak":1}' \
    '{"trial":"t2","person":"u","slots":[{"pos":"A","arm":"a"},{"pos":"B","arm":5}]}' >bad.jsonl
refuses bad-check 2 'bad.jsonl: 1 errors' "$X" trials check bad.jsonl
grep -q 'line 1: warning: rnak: unknown key, did you mean rank?' out && ok bad-warning || fail bad-warning "$(cat out)"
grep -q 'line 2: error: slots\[1\].arm: found a number, wanted a string' out && ok bad-line || fail bad-line "$(cat out)"
refuses bad-stats 2 'bad.jsonl line 2: slots\[1\].arm' "$X" stats --trials bad.jsonl --out x.tsv
refuses bad-stats-on-2 2 'bad.jsonl line 2' mpirun -n 2 "$X" stats --trials bad.jsonl --out x.tsv
: >empty.jsonl
check empty "$X" stats --trials empty.jsonl --out empty.tsv
same empty-rows "$(wc -l <empty.tsv)" 1
refuses no-action 2 'check or csv is wanted' "$X" trials
refuses wrong-action 2 'not look' "$X" trials look "$G"
refuses no-file-named 2 'FILE is missing' "$X" trials check
refuses no-file 2 'none.jsonl' "$X" trials check none.jsonl
refuses no-trials 2 '--trials is missing' "$X" stats --out x.tsv
refuses no-out 2 '--out is missing' "$X" stats --trials "$G"
refuses no-arm 2 'there are base' "$X" stats --trials "$G" --out x.tsv --reference bas
refuses no-folder 2 'nowhere' "$X" stats --trials "$G" --out nowhere/x.tsv --bootstrap 0
refuses bad-number 2 'bootstrap' "$X" stats --trials "$G" --out x.tsv --bootstrap many
refuses no-traits 2 'none.jsonl' "$X" stats --trials "$G" --traits none.jsonl --out x.tsv --bootstrap 0
[ -z "$(ls -A | grep -E '^\.?x\.')" ] && ok nothing-left || fail nothing-left "$(ls -A | tr '\n' ' ')"
finish
