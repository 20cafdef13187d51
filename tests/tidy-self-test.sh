# Sourced by tests/tidy --self-test: a small tree without a breach, then each breach alone planted in it.
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
good=$tree/good bad=$tree/bad
failures=0 cases=0

put() { mkdir -p "$(dirname "$1")" && printf '%s\n' "${@:2}" >"$1"; }
lines() { for ((i = 0; i < $1; i++)); do echo "    x++;"; done; }

put "$good/pipeline/base/CMakeLists.txt" 'px_module(base SOURCES err.c)'
put "$good/pipeline/base/base.h" 'PX_CHECKED px_err *px_a(int x);' 'PX_CHECKED' 'px_err *px_b(int x);'
put "$good/pipeline/base/err.c" '#include "base.h"' 'int none = MPI_COMM_NULL;' '/* rand() and exit() in a comment */' \
    'int f(void) {' '#pragma omp atomic write' "$(lines 67)" '}' 'const char *s = "exit(1) \" atoi(x)"; // abort()' \
    "/* $(printf '\303\244%.0s' $(seq 94)) */"
put "$good/pipeline/io/CMakeLists.txt" 'px_module(io SOURCES io.c' '    USES px_base px_dist)'
put "$good/pipeline/io/io.c" '#include "base.h"' 'int g(void) { return MPI_Barrier(0) + px_rand(3) + x->exit(2); }'
put "$good/pipeline/io/io.h" 'int g(void);'
put "$good/pipeline/text/text.h" 'int t(void);'
put "$good/pipeline/main.c" 'static const px_command commands[] = {' '    {"train", cmd_train},' '};' \
    'int main(void) { exit(0); }'
put "$good/pipeline/config/config_keys.h" '/* clang-format off */' \
    "$(printf 'KEY("optim.lr", %0120d)' 0)" '/* clang-format on */'
put "$good/tests/unit/test_err.c" 'int x;'
put "$good/tests/unit/base.cmake" 'px_test(test_err SOURCES test_err.c)'
put "$good/README.md" '`prismx train --set optim.lr=1`, `pipeline/base/err.c`, [more](docs/MORE.md), `eval.h5`.'
put "$good/docs/MORE.md" 'Back: [read](../README.md#top). A hacker reads optim.weights aloud.'

clean() {
    cases=$((cases + 1))
    if ! out=$(run "$good"); then
        echo "the good tree is not clean: $out"
        failures=$((failures + 1))
    fi
}
# plant FILE REASON LINE...: FILE made of LINEs in a copy of the tree; exactly one breach, with REASON.
plant() {
    local file=$1 reason=$2
    shift 2
    rm -rf "$bad" && cp -r "$good" "$bad"
    put "$bad/$file" "$@"
    cases=$((cases + 1))
    out=$(run "$bad") && out="found nothing"
    if [ "$(printf '%s\n' "$out" | grep -cF "$reason")" != 1 ] || [ "$(printf '%s\n' "$out" | wc -l)" != 2 ]; then
        echo "$file with \"${*:1:1}\": wanted one breach \"$reason\", got: $out"
        failures=$((failures + 1))
    fi
}

clean
c=pipeline/base/other.c
plant $c "over 70" 'int f(void) {' "$(lines 69)" '}'
plant $c "over 70" 'static int f(int a,' '             int b) {' "$(lines 68)" '}'
plant $c "over 800" "$(lines 801)"
plant $c "over 100" "$(printf '// %098d' 0)"
plant $c "over 100" "/* $(printf '\303\244%.0s' $(seq 95)) */"
plant $c "tab" "$(printf 'int x;\t')x"
plant $c "space at the end" 'int x; '
for call in 'strcpy(a, b)' 'strcat(a, b)' 'x = sprintf(a, b)' 'atoi (a)' 'atof(a)' '(rand())' 'strtok(a, b)' \
    'gets(a)'; do
    plant $c "banned call" "int x; $call;"
done
plant tests/unit/test_err.c "banned call" 'x = atoi(y);'
plant $c "only main ends" '    exit(1);'
plant $c "only main ends" '    if (x) abort();'
plant pipeline/dist/d.c "only main ends" 'exit(1);'
plant pipeline/job/launch.c "only main ends" 'abort();'
plant $c "MPI outside" 'MPI_Barrier(c);'
plant kernels/k.c "MPI outside" 'MPI_Comm c;'
plant $c "reduction" '#pragma omp parallel for reduction(+ : sum)'
plant $c "omp atomic" '#pragma omp atomic'
plant $c "omp atomic" '#pragma omp atomic update'
plant $c "atomic float" '_Atomic float sum;'
plant CMakeLists.txt "fast-math" 'add_compile_options(-ffast''-math)'
plant pipeline/io/CMakeLists.txt "io may not use text" 'px_module(io SOURCES a.c USES px_base' '    px_text)'
plant kernels/CMakeLists.txt "kernels may not use io" 'px_module(kernels SOURCES a.c USES px_io)'
plant pipeline/new/CMakeLists.txt "not in the table" 'px_module(new SOURCES a.c)'
plant $c "base may not include text.h" '#include "text.h"'
plant pipeline/base/base.h "PX_CHECKED" 'px_err *px_a(int x);'
plant tests/unit/test_new.c "no px_test" 'int x;'
plant README.md "no such file: pipeline/gone.c" 'See `pipeline/gone.c`.'
plant README.md "no such file: GONE.md" 'See [this](GONE.md).'
plant README.md "no such command: prismx fly" '```' 'build/prismx fly --high' '```'
plant README.md "no such key: optim.speed" 'Set `optim.speed` to 3.'
plant $c "left open" '/* TO''DO: more */'
plant docs/MORE.md "left open" 'This is not imple''mented.'
plant $c "speaks of itself" '/* by a co''ding agent */'
plant README.md "address of a package" 'From https://files.python''hosted.org/x.'
plant $c "only one machine" '/* see INTER''FACE.md */'
plant jobs/x.sh "only one machine" 'cd /wo''rk/main'
[ $failures = 0 ] && echo "tidy: $cases cases" && exit 0
echo "tidy: $failures of $cases cases failed"
exit 1
