#!/bin/bash
# serve.sh - the server as its users meet it: the answers of generate, people, keys, wrong usage, the end. Speaks
# HTTP by hand, so that no client is needed.
. "$(dirname "$0")/lib.sh"
export LC_ALL=C OMP_WAIT_POLICY=passive
unset PRISMX_KEY
cd "$T" || exit 1
servers=()
trap 'kill "${servers[@]}" 2>/dev/null; rm -rf "$T"' EXIT

# start NAME OPTIONS...: a server in the background; its pid in $pid, its port in $port.
start() {
    local name=$1
    shift
    "$X" serve --port 0 --set threads=1 "$@" >"$name.out" 2>"$name.err" &
    pid=$!
    servers+=($pid)
    for _ in $(seq 1 400); do
        [ -s "$name.out" ] && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    port=$(sed -n 's|^http://127.0.0.1:\([0-9]*\)/v1$|\1|p' "$name.out")
    [ -n "$port" ] && ok "start-$name" || fail "start-$name" "$(tail -n 1 "$name.err")"
}

# ask METHOD PATH [BODY [HEADER]]: the whole reply.
ask() {
    local body=${3-}
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return
    printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s' \
        "$1" "$2" "${4:+$4$'\r\n'}" ${#body} "$body" >&3
    timeout 60 cat <&3
    exec 3>&-
}
chat() { ask POST /v1/chat/completions "$1" "${2-}"; }
content() { sed -n 's/.*"role":"assistant","content":\("\([^"\\]\|\\.\)*"\)}.*/\1/p'; }
status() { head -n 1 | tr -d '\r' | cut -d ' ' -f 2; }

check model-init "$X" model init --like tiny --seed 1 --out tiny || finish
check synth "$X" synth --users 6 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out corpus.h5 || finish
check train "$X" train --config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --set threads=1 \
    --set optim.warmup_steps=0 --set train.steps=3 --set optim.lr=1e-2 --set optim.user_lr=1 --out run || finish
"$X" users list --run run >users 2>/dev/null
who=$(grep -o 'user[0-9][0-9]*' users | head -n 1)
[ -n "$who" ] && ok users || fail users "nobody in: $(head -n 3 users)"

# What generate says to four prompts, greedy and drawn, as oneself and as somebody unknown.
settings=(--max-new-tokens 24 --set threads=1)
for i in 1 2 3 4; do
    user=$who
    [ $i -lt 3 ] || user=nobody
    printf '{"id":"p%d","user_id":"%s","messages":[{"role":"user","content":"Tell me about %d \\u00e9"}]}\n' $i $user $i
done >p.jsonl
check generate-greedy "$X" generate --run run --prompts p.jsonl --out greedy.jsonl "${settings[@]}" --temperature 0
check generate-drawn "$X" generate --run run --prompts p.jsonl --out drawn.jsonl "${settings[@]}" --temperature 0.9 --seed 5

start run --run run
n=0
while read -r line; do
    n=$((n + 1))
    messages=$(sed 's/.*"messages":\(\[.*\]\)}.*/\1/' <<<"$line")
    user=$(sed 's/.*"user_id":"\([^"]*\)".*/\1/' <<<"$line")
    for way in greedy:0:1 drawn:0.9:5; do
        IFS=: read -r name temperature seed <<<"$way"
        want=$(sed -n "${n}s/.*\"text\":\(\"\([^\"\\\\]\|\\\\.\)*\"\),\"tokens\".*/\1/p" $name.jsonl)
        [ -n "$want" ] || fail "text-$name-$n" "no text in $(sed -n ${n}p $name.jsonl | cut -c 1-200)"
        body="{\"messages\":$messages,\"user\":\"$user\",\"metadata\":{\"id\":\"p$n\"},\"max_tokens\":24,"
        body+="\"temperature\":$temperature,\"seed\":$seed}"
        chat "$body" >reply
        same "as-generate-$name-$n" "$(content <reply)" "$want"
        same "person-$name-$n" "$(grep -io 'X-Prismx-User: [a-z]*' reply | cut -d ' ' -f 2)" \
            "$([ "$user" = nobody ] && echo generic || echo own)"
    done
