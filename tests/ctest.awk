# ctest.awk - from `ctest -V` to lines for tests/run.sh: result, name, cases passed, failed and skipped,
# seconds, note, separated by tabs; what a failed program said follows, without tabs.
# A program's cases are those cmocka counts; one that says nothing counts as one case.
function row(result, name, n_ok, n_bad, n_skip, seconds, note) {
    printf "%s\t%s/%s\t%d\t%d\t%d\t%s\t%s\n", result, where, name, n_ok, n_bad, n_skip, seconds, note
    fflush()
}
function number(line) {
    sub(/^.*\] /, "", line)
    return line + 0
}
/^[0-9]+: \[  PASSED  \] [0-9]+ test/ { id = $1 + 0; ok[id] += number($0) }
/^[0-9]+: \[  FAILED  \] [0-9]+ test/ { id = $1 + 0; bad[id] += number($0) }
/^[0-9]+: \[  SKIPPED \] [0-9]+ test/ { id = $1 + 0; skip[id] += number($0) }
/^[0-9]+: \[  (FAILED  |ERROR   |   LINE ).*/ || /^[0-9]+: (ERROR|==[0-9]+==ERROR|.*runtime error:)/ {
    id = $1 + 0
    if (shown[id]++ < 8) said[id] = said[id] "     | " substr($0, index($0, ":") + 2, 160) "\n"
}
/^ *[0-9]+\/[0-9]+ +Test +#[0-9]+:/ {
    id = $0
    sub(/^[^#]*#/, "", id)
    id += 0
    name = $0
    sub(/^[^:]*: +/, "", name)
    sub(/ .*/, "", name)
    seconds = $(NF - 1) + 0
    done++
    if ($0 ~ /\*\*\*Skipped/) {
        row("skip", name, 0, 0, 1, seconds, "")
    } else if ($0 ~ / Passed +[0-9]/) {
        n = ok[id] ? ok[id] : (skip[id] ? 0 : 1)
        row("ok", name, n, 0, skip[id], seconds,
            n " cases" (skip[id] ? ", " skip[id] " skipped" : ""))
    } else {
        why = $0
        sub(/^.*\*\*\*/, "", why)
        sub(/ +[0-9.]+ sec.*/, "", why)
        row("FAIL", name, ok[id], bad[id] ? bad[id] : 1, skip[id], seconds, why)
        printf "%s", said[id]
    }
}
/^No tests were found/ { row("FAIL", "ctest", 0, 1, 0, 0, "no tests were found"); done++ }
END { if (!done) row("FAIL", "ctest", 0, 1, 0, 0, "ctest reported nothing") }
