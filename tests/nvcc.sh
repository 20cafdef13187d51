#!/bin/bash
# nvcc.sh: compiles every .cu file of the program by nvcc for sm_80 and sm_90, to object code; nothing is run. Prints
# "skipped: WHY" and exits 0 where there is no nvcc. A file is not compiled again until it or a header changes.
set -u
. "$(dirname "$0")/../jobs/lib.sh"
cd "$ROOT" || exit 1
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "skipped: no nvcc: the kernels were not compiled for GPUs" && exit 0; }
marks=build/nvcc out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir -p "$marks"
base=$({ "$nvcc" --version && cat tests/nvcc.sh kernels/cuda/*.cuh kernels/cuda/*.h; } | sha256sum)
cublas=
for dir in build-cuda/nvidia/cu13/include /usr/local/cuda/include /usr/include; do
    [ -e "$dir/cublasLt.h" ] && cublas=$dir && break
done
n=0 left=
for file in kernels/cuda/*.cu; do
    if grep -q 'cublasLt.h' "$file" && [ -z "$cublas" ]; then
        left="$left, without ${file##*/} (no cublasLt.h: jobs/install.sh --cuda)"
        continue
    fi
    mark=$marks/$({ echo "$base" && cat "$file"; } | sha256sum | cut -c 1-40)
    n=$((n + 1))
    [ ! -e "$mark" ] || continue
    "$nvcc" -std=c++17 --fmad=false -Werror=all-warnings ${cublas:+-I"$cublas"} -gencode arch=compute_80,code=sm_80 \
        -gencode arch=compute_90,code=sm_90 -c "$file" -o "$out/it.o" || { echo "$file: nvcc failed" && exit 1; }
    : >"$mark"
done
echo "$n files for sm_80 and sm_90$left"
