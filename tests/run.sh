#!/bin/bash
# run.sh [--quick] [--only WORD]: installs what is missing, builds, and runs every test: unit tests in the
# release and the sanitizer build, style (tests/tidy, clang-format, clang-tidy), system tests. One
# line a program; the output of each is kept in build/test-logs. Last line: N passed, N failed[, N skipped].
# --quick leaves out the sanitizer build and clang-tidy; --only runs the parts whose name holds WORD
# (unit, asan, tidy, format, lint, system/NAME, slurm).
set -u
. "$(dirname "$0")/../jobs/lib.sh"
cd "$ROOT" || exit 1
exec </dev/null

quick= only=
while [ $# -gt 0 ]; do
    case "$1" in
    --quick) quick=1 ;;
    --only) only=${2:?--only wants a word} && shift ;;
    -h | --help) sed -n '2,6s/^# //p' "$0" && exit 0 ;;
    *) DIE_CODE=2 die "unknown option $1; accepted: --quick, --only WORD" ;;
    esac
    shift
done
wanted() { [ -z "$only" ] || [[ $1 == *"$only"* ]]; }

mpi_environment
export OMP_WAIT_POLICY=passive # tests share the cores: threads that spin would hold each other up
logs=build/test-logs
mkdir -p "$logs"
jobs=$(n_cores)
[ "$jobs" -le 8 ] || jobs=8
passed=0 failed=0 skipped=0 failures=()
started=$(date +%s)

# count RESULT NAME PASSED FAILED SKIPPED SECONDS NOTE: adds to the sums and prints the program's line.
count() {
    passed=$((passed + $3)) failed=$((failed + $4)) skipped=$((skipped + $5))
    [ "$1" != FAIL ] || failures+=("$2")
    printf '%-4s %-34s %7.1f s  %s\n' "$1" "$2" "$6" "${7-}"
}

# step NAME SECONDS COMMAND...: one test of its own; its output goes to a log and is shown when it fails.
step() {
    local name=$1 limit=$2 t0=$EPOCHREALTIME rc log
    shift 2
    log=$logs/${name//\//-}.log
    timeout -k 10 "$limit" "$@" >"$log" 2>&1
    rc=$?
    local t=$(awk "BEGIN { print $EPOCHREALTIME - $t0 }")
    case $rc in
    0) count ok "$name" 1 0 0 "$t" "$(tail -n 1 "$log" | cut -c 1-60)" ;;
    124 | 137) count FAIL "$name" 0 1 0 "$t" "stopped after $limit s, see $log" ;;
    *) count FAIL "$name" 0 1 0 "$t" "exit $rc, see $log" && tail -n 15 "$log" | sed 's/^/     | /' ;;
    esac
    return $rc
}

finish() {
    local t=$(($(date +%s) - started))
    [ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[*]}"
    printf 'took %d min %d s; logs in %s\n' $((t / 60)) $((t % 60)) "$logs"
    printf '%d passed, %d failed' $passed $failed
    [ $skipped = 0 ] || printf ', %d skipped' $skipped
    printf '\n'
    [ $failed = 0 ] && [ $passed -gt 0 ]
    exit
}

# build PRESET: configures and builds; without it nothing that follows makes sense.
build() {
    step "build/$1" 1200 bash -c "cmake --preset $1 && cmake --build --preset $1 -j $jobs" || finish
}

# units NAME FOLDER: every ctest program; cmocka's own counts make the cases.
units() {
    local log=$logs/$1.log line
    while IFS=$'\t' read -r -a line; do
        if [ "${#line[@]}" -ge 6 ]; then count "${line[@]}"; else printf '%s\n' "${line[*]}"; fi
    done < <(
        timeout -k 10 1800 ctest --test-dir "$2" -V -j "$jobs" --timeout 300 2>&1 | tee "$log" |
            awk -v where="$1" -f tests/ctest.awk
    )
}

format_check() {
    local version
    version=$(clang-format --version | grep -o 'version [0-9]*')
    [ "$version" = "version 14" ] || { echo "clang-format 14 is wanted, this is $version" && return 1; }
    git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format --dry-run -Werror
}

system_test() { # FILE [NAME]
    local name=${2-system/$(basename "$1" .sh)} t0=$EPOCHREALTIME rc log ok bad skip
    log=$logs/${name//\//-}.log
    timeout -k 10 "${PX_SYSTEM_LIMIT:-600}" bash "$1" >"$log" 2>&1
    rc=$?
    local t=$(awk "BEGIN { print $EPOCHREALTIME - $t0 }")
    ok=$(grep -c '^ok ' "$log") bad=$(grep -c '^fail ' "$log") skip=$(grep -c '^skip ' "$log")
    if [ $rc = 0 ] && [ "$bad" = 0 ] && [ $((ok + skip)) -gt 0 ]; then
        count ok "$name" "$ok" 0 "$skip" "$t" "$ok cases$([ "$skip" = 0 ] || echo ", $skip skipped")"
        return
    fi
    local why="exit $rc"
    [ $rc != 124 ] && [ $rc != 137 ] || why="stopped after ${PX_SYSTEM_LIMIT:-600} s"
    count FAIL "$name" "$ok" $((bad > 0 ? bad : 1)) "$skip" "$t" "$why, $bad of $((ok + bad)) cases failed, see $log"
    { grep '^fail ' "$log" || tail -n 10 "$log"; } | head -n 15 | sed 's/^/     | /'
}

"$ROOT"/jobs/install.sh --tests || exit
if [ -z "${PX_MODEL_GGUF-}" ]; then
    if PX_MODEL_GGUF=$("$ROOT"/jobs/get-model.sh 2>"$logs/model.log"); then
        export PX_MODEL_GGUF
    else
        unset PX_MODEL_GGUF
        count skip model 0 0 1 0 "no model, tests that need one are skipped: $(tail -n 1 "$logs/model.log")"
    fi
fi

build release
! wanted tidy || step tidy 120 tests/tidy
! wanted tidy || step tidy/self-test 120 tests/tidy --self-test
export -f format_check
! wanted format || step format 120 bash -c format_check
! wanted unit || units unit build
if [ -z "$quick" ] && wanted asan; then
    build asan
    ASAN_OPTIONS=detect_leaks=1 units asan build-asan
fi
if wanted system; then
    for file in tests/system/*.sh; do
        [ -f "$file" ] && [ "${file##*/}" != lib.sh ] || continue
        wanted "system/$(basename "$file" .sh)" || continue
        system_test "$file"
    done
fi
# A Slurm of three nodes, started and stopped by the test.
! wanted slurm || system_test tests/slurm/run.sh slurm
if [ -z "$quick" ] && wanted nvcc; then
    step nvcc 900 tests/nvcc.sh
    ! grep -q '^skipped' "$logs/nvcc.log" || skipped=$((skipped + 1)) passed=$((passed - 1))
fi
[ -n "$quick" ] || ! wanted lint || step lint 900 tests/lint.sh build "$jobs"
finish
