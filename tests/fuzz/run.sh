#!/bin/bash
# run.sh [SECONDS [TARGET...]]: builds the libFuzzer targets (preset fuzz: clang, address and undefined-
# behaviour sanitizers) and runs each for SECONDS, 60 by default. Each starts from corpus/TARGET and
# what earlier runs found, kept in build-fuzz/found/TARGET. An input that breaks a target stays in
# build-fuzz/broken/; move it to corpus/TARGET once mended, so that every test run replays it.
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
cd "$ROOT" || exit 1
exec </dev/null

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || DIE_CODE=2 die "$seconds: a number of seconds is wanted"
shift $(($# > 0))
"$ROOT"/jobs/install.sh --tests || exit
log=build-fuzz/build.log
mkdir -p build-fuzz/broken
{ cmake --preset fuzz && cmake --build --preset fuzz -j "$(n_cores)"; } >"$log" 2>&1 ||
    { tail -n 20 "$log" && die "the build failed, see $log"; }

if [ $# = 0 ]; then
    for program in build-fuzz/tests/fuzz/fuzz_*; do [ ! -x "$program" ] || set -- "$@" "${program##*/fuzz_}"; done
fi
[ $# -gt 0 ] || die "no target was built"
mpi_environment
export LSAN_OPTIONS="suppressions=$ROOT/tests/lsan.supp:print_suppressions=0"
failed=0
for target in "$@"; do
    program=build-fuzz/tests/fuzz/fuzz_$target
    [ -x "$program" ] || DIE_CODE=2 die "no target $target; there are: $(ls build-fuzz/tests/fuzz | sed -n 's/^fuzz_//p' | tr '\n' ' ')"
    found=build-fuzz/found/$target seeds=tests/fuzz/corpus/$target
    mkdir -p "$found"
    log=build-fuzz/$target.log
    # The limits are far above what a good input takes: 10 s, 2 GB.
    if timeout -k 10 $((seconds + 120)) "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build-fuzz/broken/$target-" "$found" \
        $([ ! -d "$seeds" ] || echo "$seeds") >"$log" 2>&1; then
        printf 'ok   %-24s %s runs, %s inputs kept, %s s\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$(ls "$found" | wc -l)" "$seconds"
    else
        failed=$((failed + 1))
        printf 'FAIL %-24s see %s\n' "$target" "$log"
        grep -E 'ERROR|runtime error|Test unit written|#[0-4] ' "$log" | head -n 12 | sed 's/^/     | /'
    fi
done
echo "$(($# - failed)) passed, $failed failed"
[ $failed = 0 ]
