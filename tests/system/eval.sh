#!/bin/bash
# eval.sh - rewards per token, every token's log-probability, one run against another on the same pairs: on a tiny random
# model and two tiny runs of it, on one rank and two; and what a user sees who does it wrong.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

check model "$X" model init --like tiny --seed 1 --out tiny || finish
check synth "$X" synth --users 6 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out corpus.h5 || finish
train=(--corpus corpus.h5 --model tiny --set batch.pairs=6 --set train.steps=2 --set optim.warmup_steps=0 --set optim.lr=3e-2 --set threads=1)
check train "$X" train --config "$ROOT/configs/ppft.json" "${train[@]}" --out ppft --set user.init=reference || finish
check train-dpft "$X" train --config "$ROOT/configs/dpft.json" "${train[@]}" --out dpft || finish

# number FILE KEY: the first number of KEY in the first row of a summary.
number() { sed -n '/"rows"/,$p' "$1" | grep -o "\"$2\": \[[^,]*" | head -n 1 | sed 's/.*\[//'; }
# equal NAME A B: two numbers are the same within 1e-6.
equal() { awk -v a="$2" -v b="$3" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d < 1e-6 && d > -1e-6) }' && ok "$1" || fail "$1" "$2 is not $3"; }
values() { h5dump -y -w 1 -m '%.17g' -d "$2" "$1" 2>/dev/null | sed -n '/DATA {/,/}/p' | grep -o '[-0-9.e+]\{2,\}\|[0-9]' ; }

dpft=("$X" eval --run dpft --corpus corpus.h5 --split seen --out dpft.h5 --set threads=1)
check eval-dpft "${dpft[@]}" --token-logps || finish
ppft=(--run ppft --corpus corpus.h5 --split seen --set threads=1 --against dpft.h5 --token-logps)
check eval-ppft "$X" eval "${ppft[@]}" --out ppft.h5 --tsv ppft.tsv || finish
cp "$T/out" ppft.out
check eval-2-ranks mpirun -n 2 "$X" eval "${ppft[@]}" --out two.h5 --tsv two.tsv
cmp -s ppft.tsv two.tsv && cmp -s ppft.h5 two.h5 && cmp -s ppft.out out && ok same-on-ranks || fail same-on-ranks "files or table differ"

