#!/bin/bash
# docs.sh - every prismx command line in README.md, RUNBOOK.md and docs/*.md, in code blocks and between backticks:
# its command, options and configuration keys are read by the program (prismx help --check), what it reads
# is there, made by another line, or one of the reader's own things named below; and the walk through
# README.md is done once, on a tiny model.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000 OMP_WAIT_POLICY=passive

# What a reader brings along: data, models, prompts, files that a text shows or describes beside the line.
own=' prism Llama-3.2-1B-Instruct ./Llama-3.2-1B-Instruct ./SmolLM2-135M-Instruct p.jsonl prompts.jsonl answers.jsonl trials.jsonl
 a.jsonl t.jsonl human.jsonl converse.jsonl arms.json judge.json transcripts.jsonl corpus.h5 survey.jsonl cluster.json '

# lines FILE: NUMBER TAB COMMAND LINE of each, continued lines joined. Lines with ... leave something open.
lines() {
    awk '
        function give(n, text) {
            if (text ~ /(^|[ \/(])prismx +[a-z]/ && text !~ /\.\.\.|…/) print n "\t" text
        }
        /^ *```/ { fence = !fence; held = ""; next }
        fence {
            text = $0
            if (held == "") first = FNR
            if (sub(/\\$/, "", text)) { held = held text; next }
            give(first, held text)
            held = ""
            next
        }
        {
            n = split($0, span, "`")
            for (i = 2; i < n; i += 2) # closed in the same line
                if (span[i] ~ /prismx +[a-z]+ +(-|[A-Z.\/])/) give(FNR, span[i])
        }' "$1"
}

# One command from "prismx" on: what stands before it, comments, redirections and pipes do not matter.
command_of() { sed -E 's/^.*(^|[ \/(])prismx +//; s/ +#.*$//; s/ *(\||&&|;|>|<|2>|& *$).*$//; s/\)$//' <<<"$1"; }

cd "$ROOT" || exit 1
files=(README.md RUNBOOK.md docs/*.md)
outputs=' ' n_lines=0
while IFS= read -r line; do
    set -f && read -r -a words <<<"$(command_of "$line")" && set +f
    for ((i = 0; i < ${#words[@]}; i++)); do
        case ${words[i]} in
        --out | --tsv | --transcripts | --job-dir | --rates) outputs+="${words[i + 1]-} " ;;
        esac
    done
done < <(for f in "${files[@]}"; do lines "$f" | cut -f 2; done)

# is_there FILE: exists, is made by some line (or lies in a folder that is), is the reader's own, or is a
# placeholder in capitals. An option behind it means that there was no file to name.
is_there() {
    [ -e "$1" ] || [[ $1 == -* ]] || [[ $1 == */* && "$outputs" == *" ${1%%/*} "* ]] || [[ "$outputs$own" == *" $1 "* ]] || [[ $1 =~ ^[A-Z0-9_/.]+$ ]] || [[ $1 == /* ]]
}

for f in "${files[@]}"; do
    bad=
    while IFS=$'\t' read -r number line; do
        n_lines=$((n_lines + 1))
        set -f && read -r -a words <<<"$(command_of "$line")" && set +f
        words=("${words[@]//\'/}")
        words=("${words[@]//\"/}")
        words=("${words[@]//[\[\]]/}") # what may be left out
        for ((i = 1; i < ${#words[@]}; i++)); do # numbers that the text leaves open
            [[ ${words[i]} =~ ^([A-Z]|RANKS|THREADS)$ && ${words[i - 1]} =~ ^--(ranks|threads|port|seed|users|step|steps|grace|limit|batch|machines|cores)$ ]] &&
                words[i]=1
            [[ ${words[i]} =~ =N$ ]] && words[i]=${words[i]%N}1
        done
        if ! "$X" help --check "${words[@]}" >/dev/null 2>"$T/err" </dev/null; then
            bad+="$f:$number: $(tail -n 1 "$T/err" | cut -c 1-160); "
            continue
        fi
        for ((i = 1; i < ${#words[@]}; i++)); do
            case ${words[i - 1]} in
            --config | --corpus | --data | --model | --run | --prompts | --arms | --answers | --trials | --lists | --judge)
                is_there "${words[i]}" || bad+="$f:$number: ${words[i - 1]} ${words[i]} is not there and nothing makes it; "
                ;;
            esac
        done
    done < <(lines "$f")
    [ -z "$bad" ] && ok "reads-$f" || fail "reads-$f" "$bad"
done
[ $n_lines -ge 20 ] && ok finds-lines || fail finds-lines "only $n_lines command lines in ${files[*]}"

# What the check must catch.
refuses unknown-option 2 'unrecognized option' "$X" help --check train --corpse x
refuses unknown-key 2 'lora.rank' "$X" help --check train --set lora.rank=4
refuses unknown-command 2 'no command trian' "$X" help --check trian
refuses no-config 2 'nowhere.json' "$X" help --check train --config nowhere.json
check nothing-is-run "$X" help --check train --config configs/ppft.json --corpus none.h5 --model none --out "$T/none"
[ ! -e "$T/none" ] && ok nothing-is-made || fail nothing-is-made "$(ls "$T/none")"

# The walk through README.md, on a tiny model and invented people.
cd "$T" || exit 1
mkdir build && ln -s "$X" build/prismx && ln -s "$ROOT/configs" configs
check tiny "$X" model init --like tiny --seed 1 --out Llama-3.2-1B-Instruct || finish
check people "$X" synth --users 8 --seed 3 --out prism || finish
while IFS=$'\t' read -r number line; do
    read -r verb _ <<<"$(command_of "$line")"
    case $verb in
    prepare | eval | export | report | trials | stats) ;;
    synth) [[ $line == *--trials* ]] || continue ;;
    train) line+=" --set train.steps=1 --set batch.pairs=4 --set threads=1" ;;
    *) continue ;;
    esac
    line=${line//mpirun -n [0-9]/mpirun -n 2}
    check "README.md:$number-$verb" bash -c "${line//threads=8/threads=1}"
done < <(lines "$ROOT/README.md" | grep -v 'COMMAND')
[ -s report.html ] && [ -s adapter/adapter_config.json ] && [ -s seen.tsv ] && ok walk-made-it || fail walk-made-it "$(ls)"
finish
