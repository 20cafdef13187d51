# tidy.awk - the rules of tests/tidy that read C code: sizes, banned calls, where MPI may stand, sums whose
# order would depend on threads. Comments and strings are blanked before calls are looked for.
function complain(what) { print FILENAME ":" FNR ": " what }
function chars(line) { # bytes that begin a character
    gsub(/[\200-\277]/, "", line)
    return length(line)
}
# The line without comments and with empty strings; in_comment goes on from line to line.
function code_of(line,   out, c) {
    out = ""
    while (line != "") {
        if (in_comment) {
            if (!(c = index(line, "*/"))) return out
            line = substr(line, c + 2)
            in_comment = 0
            continue
        }
        if (!match(line, /["']|\/\*|\/\//)) return out line
        c = substr(line, RSTART, 1)
        out = out substr(line, 1, RSTART - 1)
        line = substr(line, RSTART)
        if (substr(line, 1, 2) == "//") return out
        if (substr(line, 1, 2) == "/*") {
            in_comment = 1
            line = substr(line, 3)
            continue
        }
        line = substr(line, 2)
        while (line != "" && substr(line, 1, 1) != c)
            line = substr(line, substr(line, 1, 1) == "\\" ? 3 : 2)
        line = substr(line, 2)
        out = out c c
    }
    return out
}
function calls(code, names) { return code ~ ("(^|[^A-Za-z0-9_>.])(" names ")[ ]*\\(") }
function end_of_file() {
    if (last_file != "" && last_line > 800) print last_file ":" last_line ": file over 800 lines"
}

FNR == 1 {
    end_of_file()
    in_comment = 0
    table = 0
    begun = 0
    inside = 0
    program = FILENAME ~ /^(pipeline|kernels)\//
    main_file = FILENAME ~ /(^|\/)main\.c$/
    dist = FILENAME ~ /^pipeline\/dist\//
    launch = FILENAME == "pipeline/job/launch.c" # between fork and exec a child can only end
    mpi = FILENAME ~ /^pipeline\/(dist|io)\// || FILENAME ~ /^tests\//
}
{
    last_file = FILENAME
    last_line = FNR
}
/clang-format off/ { table = 1 }
/clang-format on/ { table = 0 }
!table && length($0) > 100 && chars($0) > 100 { complain("line of " chars($0) " characters, over 100") }
/\t/ { complain("tab") }
/[ ]$/ { complain("space at the end") }
{
    code = code_of($0)

    # Functions start in column 0 and their body's last brace stands there too.
    if (code ~ /^[A-Za-z_]/) begun = FNR
    if (!inside && begun && code ~ /\) *\{ *$/ && code !~ /^ *(do|if|for|while|switch)/) {
        inside = begun
    } else if (inside && code ~ /^\}/) {
        if (FNR - inside + 1 > 70)
            print FILENAME ":" inside ": function of " FNR - inside + 1 " lines, over 70"
        inside = 0
        begun = 0
    } else if (!inside && code ~ /;|^\}|^#/) {
        begun = 0
    }

    if (calls(code, "strcpy|strcat|sprintf|vsprintf|atoi|atol|atoll|atof|rand|srand|random|strtok|gets|alloca"))
        complain("banned call: " code)
    if (program && !main_file && !dist && calls(code, launch ? "exit|abort|quick_exit" : "exit|abort|_exit|_Exit|quick_exit"))
        complain("only main ends the program: " code)
    if (program && dist && calls(code, "exit|quick_exit")) complain("only main ends the program: " code)
    gsub(/MPI_COMM_NULL/, "", code) # "without MPI", as dist.h says
    if (!mpi && code ~ /(^|[^A-Za-z0-9_])P?MPI_[A-Za-z]/) complain("MPI outside pipeline/dist and pipeline/io")
    if (code ~ /#pragma +omp.*reduction/) complain("reduction: the order of the sum depends on the threads")
    if (code ~ /#pragma +omp +atomic/ && code !~ /atomic +(read|write) *$/)
        complain("omp atomic: the order of a float sum depends on the threads")
    if (code ~ /_Atomic\(? *(float|double)/) complain("an atomic float")
    if (FILENAME ~ /\.cuh?$/ && code ~ /atomicAdd *\( *\(? *(float|double)/) complain("an atomic float")
    if (FILENAME ~ /\.c$/ && $0 ~ /^#include <cublas/) complain("cuBLAS outside .cu files")
}
END { end_of_file() }