# The reward per token and the win rate, computed again from the tables.
"${dpft[@]}" --tsv dpft.tsv >"$T/out" 2>"$T/err"
set -- $(awk -F'\t' 'NR > 1 && $5 == "user" { h = ($8 - $10) / $6 - ($9 - $11) / $7; n++; m += 0.5 * h; a += h > 0 ? 1 : h == 0 ? 0.5 : 0 }
    END { printf "%.9g %.9g", a / n, m / n }' ppft.tsv)
equal accuracy-per-token "$(number ppft.json accuracy_per_token_own)" "$1"
equal margin-per-token "$(number ppft.json margin_per_token_own)" "$2"
set -- $(awk -F'\t' 'FNR == 1 { next } FNR == NR { there[$1, $2, $3, $4] = $12; next }
    $5 == "user" { d = $12 - there[$1, $2, $3, $4]; n++; w += d > 0 ? 1 : d == 0 ? 0.5 : 0
        a += ($12 > 0) - (there[$1, $2, $3, $4] > 0) }
    END { printf "%.9g %.9g", w / n, a / n }' dpft.tsv ppft.tsv)
equal win-rate "$(number ppft.json win_rate)" "$1"
equal delta-against "$(number ppft.json delta_against)" "$2"
grep -q 'win_rate.*delta_against' ppft.out && grep -q 'accuracy per token' ppft.out && grep -q 'margin per token' ppft.out &&
    ok table || fail table "$(head -n 5 ppft.out)"
grep -q win_rate dpft.json && fail no-win-rate "dpft.json has one" || ok no-win-rate

# Every token's: as many ids as values as the table counts, and their sum is the table's.
n=$(awk -F'\t' 'NR > 1 && $5 == "user" { n += $6 + $7 } END { print n }' ppft.tsv)
same token-counts "$(values ppft.h5 /tokens/ids | wc -l) $(values ppft.h5 /tokens/logps/other | wc -l)" "$n $n"
for who in own:user:8 generic:generic:8 reference:user:10; do
    IFS=: read -r name row column <<<"$who"
    equal "token-sum-$name" "$(values ppft.h5 "/tokens/logps/$name" | awk '{ s += $1 } END { printf "%.9g", s / 1e3 }')" \
        "$(awk -F'\t' -v r="$row" -v c="$column" 'NR > 1 && $5 == r { s += $c + $(c + 1) } END { printf "%.9g", s / 1e3 }' ppft.tsv)"
done

# The base model; against itself; with another beta.
check eval-base "$X" eval --model tiny --corpus corpus.h5 --split seen --out base.h5 --set threads=1 --against dpft.h5 --token-logps
check eval-itself "$X" eval --run dpft --corpus corpus.h5 --split seen --out itself.h5 --set threads=1 --against dpft.h5
same itself "$(number itself.json win_rate) $(number itself.json delta_against)" "0.5 0"
check eval-beta "$X" eval --run dpft --corpus corpus.h5 --split seen --out beta.h5 --set threads=1 --set loss.beta=0.1 --against dpft.h5
grep -q 'loss.beta 0.5, these with 0.1' "$T/err" && ok beta-warning || fail beta-warning "$(tail -n 1 "$T/err")"

# Among the statistics: what the summaries say, of each file and of a folder of them.
check stats mpirun -n 2 "$X" stats --eval ppft.h5 dpft.h5 base.h5 --out offline.tsv
cell() { awk -F'\t' -v t="$1" -v c="$2" '$1 == "offline" && $2 == "seen" && $3 == "accuracy" && $4 == t && $15 ~ /ppft.h5/ { print $c }' offline.tsv; }
equal stats-own "$(cell own 6)" "$(number ppft.json accuracy_own)"
equal stats-delta-own "$(cell delta_own 6)" "$(number ppft.json delta_own)"
equal stats-delta-swap-high "$(cell delta_swap 9)" "$(grep -o '"delta_swap": \[[^]]*' ppft.json | head -n 1 | sed 's/.*, //')"
same stats-source "$(cell other 14) $(cell delta_swap 5)" "NA own-other"
same stats-not-personal "$(grep -c 'dpft.h5.*user.model=none' offline.tsv) $(grep -c 'base.h5, the base model' offline.tsv)" \
    "$(grep -o '"type"' dpft.json | wc -l) $(grep -o '"type"' base.json | wc -l)"
mkdir evals && cp ppft.h5 dpft.h5 base.h5 evals
check stats-folder "$X" stats --eval evals --out folder.tsv
same stats-folder-same "$(sort folder.tsv | sha256sum)" "$(sort offline.tsv | sha256sum)"
refuses stats-no-eval 2 'corpus.h5: no eval.h5' "$X" stats --eval corpus.h5 --out x.tsv
refuses stats-empty-folder 2 'holds no evaluation' "$X" stats --eval data --out x.tsv

# Done wrong.
use=("$X" eval --run ppft --corpus corpus.h5 --out x.h5 --set threads=1 --split)
refuses against-nothing 2 'against nowhere.h5' "${use[@]}" seen --against nowhere.h5
refuses against-a-corpus 2 'not a file that .prismx eval. wrote' "${use[@]}" seen --against corpus.h5
refuses against-other-split 2 'dpft.h5.*the same --split' "${use[@]}" train --against dpft.h5
refuses against-normalised 2 'length_normalised' "${use[@]}" seen --against dpft.h5 --set train.length_normalised=true
"$X" synth --users 6 --seed 4 --out data2 >out 2>err && "$X" prepare --data data2 --model tiny --out corpus2.h5 >out 2>err
refuses against-other-corpus 2 'another corpus' "$X" eval --model tiny --corpus corpus2.h5 --out x.h5 --set threads=1 --split seen --against dpft.h5
[ ! -e x.h5 ] && ok nothing-written || fail nothing-written "x.h5 is there"
finish
