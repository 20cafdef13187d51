#!/bin/bash
# simt.sh - a whole tiny training with the GPU's kernels, run on the CPU (device simt): the CPU's numbers to 1e-4 in f32,
# the same bits on 1, 2 and 3 ranks, whose gradients NCCL's stand-in sums, a rank that fails there named, answers and
# evaluation; and what a build without GPUs says to device cuda.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

"$X" model init --like tiny --seed 1 --out tiny >/dev/null 2>&1 &&
    "$X" synth --users 40 --seed 3 --out data >/dev/null 2>&1 &&
    "$X" prepare --data data --model tiny --out corpus.h5 --set data.max_tokens=240 >/dev/null 2>&1 || {
    fail inputs "cannot be made"
    finish
}
sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$1/manifest.json" | head -n 1; }
config=(--config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --set precision=f32 --set optim.warmup_steps=0
    --set batch.pairs=3 --set batch.slot_tokens=256 --set train.steps=2 --set optim.lr=1e-3 --set threads=1)
check cpu "$X" train "${config[@]}" --out cpu || finish
if ! "$X" train "${config[@]}" --set device=simt --out simt >"$T/out" 2>"$T/err" </dev/null; then
    grep -q 'not in this build' "$T/err" && skip simt "the build is one without tests" && finish
    fail simt "$(tail -n 1 "$T/err")"
    finish
