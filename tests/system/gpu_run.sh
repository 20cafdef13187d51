#!/bin/bash
# gpu_run.sh - tests/gpu/run.sh, which nobody will be there to mend: all its steps with device cpu and no real card, so that
# every part passes and every number is there, in the report too.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
unit=$(dirname "$X")/tests/unit
[ -x "$unit/test_head" ] || { skip gpu-run "the tests are not built" && finish; }
mkdir card packed
cat >card/nvidia-smi <<'CARD'
#!/bin/sh
case "$*" in
-L) echo "GPU 0: none" ;;
*memory.used*) echo 500 ;;
*) echo "none, 0" ;;
esac
CARD
printf '#!/bin/sh\nexec "$@"\n' >packed/with
printf '#!/bin/sh\nexec "%s" "$@"\n' "$X" >packed/prismx
ln -s "$unit" packed/tests
chmod +x card/nvidia-smi packed/with packed/prismx
export PATH=$PWD/card:$PATH PX_GPU_DEVICE=cpu PX_GPU_TOKENS=8 PX_GPU_PEOPLE=8
run=$ROOT/tests/gpu/run.sh

check all-steps "$run" --packed packed --report report.md ops tiny tiny-all || tail -n 20 out
grep -q '^21 passed, 0 failed$' out && ok parts || fail parts "$(tail -n 1 out)"
for what in 'tokens/s' 'pairs/s' 'peak memory' 'as fast as without --profile' 'every operation waited for' \
    '64 at once, graphs true' '1 at once, graphs false' 'q8_0, 64 at once' 'q4_1, 64 at once'; do
    grep -qE "^\\| .*$what.* \\| [0-9]" report.md && ok "number-$what" || fail "number-$what" "not in the report"
done
# What fails is named, its words are kept, and the rest goes on.
sed -i 's/^\*memory.used.*/*memory.used*) ;;/' card/nvidia-smi
ends_in_1() { # NAME COMMAND...
    "${@:2}" >out 2>err </dev/null
    same "$1" $? 1
}
ends_in_1 a-number-is-missing "$run" --packed packed --report second.md tiny-train
grep -q 'FAILED: no number: peak memory' second.md && grep -q 'every operation waited for' second.md && ok the-rest-goes-on ||
    fail the-rest-goes-on "$(cat second.md)"
printf '#!/bin/sh\n[ "$1" != train ] || { echo "error: on purpose" >&2; exit 1; }\nexec "%s" "$@"\n' "$X" >packed/prismx
ends_in_1 a-part-fails "$run" --packed packed --report third.md tiny
grep -q 'FAILED: train-cuda' third.md && grep -q 'on purpose' third.md.log && ok named || fail named "$(cat third.md)"
refuses unknown-step 2 'unknown option or step llama' "$run" --packed packed llama
PATH=/usr/bin:/bin
command -v nvidia-smi >/dev/null || refuses no-card 2 'no GPU' "$run" --packed packed ops
finish