done <p.jsonl
# The embedding has a say: one's own answer is not the generic one.
ask_as() { chat "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"user\":\"$1\",\"temperature\":0,\"max_tokens\":40}" | content; }
[ "$(ask_as "$who")" != "$(ask_as nobody)" ] && ok own-differs || fail own-differs "own and generic answers are equal"
# An answer of a given form, from random weights, at any temperature and with as many tokens as it takes.
schema() { echo "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"user\":\"$who\",\"temperature\":$1,\"max_tokens\":$2,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"f\",\"schema\":$3}}}"; }
object='{"type":"object","properties":{"say":{"type":"string","minLength":1,"maxLength":9},"mood":{"enum":["good","bad"]},"n":{"type":"integer","minimum":-3,"maximum":12},"ok":{"type":"boolean"},"rank":{"type":"array","items":{"enum":["A","B"]},"uniqueItems":true,"minItems":2,"maxItems":2},"vas":{"type":"object","properties":{"A":{"type":"integer","minimum":0,"maximum":100}}}},"required":["say"]}'
for t in 0 1 9; do
    chat "$(schema $t 120 "$object")" >reply
    content <reply | sed 's/\\"/"/g' | grep -qE '^" ?\{"say": ?".+", ?"mood": ?"(good|bad)", ?"n": ?(-[123]|[0-9]|1[012]), ?"ok": ?(true|false), ?"rank": ?\["(A", ?"B|B", ?"A)"\], ?"vas": ?\{"A": ?(100|[1-9]?[0-9])\}\}"$' &&
        ok "form-$t" || fail "form-$t" "$(content <reply)"
done
grep -q '"finish_reason":"stop"' reply && ok form-ends || fail form-ends "$(tail -n 1 reply | cut -c 1-200)"
same form-too-short "$(chat "$(schema 1 20 "$object")" | status)" 400
chat "$(schema 1 50 '{"type":"object","properties":{"a":{"type":"string","pattern":"x"}}}')" >reply
grep -q 'pattern.*is not known here' reply && ok form-unknown || fail form-unknown "$(tail -n 1 reply)"
same health "$(ask GET /health | tail -n 1)" '{"status":"ok","running":0,"queued":0}'
ask GET /v1/models | grep -q '"id":"run"' && ok models || fail models "no model run"
same not-found "$(ask GET /nowhere | status)" 404
same no-json "$(chat '{' | status)" 400
same another-model "$(chat '{"model":"gpt","messages":[{"role":"user","content":"x"}]}' | status)" 404
chat '{"stream":true,"max_tokens":5,"messages":[{"role":"user","content":"x"}]}' >reply
grep -q '^data: \[DONE\]' reply && ok stream || fail stream "$(tail -n 2 reply)"

# Stopped with a request under way: it is answered, the server ends with 0.
chat '{"max_tokens":400,"ignore_eos":true,"temperature":0,"messages":[{"role":"user","content":"x"}]}' >late &
asker=$!
sleep 0.2
kill -TERM $pid
wait $pid
same stopped-exit $? 0
wait $asker
same stopped-answer "$(status <late)" 200

# A key, and who has none.
export SERVE_TEST_KEY=geheim
start key --model tiny --key-env SERVE_TEST_KEY
body='{"max_tokens":2,"messages":[{"role":"user","content":"x"}]}'
same no-key "$(chat "$body" | status)" 401
same wrong-key "$(chat "$body" 'Authorization: Bearer nein' | status)" 401
chat "$body" 'Authorization: Bearer geheim' >reply
same key "$(status <reply)" 200
same nobody "$(grep -io 'X-Prismx-User: [a-z]*' reply | cut -d ' ' -f 2)" none
refuses port-taken 2 'port '"$port"': Address already in use' "$X" serve --model tiny --port "$port"
kill -INT $pid
wait $pid
same interrupted-exit $? 0
! grep -q geheim key.out key.err && ok key-not-shown || fail key-not-shown "the key is in the log"

refuses no-model 2 '--run or --model is missing' "$X" serve --port 0
refuses no-run 2 'no such run folder' "$X" serve --run nowhere --port 0
refuses no-such-model 2 'nowhere' "$X" serve --model nowhere --port 0
refuses port-wrong 2 'from 0 to 65535' "$X" serve --model tiny --port 65536
refuses host-without-key 2 'an access key is wanted' "$X" serve --model tiny --port 0 --host 0.0.0.0
refuses key-env-unset 2 'is not set' "$X" serve --model tiny --port 0 --key-env SERVE_TEST_NONE
refuses word 2 'is no option' "$X" serve --model tiny now
check help "$X" serve --help
grep -q 'Example:' "$T/out" && ok help-example || fail help-example "no example"
finish
