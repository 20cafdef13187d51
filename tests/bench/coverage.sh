#!/bin/bash
# coverage.sh [SETS [PEOPLE [FIRST]]]: how often the 95 % intervals of prismx stats hold what prismx synth --trials planted,
# over SETS (200) data sets of PEOPLE (60) from seed FIRST (1001), and how far the estimates are off on average. A line a model and one
# a term; bars: 92 to 98 % of all intervals of a model, mean error under 5 % of the effect (or under 4 of its
# own standard errors: the noise of so many sets).
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
X=${PX_PROGRAM:-$ROOT/build/prismx}
sets=${1:-200} people=${2:-60} first=${3:-1001}
T=$(mktemp -d "${TMPDIR:-/tmp}/prismx-coverage.XXXXXX")
trap 'rm -rf "$T"' EXIT
export OMP_NUM_THREADS=1
for ((seed = first; seed < first + sets; seed++)); do
    "$X" synth --trials --out "$T/d" --people "$people" --seed "$seed" || die "synth, seed $seed"
    "$X" stats --trials "$T/d/trials.jsonl" --out "$T/s.tsv" --bootstrap 0 2>"$T/err" || die "stats: $(tail -n 1 "$T/err")"
    # Truth and estimates side by side: model, source, outcome, term, truth, estimate, low, high.
    awk -F '\t' '
        NR == FNR {
            if (!match($0, /"value":[-0-9.e+]*/)) next
            value = substr($0, RSTART + 8, RLENGTH - 8)
            n = split($0, part, "\"")
            truth[part[4] FS part[8] FS part[12] FS part[16]] = value
            next
        }
        { key = $14 FS $2 FS $3 FS $4 }
        key in truth && !(key in seen) { seen[key] = 1; print $3, $14, $2, $4, truth[key], $6, $8, $9 }
        END { for (key in truth) if (!(key in seen)) print "missing", key }' OFS='\t' "$T/d/truth.json" "$T/s.tsv" >>"$T/all"
    rm -rf "$T/d"
done
awk -F '\t' -v sets="$sets" -v people="$people" '
    $1 == "missing" { print "FAIL no row for " $2; failed = 1; next }
    {
        term = $1 "\t" $2 "\t" $3 "\t" $4
        truth[term] = $5
        n[term]++
        sum[term] += $6 - $5
        square[term] += ($6 - $5) * ($6 - $5)
        if ($7 == "NA") next
        hit = $7 <= $5 && $5 <= $8
        models[$1] += hit
        all[$1]++
        hits[term] += hit
        tries[term]++
    }
    END {
        for (t in n) {
            bias = sum[t] / n[t]
            noise = sqrt((square[t] / n[t] - bias * bias) / n[t])
            size = truth[t] < 0 ? -truth[t] : truth[t]
            off = bias < 0 ? -bias : bias
            bad = off > 0.05 * size && off > 4 * noise
            failed += bad
            printf "%s\ttruth %g\tbias %.4g +- %.2g\tcoverage %s%s\n", t, truth[t], bias, noise,
                tries[t] ? sprintf("%.3f", hits[t] / tries[t]) : "-", bad ? "\tFAIL" : "" | "sort"
        }
        close("sort")
        for (m in all) {
            share = models[m] / all[m]
            bad = share < 0.92 || share > 0.98
            failed += bad
            printf "%-20s coverage %.4f of %d intervals%s\n", m, share, all[m], bad ? " FAIL" : ""
        }
        printf "%d sets of %d people: %s\n", sets, people, failed ? "FAIL" : "within the bars"
        exit failed > 0
    }' "$T/all"
