#!/bin/bash
# run.sh: what shows that prismx works on this machine's GPU: builds (cmake --preset cuda), every operation against the float64
# reference, the same under compute-sanitizer, a tiny training against the CPU. The last line says how
# many parts passed. It has not run yet: it was written on a machine without a GPU.
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
cd "$ROOT" || exit 1
command -v nvidia-smi >/dev/null && nvidia-smi -L || DIE_CODE=2 die "no GPU: nvidia-smi lists none"
mpi_environment
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
passed=0 failed=0
part() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$T/log" 2>&1; then
        passed=$((passed + 1)) && echo "ok $name"
    else
        failed=$((failed + 1)) && echo "fail $name" && tail -n 15 "$T/log"
    fi
}
jobs/install.sh --tests --cuda || exit
cmake --preset cuda && cmake --build --preset cuda -j "$(n_cores)" || exit
X=build-cuda/prismx
part operations ctest --test-dir build-cuda -L gpu --output-on-failure
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
        for test in ops_rows ops_layers ops_lora ops_linear attention head cached; do
            part "$tool-$test" env PX_TEST_BACKEND=cuda compute-sanitizer --tool "$tool" --error-exitcode 9 \
                "build-cuda/tests/unit/test_$test"
        done
    done
fi
"$X" model init --like tiny --seed 1 --out "$T/tiny" && "$X" synth --users 8 --seed 3 --out "$T/data" &&
    "$X" prepare --data "$T/data" --model "$T/tiny" --out "$T/corpus.h5" || exit
train() { # DEVICE OUT
    "$X" train --config configs/ppft.json --corpus "$T/corpus.h5" --model "$T/tiny" --set precision=f32 \
        --set optim.warmup_steps=0 --set batch.pairs=6 --set train.steps=4 --set optim.lr=1e-3 --set device="$1" --out "$T/$2"
}
sha() { sed -n 's/.*"params_sha256":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "$T/$1/manifest.json" | head -n 1; }
part train-cpu train cpu cpu
part train-cuda train cuda cuda
part train-cuda-again train cuda again
part same-bits-again [ "$(sha cuda)" = "$(sha again)" ]
echo "losses, CPU and GPU:"
for run in cpu cuda; do sed -n 's/.*"loss": \([^,]*\),.*/'$run' \1/p' "$T/$run/metrics.jsonl"; done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
