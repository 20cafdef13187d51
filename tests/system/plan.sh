#!/bin/bash
# plan.sh - prismx plan as a user sees it: rates measured and kept, counts that training then has, memory near what
# it takes, what cannot fit refused with the key to change, scaling curves, wrong usage. No time is compared.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$T/cache
cd "$T" || exit 1

check model "$X" model init --like tiny --seed 1 --out tiny || finish
check synth "$X" synth --users 6 --seed 3 --out data || finish
check prepare "$X" prepare --data data --model tiny --out c.h5 || finish
rates=(--rates "$T/rates.json")
config=(--config "$ROOT/configs/ppft.json" --corpus c.h5 --model tiny --set optim.warmup_steps=0 --set batch.pairs=8
    --set batch.slot_tokens=700 --set train.steps=3 --set threads=1)
value() { sed -n "s/.*\"$1\": *\([-0-9.e+]*\).*/\1/p" "$2" | head -n 1; }

check unmeasured "$X" plan "${rates[@]}" "${config[@]}"
grep -q 'a guess: nothing was measured' out && ok says-guess || fail says-guess "$(grep time out)"
refuses ranks-before-one 2 'calibrate first' mpirun -n 2 "$X" plan --calibrate "${rates[@]}"
check calibrate "$X" plan --calibrate --like tiny "${rates[@]}"
same calibrate-path "$(cat out)" "$T/rates.json"
check calibrate-ranks mpirun -n 2 "$X" plan --calibrate "${rates[@]}"
grep -q '"ranks": 2' rates.json && ok keeps-ranks || fail keeps-ranks "$(tail -n 2 rates.json)"
check calibrate-again "$X" plan --calibrate --like tiny "${rates[@]}" --set device=simt
grep -q '"ranks": 2' rates.json && ok again-keeps-ranks || fail again-keeps-ranks "$(tail -n 2 rates.json)"
grep -q '"gpu": {"name": "simt", "device": "simt", "bf16_peak": [1-9]' rates.json && ok calibrate-gpu || fail calibrate-gpu "$(tail -n 1 rates.json)"
same leaves-nothing "$(find . -name '.prismx-plan*')" ""

for n in 1 2; do
    check "plan-$n" "$X" plan "${rates[@]}" "${config[@]}" --ranks "$n" --json
    cp out plan.json
    check "train-$n" mpirun -n "$n" "$X" train "${config[@]}" --out "run$n"
    same "steps-$n" "$(value steps plan.json)" "$(wc -l <"run$n/metrics.jsonl")"
    same "tokens-$n" "$(value tokens plan.json)" "$(tail -n 1 "run$n/metrics.jsonl" | sed 's/.*"num_tokens": \([0-9]*\).*/\1/')"
    awk -v m="$(value memory_bytes plan.json)" -v seen="$(value peak_memory_bytes "run$n/manifest.json")" \
        'BEGIN { exit !(m > 0.6 * seen && m < 1.6 * seen) }' && ok "memory-$n" ||
        fail "memory-$n" "$(value memory_bytes plan.json) planned, $(value peak_memory_bytes "run$n/manifest.json") seen"
done

big=(--config "$ROOT/configs/ppft.json" --like llama-3.1-8b "${rates[@]}")
check large "$X" plan "${big[@]}" --ranks 4 --threads 32 --cores 128 --memory 2T --disk 1T
refuses memory 2 'does not fit: a rank needs .* GB.*--ranks [0-9]+ with --threads' "$X" plan "${big[@]}" --ranks 4 --memory 150G --disk 1T
refuses memory-slots 2 'batch.slot_tokens=[0-9]+ would fit' "$X" plan --like smollm2-135m "${rates[@]}" \
    --set batch.unit=pair --set batch.slot_tokens=65536 --memory 2G --disk 1T
refuses memory-full 2 'full_finetune=false' "$X" plan "${big[@]}" --memory 100G --disk 1T --set full_finetune=true --set lora.r=0
refuses disk 2 'checkpoint.keep' "$X" plan "${big[@]}" --memory 2T --disk 100M

# A GPU's memory, on a machine without one: 8B with adapters, by arithmetic 15.0 GB of weights, the token table not among them, and 12.3 of kept activations.
gpu=("${big[@]}" --memory 2T --disk 1T --set device=cuda --set batch.slot_tokens=4096)
check gpu "$X" plan "${gpu[@]}" --json
same gpu-memory "$(awk -v m="$(value device_memory_bytes out)" -v w="$(value device_memory_weights out)" -v h="$(value memory_bytes out)" \
    'BEGIN { print (m > 28e9 && m < 30e9 && w > 14.96e9 && w < 15.1e9 && h < 4e9) ? "as expected" : m " " w " " h }')" "as expected"
same gpu-no-time "$(grep -o '"time_s": [a-z0-9.]*' out)" '"time_s": null'
check gpu-lines "$X" plan "${gpu[@]}" --device-memory 40G
grep -q '^GPU memory  29.*weights 15.01.*allowance' out && grep -q 'time        not predicted: --card NAME' out && ok gpu-text || fail gpu-text "$(cat out)"
refuses gpu-small 2 'needs 29.* GB of its GPU.s memory, and there are 24.00 GB; train.recompute=true with train.recompute_layers=[12][0-9] would fit; .*precision=q8_0 would fit' \
    "$X" plan "${gpu[@]}" --device-memory 24G
