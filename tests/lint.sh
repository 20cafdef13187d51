#!/bin/bash
# lint.sh [BUILD [JOBS]]: clang-tidy over every .c file of the program and its tests, with the checks of
# .clang-tidy. A file that passed is not looked at again until it, a header it includes, or the checks
# change: BUILD/lint holds a mark named by the hash of all that.
set -u
. "$(dirname "$0")/../jobs/lib.sh"
cd "$ROOT" || exit 1
build=${1:-build} jobs=${2:-$(n_cores)}
[ -f "$build/compile_commands.json" ] || die "$build/compile_commands.json is missing: cmake --preset release"
mkdir -p "$build/lint"
base=$({ clang-tidy --version && cat .clang-tidy tests/.clang-tidy tests/lint.sh; } | sha256sum)

# ninja knows what each object was made from: "OBJECT: #deps N, ..." and one indented path a line.
ninja -C "$build" -t deps | awk -v root="$ROOT/" '
    /^[^ ].*: #deps/ { flush(); n = 0; next }
    /^ / { f = $1; if (index(f, "/usr/") != 1) files[++n] = f }
    function flush(  i, line) {
        if (!n || files[1] !~ /\.c$/) return
        for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") files[i]
        print line
    }
    END { flush() }' | sort -u >"$build/lint/files"
[ -s "$build/lint/files" ] || die "nothing is built in $build"

one() { # FILE and the headers it includes
    local key out
    key=$build/lint/$({ echo "$base" && cd "$build" && sha256sum "$@"; } | sha256sum | cut -c 1-40)
    [ ! -e "$key" ] || return 0
    if out=$(cd "$build" && timeout 300 clang-tidy --quiet -p . "$1" 2>/dev/null) && [ -z "$out" ]; then
        : >"$key"
        return 0
    fi
    printf '%s\n' "${out:-$1: clang-tidy failed or took over 300 s}" | sed "s|$ROOT/||"
    return 1
}
export -f one
export build base ROOT
xargs -P "$jobs" -L 1 bash -c 'one "$@"' _ <"$build/lint/files"
rc=$?
# Marks of older states are of no use after a while.
find "$build/lint" -type f -mtime +30 -delete
[ $rc = 0 ] || exit 1
echo "$(wc -l <"$build/lint/files") files"
