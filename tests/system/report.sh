#!/bin/bash
# report.sh - the page of an experiment from trials to report: every figure with its table, nothing that could run or
# call out, hostile trials, tables for programs and papers, and what a user sees who gives wrong things.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1

# page FILE: faults of a page, a line each; figures and tables are counted on the last line.
page() {
    awk -v RS='<' '
    function fault(text) { if (!(text in told)) print text; told[text] = 1 }
    NR > 1 {
        tag = "<" substr($0, 1, index($0, ">"))
        if (tag ~ /^<!/) next
        if (tag ~ /^<(script|img|iframe|object|embed|form|link)/) fault("an element that runs or fetches")
        if (tag ~ /(https?:|javascript:)/ || $0 ~ /(url\(|@import)/) fault("an address outside the page")
        name = tag
        sub(/^<\/?/, "", name)
        sub(/[ \/>].*/, "", name)
        bare = tag
        gsub(/"[^"]*"/, "", bare)
        if (bare ~ /["'"'"']/) fault("a quote is not closed: " substr(tag, 1, 60))
        if (bare ~ / on[a-z]+=/) fault("a handler: " substr(tag, 1, 60))
        if (match(tag, / id="[^"]*"/)) {
            id = substr(tag, RSTART + 5, RLENGTH - 6)
            if (id in ids) fault("id twice: " id)
            ids[id] = 1
        }
        if (match(tag, / href="[^"]*"/)) links[substr(tag, RSTART + 7, RLENGTH - 8)] = 1
        if (tag ~ /^<th[ >]/ && tag !~ /scope=/) fault("a head without a scope")
        n_svg += tag ~ /^<svg /
        if (tag ~ /^<svg/ && tag !~ /role="img" aria-labelledby=|aria-hidden="true"/) fault("a figure without a name")
        n_tables += tag ~ /^<table/
        if (name == "meta" || tag ~ /\/>$/) next
        if (tag !~ /^<\//) open[++depth] = name
        else if (open[depth] != name) { fault("</" name "> closes <" open[depth] ">"); exit }
        else depth--
    }
    END {
        if (depth) fault("not closed: " open[depth])
        for (l in links) if (substr(l, 1, 1) != "#" || !(substr(l, 2) in ids)) fault("a link to nothing: " l)
        print n_svg " figures, " n_tables " tables"
    }' "$1"
}

# good NAME FILE: a page without a fault; figures of the experiment: FIG...
good() {
    local name=$1 file=$2 faults missing=''
    faults=$(page "$file" | sed '$d')
    shift 2
    [ -z "$faults" ] && ok "$name-page" || fail "$name-page" "$(head -n 3 <<<"$faults" | tr '\n' ';')"
    for f in "$@"; do
        awk -v f="fig-$f" 'index($0, "<section id=\"" f "\"") { on = 1 } on { text = text $0 } on && /<\/section>/ { exit }
            END { exit !(text ~ /<svg / && text ~ /<summary>Data of figure/ && text ~ /<th scope="row">/) }' "$file" ||
            missing="$missing $f"
    done
    [ -z "$missing" ] && ok "$name-figures" || fail "$name-figures" "without figure or table:$missing"
    if command -v xmllint >/dev/null; then # each figure is XML
        { echo '<all>' && awk '/<svg /{ on = 1 } on { print } /<\/svg>/{ on = 0 }' "$file" && echo '</all>'; } |
            sed 's/^.*<svg /<svg /; s/<\/svg>.*/<\/svg>/' >svg.xml
        xmllint --noout svg.xml 2>err && ok "$name-xml" || fail "$name-xml" "$(head -n 1 err)"
    fi
}

all="worth wins sliders bids length agreement position simulated topics turns tokens"
check synth "$X" synth --trials --out t --people 30 --seed 5
check stats "$X" stats --trials t/trials.jsonl --out stats.tsv --bootstrap 100
check report "$X" report --out r.html --stats stats.tsv
good experiment r.html $all
grep -q '30 people ranked 4 arms in 120 trials' r.html && ok findings || fail findings "$(grep -m 1 -o '<p class="lead">.\{200\}' r.html)"
grep -q 'stats.json does not stand' r.html && fail counts "stats.json was not read" || ok counts
grep -q 'Figure 6, .*needs traits' r.html && grep -q 'Figure 13, .*needs run folders' r.html && ok missing || fail missing "figures 6 and 13 are not named"
mv r.html once.html
check again "$X" report --out r.html --stats stats.tsv
cmp -s r.html once.html && ok same-bytes || fail same-bytes differ
check priced "$X" report --out p.html --stats stats.tsv --usd-per-million-prompt 0.5 --usd-per-million-new 1.5
grep -q 'Money for tokens: no price' p.html && fail price "no price" || ok price

# One file a source says the same as all in one.
for s in human judge converse; do grep "\"source\":\"$s\"" t/trials.jsonl >$s.jsonl; done
check human "$X" stats --trials human.jsonl --out human.tsv --bootstrap 100
check judge "$X" stats --trials judge.jsonl --out judge.tsv --bootstrap 100
check combined "$X" report --out c.html --stats human.tsv --stats judge.tsv
good combined c.html worth wins sliders bids length position simulated tokens

check tsv "$X" report --out r.tsv --format tsv --stats stats.tsv
same tsv-columns "$(awk -F '\t' 'NF != 18' r.tsv | wc -l)" 0
same tsv-value "$(awk -F '\t' '$1 == 1 && $6 == "worth:ppft" && $8 == "human" { printf "%.14g", $9 }' r.tsv)" \
    "$(awk -F '\t' '$2 == "rank:preference" && $3 == "plackett_luce" && $4 == "worth:ppft" && $14 == "human" { printf "%.14g", $6 }' stats.tsv)"
check tex "$X" report --out r.tex --format tex --stats stats.tsv
same tex-tables "$(grep -c 'begin{longtable}' r.tex)" "$(grep -c 'end{longtable}' r.tex)"

# Trials that are out to do harm: eight arms, a hundred domains, markup, right-to-left, a megabyte, NUL, long names.
awk 'BEGIN {
    q = "\\\""
    n = split("base|<script>alert(1)</script>|" q "><svg onload=alert(1)>|\342\200\256gnp.exe|\327\251\327\234\327\225\327\235|</table></style>|&amp;&#60;b&#62;|", arm, "|")
    for (arm[8] = ""; length(arm[8]) < 100;) arm[8] = arm[8] "W"
    for (big = "x"; length(big) < 1000000;) big = big big
    for (i = 0; i < 200; i++) {
        printf "{\"trial\":\"t%d\",\"person\":\"</p><script>%d\",\"source\":\"%s\",\"domain\":\"<i>d%d\\u0000\\u202e\",\"slots\":[", i, i % 20, i % 2 ? "human" : "judge", i % 100
        for (a = 0; a < 8; a++) printf "%s{\"pos\":\"%c\",\"arm\":\"%s\",\"context_tokens\":%d}", a ? "," : "", 65 + a, arm[(a + i) % 8 + 1], a
        text = i == 0 ? big : i % 3 ? "<img src=x onerror=alert(1)> \342\200\256 <img" : "a\\u0000b <script>alert(2)</script>"
        printf "],\"turns\":[{\"n\":0,\"to\":\"ABCDEFGH\",\"user\":\"%s\",\"answers\":{\"A\":\"%s\",\"B\":\"<script>\"}}],\"rank\":{\"preference\":[", text, text
        for (a = 0; a < 8; a++) printf "%s\"%c\"", a ? "," : "", 65 + (a * 3 + i) % 8
        printf "]},\"vas\":{\"preference\":{"
        for (a = 0; a < 8; a++) printf "%s\"%c\":%d", a ? "," : "", 65 + a, (a * 13 + i * 7) % 101
        printf "}},\"wtp\":{\"A\":%d,\"B\":%d}}\n", i % 11, i % 7
    }
}' >hostile.jsonl
check hostile-stats "$X" stats --trials hostile.jsonl --out h.tsv --bootstrap 20
check hostile "$X" report --out h.html --stats h.tsv
good hostile h.html worth wins sliders bids position simulated topics turns tokens
[ "$(wc -c <h.html)" -lt 6000000 ] && ok hostile-size || fail hostile-size "$(wc -c <h.html) bytes"
grep -q "$(printf '\342\200\256')" h.html && fail hostile-order "U+202E" || ok hostile-order
check hostile-tex "$X" report --out h.tex --format tex --stats h.tsv

refuses nothing 2 'or --stats' "$X" report --out x.html
refuses no-stats 2 'none.tsv' "$X" report --out x.html --stats none.tsv
refuses not-stats 2 'not the columns of stats.tsv' "$X" report --out x.html --stats t/trials.jsonl
refuses bad-price 2 'dollars above 0' "$X" report --out x.html --stats stats.tsv --usd-per-hour free
refuses bad-traits 2 'no "arms"' "$X" report --out x.html --stats stats.tsv --traits t/truth.json
[ ! -e x.html ] && ok nothing-left || fail nothing-left x.html
finish