refuses gpu-smaller 2 '12.00 GB; train.recompute=true with precision=q4_1 would fit' "$X" plan "${gpu[@]}" --device-memory 12G
refuses gpu-full 2 'full_finetune=false with lora.r=8 would fit' "$X" plan "${gpu[@]}" --device-memory 80G --set full_finetune=true --set lora.r=0
refuses gpu-none 2 'device is cpu' "$X" plan "${big[@]}" --memory 2T --disk 1T --device-memory 24G
# Times by a data sheet, which is said, or as measured; the same bytes each time.
check gpu-card "$X" plan "${gpu[@]}" --card h100 --json
cp out card.json
same gpu-card-times "$(awk -v t="$(value time_s out)" -v s="$(value step_s out)" -v n="$(value steps out)" -v p="$(value peak_share out)" \
    'BEGIN { print (t > s * n && s > 0 && p > 0.2 && p < 0.7) ? "as expected" : t " " s " " n " " p }')" "as expected"
same gpu-card-says "$(grep -o '"core_s": null\|"gpu": "h100", "gpu_measured": false' out | tr '\n' ' ')" '"core_s": null "gpu": "h100", "gpu_measured": false '
check gpu-card-again "$X" plan "${gpu[@]}" --card h100 --json
same gpu-card-same "$(cat out)" "$(cat card.json)"
check gpu-card-lines "$X" plan "${gpu[@]}" --card h100 --operations
same gpu-card-text "$(grep -c '^rates       by the data sheet of h100 .*not measured\|^speed  .*pairs/s.*% of 989.4 TFLOP/s\|^linear  .*products$\|^lora_up  .*bytes$' out)" 4
check gpu-measured "$X" plan "${rates[@]}" "${config[@]}" --set device=simt
grep -q '^rates       by rates measured on simt' out && grep -q '^time  .* steps [0-9]' out && ok gpu-measured-text || fail gpu-measured-text "$(cat out)"
# What generation holds and how long a step takes: by arithmetic 15.0 GB of weights and, of 64 answers at 1,024 positions, 8.6 GB of keys and values: 8 ms at 2.95 TB/s.
answers=(--for generate --like llama-3.1-8b "${rates[@]}" --set device=cuda --set generate.batch=64)
check generate "$X" plan "${answers[@]}" --card h100 --positions 1024 --json
same generate-numbers "$(awk -v m="$(value device_memory_cache out)" -v s="$(value step_s out)" -v t="$(value tokens_per_s out)" \
    'BEGIN { print (m > 17.72e9 && m < 17.73e9 && s > 8e-3 && s < 10e-3 && t * s > 63.9 && t * s < 64.1) ? "as expected" : m " " s " " t }')" "as expected"
check generate-lines "$X" plan "${answers[@]}" --device-memory 80G
same generate-text "$(grep -c '^answers     64 at once\|^GPU memory .*keys and values 17.7.*allowance)$\|^at most     generate.batch 2[0-9]* in 80.00 GB$\|^time        not predicted' out)" 4
refuses generate-small 2 'generate needs 33.* GB .*there are 24.00 GB; generate.batch=[23][0-9] would fit; generate.cache_tokens=[0-9]* would fit' \
    "$X" plan "${answers[@]}" --device-memory 24G
refuses serve-small 2 'serve needs .*precision=q4_1 with generate.batch=[0-9]* would fit' "$X" plan "${answers[@]}" --for serve --device-memory 12G
refuses eval-small 2 'eval needs .*precision=q8_0 would fit' "$X" plan --for eval --like llama-3.1-8b "${rates[@]}" --set device=cuda --device-memory 12G
refuses no-card 2 'no data sheet of that name; there are: h100, .*calibrate' "$X" plan "${gpu[@]}" --card voodoo2
refuses card-of-cpu 2 'card h100 is of a GPU, and device is cpu' "$X" plan --like tiny "${rates[@]}" --card h100
refuses operations-of-cpu 2 'operations is of a GPU' "$X" plan --like tiny "${rates[@]}" --operations
refuses generate-of-cpu 2 'for generate, serve and eval is of a GPU' "$X" plan --like tiny "${rates[@]}" --for generate
refuses bad-for 2 'train, generate, serve or eval is wanted' "$X" plan --like tiny "${rates[@]}" --for sleep
refuses bad-device-memory 2 'such as 64G' "$X" plan "${gpu[@]}" --device-memory -3
refuses gpu-scale 2 'rates of processors alone' "$X" plan "${gpu[@]}" --scale 1..4

check scale "$X" plan "${big[@]}" --scale 1..64
grep -q '^# a model, not a measurement' out && ok scale-says-model || fail scale-says-model "$(head -n 1 out)"
same scale-rows "$(grep -c '^strong\|^weak' out)" 14
check scale-figure "$X" plan "${big[@]}" --scale 1..1024 --bandwidth 1G --latency 20 --out s.svg
grep -q 'a model, not a measurement: .* 1 GB/s and 20 us' s.svg && grep -q '</svg>' s.svg && ok scale-svg || fail scale-svg "$(head -c 300 s.svg)"

echo '{"format": 1}' >bad.json
refuses bad-rates 2 'calibrate measures them anew.*bad.json' "$X" plan --like tiny --rates bad.json
refuses no-model 2 'model PATH or --like NAME is missing' "$X" plan
refuses no-shape 2 'there are: tiny' "$X" plan --like small
refuses no-corpus 2 'nothing.h5' "$X" plan --like tiny --corpus nothing.h5
refuses bad-scale 2 'such as 1..1024' "$X" plan --like tiny --scale 8
refuses bad-memory 2 'such as 64G' "$X" plan --like tiny --memory lots
refuses machines 2 'at most one a rank' "$X" plan --like tiny --machines 3
refuses full-and-lora 2 'set lora.r to 0' "$X" plan --like tiny --set full_finetune=true
finish