fi
ok simt
# Losses, log-probabilities and the gradient's norm of each step, within 1e-4 (1 + |x|): what is not, of two runs.
apart() { paste -d '\n' "$1/metrics.jsonl" "$2/metrics.jsonl" | awk -v n=0 '
    { for (i = split($0, part, /[,{}]/); i > 0; i--)
        if (split(part[i], kv, /": /) == 2 && kv[1] ~ /loss|logps|rewards|grad_norm/) {
            gsub(/[ "]/, "", kv[1])
            if (NR % 2) want[kv[1]] = kv[2]
            else {
                n++
                d = kv[2] - want[kv[1]]
                w = want[kv[1]]
                if (d < 0) d = -d
                if (w < 0) w = -w
                if (d > 1e-4 * (1 + w)) print kv[1], kv[2], want[kv[1]]
            }
        }
    }
    END { if (n < 8) print "only", n, "numbers" }'; }
same simt-is-the-cpu-to-1e-4 "$(apart cpu simt)" ""
[ "$(sha simt)" != "$(sha cpu)" ] && ok simt-is-no-cpu || fail simt-is-no-cpu "the same bits: was it another device at all?"
# Sums between ranks go in several parts (by default one would hold this model), beside the last slot or after it; with
# simt's side stream held back, and its main one: kernels that do not wait for sums, and sums that do not wait for kernels, would
# have other bits.
begun() { sed -n 's/.*sums between GPUs: \([0-9]*\) of \([0-9]*\) while the last slot computed.*/\1 \2/p' "$T/err" | sort | tail -n 1; }
for n in 2 3; do
    check "simt-$n-ranks" env PRISMX_LOG=debug mpirun -n $n "$X" train "${config[@]}" --set device=simt --set comm.bucket_mb=0.05 --out "r$n"
    same "simt-same-bits-$n" "$(sha "r$n")" "$(sha simt)"
    same "simt-beside-$n" "$(begun | awk '{ print ($2 > 5 && $1 >= $2 - 3) ? "most" : $0 }')" most
done
same simt-registered "$(grep -c "sums' memory is registered" "$T/err")" 3
check simt-after env PRISMX_LOG=debug mpirun -n 3 "$X" train "${config[@]}" --set device=simt --set comm.bucket_mb=0.05 \
    --set comm.overlap=false --out r3-after
same simt-after-bits "$(sha r3-after)" "$(sha simt)"
same simt-after-begun "$(begun | cut -d ' ' -f 1)" 0
check simt-held env PX_SIMT_HOLD=main PX_SIMT_REGISTER=1 PRISMX_LOG=debug mpirun -n 2 "$X" train "${config[@]}" --set device=simt \
    --set comm.bucket_mb=0.05 --out r2-held
same simt-held-bits "$(sha r2-held)" "$(sha simt)"
same simt-not-registered "$(grep -c "sums' memory is registered" "$T/err")" 0
# Full fine-tuning: values, moments and gradients stay on the card. More than a checkpoint (1.5 MB) and what slots are
# made of would be gradients or values that go over in a step; a run that stops and goes on has them back.
full=("${config[@]}" --set full_finetune=true --set lora.r=0 --set train.epochs=2 --set optim.weight_decay=0.1 --set optim.lr=2e-5)
check full-cpu "$X" train "${full[@]}" --out full-cpu
check full-simt "$X" train "${full[@]}" --set device=simt --out full-simt --profile
same full-steps "$(grep -c . full-simt/metrics.jsonl)" 2
same full-is-the-cpu-to-1e-4 "$(apart full-cpu full-simt)" ""
same full-stays-there "$(sed -n 's/^copied: \([0-9.]*\) MB to the device, \([0-9.]*\) MB to the host$/\1 \2/p' "$T/out" |
    awk '{ print $1 < 3.5 && $2 < 2 ? "little" : $0 }')" little
for n in 2 3; do
    check "full-$n-ranks" mpirun -n $n "$X" train "${full[@]}" --set device=simt --set comm.bucket_mb=0.2 --out "f$n"
    same "full-same-bits-$n" "$(sha "f$n")" "$(sha full-simt)"
done
check full-held env PX_SIMT_HOLD=main mpirun -n 2 "$X" train "${full[@]}" --set device=simt --set comm.bucket_mb=0.2 --out f2-held
same full-held-bits "$(sha f2-held)" "$(sha full-simt)"
check full-after mpirun -n 2 "$X" train "${full[@]}" --set device=simt --set comm.overlap=false --out f2-after
same full-after-bits "$(sha f2-after)" "$(sha full-simt)"
refuses full-stops 3 'stop-after' "$X" train "${full[@]}" --set device=simt --out full-resumed --stop-after 1
check full-resumes "$X" train "${full[@]}" --set device=simt --out full-resumed --resume
same full-resumed-bits "$(sha full-resumed)" "$(sha full-simt)"
check full-bf16-cpu "$X" train "${full[@]}" --set precision=bf16 --set train.epochs=1 --out full-bf16-cpu
check full-bf16 "$X" train "${full[@]}" --set precision=bf16 --set train.epochs=1 --set device=simt --out full-bf16
near=$(tail -qn 1 full-bf16-cpu/metrics.jsonl full-bf16/metrics.jsonl | sed -n 's/.*"loss": \([^,]*\),.*/\1/p' |
    awk '{ v[NR] = $1 } END { d = (v[1] - v[2]) / v[1]; print NR == 2 && d * d < 0.01 ? "near" : v[1] " " v[2] }')
same full-bf16-is-near "$near" near
# A failure that no rank can agree on, and a rank that stands still: it is named, and all end.
refuses nccl-fault 1 'rank 1 on .*: reduce, step 1: nccl: failure injected' env PX_FAULT=nccl:1 \
    mpirun -n 2 "$X" train "${config[@]}" --set device=simt --set train.steps=1 --out fault
LIMIT=120 refuses nccl-hang 1 'rank 0 on .*no progress for [0-9]+ s .*in reduce, step 1.*rank 1 on .* has not been heard of' \
    env PX_FAULT=nccl-hang:1 mpirun -n 2 "$X" train "${config[@]}" --set device=simt --set train.steps=1 --set comm.timeout_s=20 --out hang
# The same in the midst of the last slot, with part of its sums under way; and a failure that ranks agree on, before any sum and
# after some: the others' sums, which want that rank's part, come to their end.
beside=("$X" train "${config[@]}" --set device=simt --set train.steps=1 --set comm.bucket_mb=0.05)
refuses sum-fault 1 'rank 1 on .*: slot, step 1: nccl-sum: failure injected' env PX_FAULT=nccl-sum:1 mpirun -n 2 "${beside[@]}" --out sum-fault
LIMIT=120 refuses sum-hang 1 'rank 0 on .*no progress for [0-9]+ s .*step 1.*rank 1 on .* has not been heard of' \
    env PX_FAULT=nccl-sum-hang:1 mpirun -n 2 "${beside[@]}" --set comm.timeout_s=12 --out sum-hang
for phase in step slot; do
    refuses "$phase-fault" 1 "^error: training: rank 1: $phase: failure injected" env PX_FAULT=$phase:1 mpirun -n 3 "${beside[@]}" --out "$phase-fault"
done
# Sums to rounding: the loss of the second step, and the gradient's norm, near the exact run's; other bits.
norm() { tail -n 1 "$1/metrics.jsonl" | sed -n 's/.*"grad_norm": \([^,}]*\).*/\1/p'; }
for kind in fast:1e-5 fast_bf16:1e-2; do
    how=${kind%:*}
    check "simt-$how" mpirun -n 2 "$X" train "${full[@]}" --set device=simt --set comm.bucket_mb=0.2 --set comm.reduce="$how" --out "$how"
    near=$(awk -v a="$(norm full-simt)" -v b="$(norm "$how")" -v most="${kind#*:}" \
        'BEGIN { d = (a - b) / a; print (d < most && -d < most && a > 0 && b > 0) ? "near" : a " " b }')
    same "simt-$how-is-near" "$near" near
    [ "$(norm "$how")" != "$(norm full-simt)" ] && ok "simt-$how-bits" || fail "simt-$how-bits" "those of the exact sums: was it summed so at all?"
done
[ "$(norm fast)" != "$(norm fast_bf16)" ] && ok fast-is-not-bf16 || fail fast-is-not-bf16 "the same bits"
refuses fast-bf16-is-for-gpus 2 'fast_bf16 is for GPUs' "$X" train "${config[@]}" --set comm.reduce=fast_bf16 --out none
check recompute-simt "$X" train "${config[@]}" --set device=simt --set train.recompute=true --out recompute-simt
same recompute-simt-bits "$(sha recompute-simt)" "$(sha simt)"
# Of five layers, the lower three alone.
check five-layers "$X" model init --like tiny --layers 5 --seed 1 --out five
five=("${config[@]}" --model five --set train.steps=1)
check five-simt "$X" train "${five[@]}" --set device=simt --out five-simt
for layers in 3 5; do
    check "recompute-$layers" "$X" train "${five[@]}" --set device=simt --set train.recompute=true --set train.recompute_layers=$layers --out "recompute-$layers"
    same "recompute-$layers-bits" "$(sha "recompute-$layers")" "$(sha five-simt)"
done
check recompute-cpu "$X" train "${config[@]}" --set train.recompute=true --out recompute-cpu
same recompute-cpu-bits "$(sha recompute-cpu)" "$(sha cpu)"
# Weights in 8 bits: the loss is near bf16's, on both devices.
loss() { sed -n 's/.*"loss": \([^,]*\),.*/\1/p' "$1/metrics.jsonl" | head -n 1; }
bf16=("${config[@]}" --set train.steps=1 --set precision=bf16)
check bf16-cpu "$X" train "${bf16[@]}" --out bf16-cpu
for device in cpu simt; do
    check "q8-$device" "$X" train "${bf16[@]}" --set precision=q8_0 --set device=$device --out "q8-$device"
    near=$(awk -v a="$(loss "q8-$device")" -v b="$(loss bf16-cpu)" 'BEGIN { d = (a - b) / b; print d * d < 0.01 && a != b ? "near" : a " " b }')
    same "q8-$device-is-near" "$near" near
done
# The card's memory: taken once, at the start, and what plan says of it is what the runs held, in use but for a little.
number() { sed -n "s/.*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p" "$2" | head -n 1; }
planned() { # RUN OPTION...: of plan's device memory
    local run=$1
    shift
    check "plan-$run" "$X" plan "$@" --set device=simt --rates none.json --json
    awk -v p="$(number device_memory_bytes "$T/out")" -v held="$(number device_peak_memory_bytes "$run/manifest.json")" \
        -v used="$(number device_used_memory_bytes "$run/manifest.json")" -v card="$(number device_card_memory_used_bytes "$run/manifest.json")" \
        'BEGIN { exit !(used > 0 && p >= held && p < 1.15 * used && card == held) }' && ok "planned-$run" ||
        fail "planned-$run" "$(number device_memory_bytes "$T/out") planned; $(grep device_ "$run/manifest.json")"
    same "once-$run" "$(number device_allocations "$run/manifest.json")" "${pieces:-1}"
}
planned simt "${config[@]}"
pieces=2 planned r2 "${config[@]}" --ranks 2 --set comm.bucket_mb=0.05 # the other is for sums
planned full-simt "${full[@]}"
planned recompute-simt "${config[@]}" --set train.recompute=true
planned recompute-3 "${five[@]}" --set train.recompute=true --set train.recompute_layers=3
planned q8-simt "${bf16[@]}" --set precision=q8_0
# A card that is too small: what is wanted, what there is, and keys under which it would do.
refuses card-too-small 2 'activations .*; train.recompute=true would fit; precision=bf16 would fit: 0.008 GB of GPU 0.s memory are wanted, and it has 0.007 GB' \
    env PX_SIMT_MEMORY=6900000 "$X" train "${config[@]}" --set device=simt --out none
# Where time goes: a line an operation and one for all.
for device in cpu simt; do
    check "profile-$device" "$X" train "${config[@]}" --set device=$device --set train.steps=1 --profile --out "profile-$device"
    lines=$(grep -cE '^(linear|attention_backward|exact_add|sum_squares|all) +([0-9]+ +)?[0-9.]+ +[0-9.]+ %' "$T/out")
    same "profile-$device-lines" "$lines" "$([ $device = cpu ] && echo 4 || echo 5)"
done
# What only scores takes its memory in one piece, too.
in_one_piece() { # NAME COMMAND...
    local name=$1
    shift
    check "$name" env PRISMX_LOG=debug "$@"
    same "$name-in-one-piece" "$(cat "$T/out" "$T/err" | grep -o 'GPU memory: a region of\|no room in the region' | sort -u)" "GPU memory: a region of"
}
in_one_piece simt-eval "$X" eval --run simt --corpus corpus.h5 --split all --out eval.h5 --set threads=1
for precision in f32 bf16 q8_0; do
    mkdir "refs-$precision"
    in_one_piece "simt-reference-$precision" "$X" reference --corpus corpus.h5 --model tiny --set threads=1 --set device=simt \
        --set precision=$precision --set reference.cache="refs-$precision"
done
printf '{"id":"a","messages":[{"role":"user","content":"Hello"}]}\n' >prompts.jsonl
check simt-generate "$X" generate --run simt --prompts prompts.jsonl --out answers.jsonl --max-new-tokens 4 --set threads=1
# The cache, weights and all else in one piece, of which less than 15 % is never used.
check generate-memory "$X" generate --run simt --prompts prompts.jsonl --out memory.jsonl --max-new-tokens 4 --set threads=1 --set device=simt --profile
same generate-once "$(sed -n 's/^device memory: \([0-9.]*\) GB held at most, \([0-9.]*\) GB of it used.*asked for \([0-9]*\) times$/\1 \2 \3/p' "$T/out" |
    awk '{ print ($3 == 1 && $2 > 0 && $1 < 1.15 * $2) ? "once" : $0 }')" once
held=$(sed -n 's/^device memory: \([0-9.]*\) GB held at most, \([0-9.]*\) GB of it used.*/\1 \2/p' "$T/out")
check generate-plan "$X" plan --for generate --like tiny "${config[@]}" --set device=simt --rates none.json --json
same generate-planned "$(awk -v p="$(number device_memory_bytes "$T/out")" -v held="$held" \
    'BEGIN { split(held, h, " "); print (p >= 1e9 * h[1] - 1000 && p < 1.15e9 * h[2]) ? "as planned" : p " " held }')" "as planned"
refuses generate-too-small 2 'weights .*cache .*generate.cache_tokens.* GB of GPU 0.s memory are wanted, and it has 0.005 GB' \
    env PX_SIMT_MEMORY=5000000 "$X" generate --run simt --prompts prompts.jsonl --out none.jsonl --set threads=1 --set device=simt
# Weights in 8 and 4 bits, read as such: an answer does not depend on what is computed beside it.
for id in b c; do sed "s/\"a\"/\"$id\"/;s/Hello/Hello $id/" prompts.jsonl; done >more.jsonl
cat prompts.jsonl >>more.jsonl
for bits in q8_0 q4_1; do
    for batch in 1 3; do
        check "generate-$bits-$batch" "$X" generate --model tiny --prompts more.jsonl --out "$bits-$batch.jsonl" --temperature 0 \
            --max-new-tokens 3 --set threads=1 --set device=simt --set precision=$bits --batch $batch
    done
    same "generate-$bits-same" "$(cat $bits-3.jsonl)" "$(cat $bits-1.jsonl)"
done
# Steps replayed from CUDA graphs, launched one operation at a time, and timed, which says that there are no graphs.
graphs=("$X" generate --prompts more.jsonl --temperature 0.7 --max-new-tokens 8 --set threads=1 --set device=simt --batch 2)
check generate-graphs env PRISMX_LOG=debug "${graphs[@]}" --model tiny --out graphs.jsonl
same generate-graphs-replayed "$(grep -cE 'steps: [1-9][0-9]* by [1-9][0-9]* CUDA graphs' "$T/err")" 1
check generate-no-graphs env PRISMX_LOG=debug "${graphs[@]}" --model tiny --out plain.jsonl --set generate.graphs=false
same generate-no-graphs-replayed "$(grep -c 'steps: 0 by 0 CUDA graphs' "$T/err")" 1
same generate-graphs-same "$(cat graphs.jsonl)" "$(cat plain.jsonl)"
# What the host leaves in pinned memory is read as late as may be: is it still there?
check generate-held env PX_SIMT_HOLD=main "${graphs[@]}" --model tiny --out held.jsonl
same generate-held-same "$(cat held.jsonl)" "$(cat plain.jsonl)"
check generate-graphs-run "${graphs[@]}" --run simt --out run-graphs.jsonl
check generate-no-graphs-run "${graphs[@]}" --run simt --out run-plain.jsonl --profile --set generate.graphs=false
same generate-graphs-run-same "$(cat run-graphs.jsonl)" "$(cat run-plain.jsonl)"
# With adapters in bf16, on tensor cores: in any company, in steps of other sizes.
for batch in 1 3; do
    check generate-bf16-run-$batch "${graphs[@]}" --run simt --out bf16-run-$batch.jsonl --set precision=bf16 --batch $batch
done
same generate-bf16-run-same "$(cat bf16-run-3.jsonl)" "$(cat bf16-run-1.jsonl)"
check generate-profile "${graphs[@]}" --model tiny --out timed.jsonl --profile
same generate-profile-says "$(grep -c 'steps without CUDA graphs' "$T/out")" 1
# Tokens are chosen from what the card picks of its logits, of which a greedy one needs 24 bytes; with log-probabilities
# the logits come over. The tokens are the same.
by() { sed -n 's/.*tokens: \([0-9]*\) by what the GPU picked, \([0-9]*\) by logits, \([0-9]*\) by .*/\1 \2 \3/p' "$T/err"; }
answers() { sed 's/,"logprobs":.*//;s/}$//' "$1"; }
while read -r name options; do
    chosen=("$X" generate --model tiny --prompts more.jsonl --max-new-tokens 8 --set threads=1 --set device=simt $options)
    check picks-$name-1 env PRISMX_LOG=debug "${chosen[@]}" --out picks-1.jsonl --batch 1 --overwrite --set generate.graphs=false
    same picks-$name-picked "$(by | awk '{ print ($1 > 8 * $3 && $2 == 0) ? "picked" : $0 }')" picked
    check picks-$name-3 "${chosen[@]}" --out picks-3.jsonl --batch 3 --overwrite --profile
    same picks-$name-bytes "$(sed -n 's/^copied: .* MB to the device, \([0-9.]*\) MB to the host$/\1/p' "$T/out" |
        awk -v most="$([ $name = greedy ] && echo 0.0006 || echo 1)" '{ print ($1 <= most) ? "few" : $1 }')" few
    check picks-$name-logits env PRISMX_LOG=debug "${chosen[@]}" --out picks-logits.jsonl --batch 3 --overwrite --set generate.logprobs=1
    same picks-$name-by-logits "$(by | awk '{ print ($1 == 0 && $2 > 8 && $3 == 0) ? "logits" : $0 }')" logits
    same picks-$name-same "$(answers picks-3.jsonl)$(answers picks-logits.jsonl)" "$(answers picks-1.jsonl)$(answers picks-1.jsonl)"
done <<'END'
greedy --temperature 0
sampled --temperature 1
cut --temperature 0.8 --set generate.top_k=30 --set generate.top_p=0.9 --set generate.min_p=0.01
changed --temperature 0.9 --set generate.top_p=0.95 --set generate.repetition_penalty=1.3 --set generate.no_repeat_ngram=2 --set generate.min_new_tokens=4
END
# More tokens than a list holds (the tiny model has as many): some are drawn from it; from a flat distribution none can be,
# and from the fourth on logits come at once.
check wide-init "$X" model init --like smollm2-135m --layers 1 --seed 1 --out wide
cp tiny/tokenizer*.json wide
wide=("$X" generate --model wide --prompts prompts.jsonl --set threads=1 --set device=simt --overwrite)
for kind in flat:1:5 list:0.1:3; do
    IFS=: read -r name temperature n <<<"$kind"
    check wide-$name env PRISMX_LOG=debug "${wide[@]}" --out wide.jsonl --temperature $temperature --max-new-tokens $n
    same wide-$name-by "$(by)" "$([ $name = flat ] && echo 0 2 3 || echo 3 0 0)"
    check wide-$name-logits "${wide[@]}" --out wide-logits.jsonl --temperature $temperature --max-new-tokens $n --set generate.logprobs=1
    same wide-$name-same "$(answers wide-logits.jsonl)" "$(answers wide.jsonl)"
done
refuses cuda-is-not-here 2 'device "cuda" is not in this build.*|no GPU' "$X" train "${config[@]}" --set device=cuda --out none
finish
