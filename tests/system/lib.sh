# Sourced by the system tests: each calls build/prismx as a user does and prints one line a case,
# "ok NAME", "fail NAME: WHY" or "skip NAME: WHY"; tests/run.sh counts them. $X is the program, $T a
# folder that goes away at the end, $MODEL the small real model. Ends with finish.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../../jobs/lib.sh"
mpi_environment
X=${PX_PROGRAM:-$ROOT/build/prismx}
[ -x "$X" ] || {
    echo "fail build: $X is not there: cmake --build --preset release"
    exit 1
}
T=$(mktemp -d "${TMPDIR:-/tmp}/prismx-test.XXXXXX")
trap 'rm -rf "$T"' EXIT
MODEL=${PX_MODEL_GGUF-}
n_failed=0

ok() { echo "ok $1"; }
fail() {
    n_failed=$((n_failed + 1))
    echo "fail $1: ${2-}"
}
skip() { echo "skip $1: ${2-}"; }
finish() {
    [ $n_failed = 0 ]
    exit
}

# need_model: without the model the whole file is one skipped case.
need_model() {
    [ -n "$MODEL" ] && [ -f "$MODEL" ] && return
    skip "$(basename "$0" .sh)" "PX_MODEL_GGUF names no model"
    finish
}

# check NAME COMMAND...: exit 0. Output in $T/out, messages in $T/err.
check() {
    local name=$1 rc
    shift
    timeout "${LIMIT:-300}" "$@" >"$T/out" 2>"$T/err" </dev/null
    rc=$?
    [ $rc = 0 ] && ok "$name" && return
    fail "$name" "exit $rc: $(tail -n 3 "$T/err" | tr '\n' ' ' | cut -c 1-300)"
    return 1
}

# refuses NAME CODE REGEX COMMAND...: exits with CODE, and the messages match REGEX.
refuses() {
    local name=$1 code=$2 regex=$3 rc
    shift 3
    timeout "${LIMIT:-60}" "$@" >"$T/out" 2>"$T/err" </dev/null
    rc=$?
    if [ $rc != "$code" ]; then
        fail "$name" "exit $rc, not $code: $(tail -n 1 "$T/err" | cut -c 1-300)"
    elif ! grep -qE -- "$regex" "$T/err"; then
        fail "$name" "no \"$regex\" in: $(tail -n 1 "$T/err" | cut -c 1-300)"
    else
        ok "$name"
    fi
}

# same NAME A B: two texts are equal.
same() { [ "$2" = "$3" ] && ok "$1" || fail "$1" "\"${2:0:100}\" is not \"${3:0:100}\""; }

# start_testd NAME: the program $TESTD, a server; its pid in $pid and among $pids, its port in $port; what it prints in NAME.out.
start_testd() {
    "$TESTD" >"$1.out" 2>"$1.err" &
    pid=$!
    pids+=($pid)
    for _ in $(seq 1 200); do
        [ -s "$1.out" ] && break
        sleep 0.05
    done
    port=$(head -n 1 "$1.out")
    [ -n "$port" ] && ok "start-$1" || fail "start-$1" "$(tail -n 1 "$1.err")"
}
