#!/bin/bash
# verify.sh - a run computed again: the same bits, also in parts and on other ranks; a flipped value, an edited seed, another
# corpus, a person removed; what differs between two runs.
. "$(dirname "$0")/lib.sh"
export PRISMX_PROGRESS_S=1000
cd "$T" || exit 1

"$X" model init --like tiny --seed 1 --out tiny >/dev/null 2>&1 &&
    "$X" synth --users 8 --seed 3 --out data >/dev/null 2>&1 &&
    "$X" prepare --data data --model tiny --out corpus.h5 >/dev/null 2>&1 || {
    fail inputs "cannot be made"
    finish
}
cat >train <<EOF && chmod +x train
#!/bin/bash
out=\$1 && shift
exec "$X" train --config "$ROOT/configs/ppft.json" --corpus corpus.h5 --model tiny --set optim.warmup_steps=0 \\
    --set batch.pairs=6 --set train.epochs=4 --set optim.lr=1e-3 --set checkpoint.every=1 --set checkpoint.keep=5 \\
    --set threads=1 --out "\$out" "\$@"
EOF
# flip FILE DATASET: one byte of the dataset's first value.
flip() {
    local at
    at=$(h5dump -pH -d "$2" "$1" 2>/dev/null | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p')
    [ -n "$at" ] || return 1
    printf '\x55' | dd of="$1" bs=1 seek=$((at + 5)) conv=notrunc 2>/dev/null
}

check train ./train r --set train.steps=3 || finish
for part in onednn onednn_isa compiler features starts hosts reference_sha256 outputs; do
    grep -q "\"$part\"" r/manifest.json || fail "manifest-$part" "not in manifest.json"
done
check honest "$X" verify r
same honest-says-same "$(tail -n 1 "$T/out")" "same: r, steps 1 to 3"
check on-2-ranks-2-steps "$X" verify r --steps 2 --ranks 2
grep -q 'rerun: steps 1 to 2 on 2 ranks' "$T/out" && ok ranks-are-said || fail ranks-are-said "$(tail -n 2 "$T/out")"
check from-a-checkpoint "$X" verify r --from-step 2
same nothing-is-left "$(ls -d r.verify* 2>/dev/null)" ""
(cd data && check from-elsewhere "$X" verify ../r --inputs) # paths of the manifest are relative to where train ran
refuses no-such-checkpoint 2 'from-step 9' "$X" verify r --from-step 9
refuses no-such-run 2 'nowhere: no such run folder' "$X" verify nowhere
refuses no-run-given 2 'a run folder is wanted' "$X" verify

if command -v h5dump >/dev/null; then
    cp -r r flipped
    flip flipped/checkpoints/step-000002.h5 /trainable/lora.0.q_proj.A
    refuses flipped 1 'step 2, lora.0.q_proj.A: 1 of ' "$X" verify flipped --steps 2
    grep -q 'likely reason: the checkpoint of step 2 was damaged' "$T/out" && ok flipped-reason || fail flipped-reason "$(tail -n 1 "$T/out")"
    cp -r r moment # which no checksum covers
    flip moment/checkpoints/step-000002.h5 /optim/v/user.bank
    refuses flipped-moment 1 'step 2, optim/v/user.bank: 1 of ' "$X" verify moment --steps 2
    refuses diff-flipped 1 'first in step 2, lora.0.q_proj.A' "$X" diff r flipped
else
    skip flipped "no h5dump"
fi
cp -r r seeded
sed -i 's/"seed":\([[:space:]]*\)123/"seed":\17/' seeded/manifest.json
refuses changed-seed 1 'seed: manifest.json says 7, config.json says 123' "$X" verify seeded
sed -i 's/"seed":\([[:space:]]*\)123/"seed":\17/' seeded/config.json
refuses changed-seed-twice 1 'seed: manifest.json says 7, the checkpoint says 123' "$X" verify seeded
cp -r r edited
sed -i '2s/"pairs": /"pairs": 1/' edited/metrics.jsonl
refuses edited-metrics 1 'step 2, pairs: 1' "$X" verify edited --steps 2

# Grown after its end: computed in the same two parts, since the rates depend on the number of steps.
cp -r r grown
check grow ./train grown --set train.steps=4 --resume
check grown "$X" verify grown

someone=$("$X" users list --run r 2>/dev/null | awk 'NR == 3 { print $2 }')
cp -r r forgot
check forget "$X" users forget --run forgot --user "$someone"
check forgot "$X" verify forgot

check diff-same "$X" diff r r
./train dpft --set user.model=none --set train.steps=2 >out 2>&1
refuses diff-others 1 'r and dpft differ: first in step 1' "$X" diff r dpft
grep -q 'configuration \* user.model: bank | none' "$T/out" && ok diff-names-key || fail diff-names-key "$(head -n 3 "$T/out")"
"$X" diff --json r dpft >j 2>/dev/null
grep -q '"same": *false' j && ok diff-json || fail diff-json "$(head -n 3 j)"
refuses diff-nothing 2 'nowhere: no such run folder' "$X" diff r nowhere

"$X" synth --users 9 --seed 4 --out data2 >/dev/null 2>&1
mv corpus.h5 kept.h5
refuses missing-corpus 2 'corpus.h5: No such file' "$X" verify r
check corpus-elsewhere "$X" verify r --inputs --corpus kept.h5
"$X" prepare --data data2 --model tiny --out corpus.h5 >/dev/null 2>&1
refuses changed-corpus 2 'corpus.h5: the corpus is not the one of the run' "$X" verify r
refuses changed-corpus-inputs 2 'corpus.h5: the corpus is not the one of the run' "$X" verify r --inputs
finish
