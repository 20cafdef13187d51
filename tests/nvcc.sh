#!/bin/bash
# nvcc.sh: builds the program for GPUs as cmake --preset cuda does, hardly optimised and without tests, in
# build-nvcc: every .cu file for sm_80 and sm_90, linked with cuBLASLt and NCCL (fetched by jobs/install.sh
# --cuda); asks what it says where there is no GPU, and packs it (tests/gpu/pack.sh). No kernel is run.
# Prints "skipped: WHY" and exits 0 where there is no nvcc; where the libraries cannot be had, compiles what
# does without them.
set -u
. "$(dirname "$0")/../jobs/lib.sh"
cd "$ROOT" || exit 1
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "skipped: no nvcc: the kernels were not compiled for GPUs" && exit 0; }
jobs/install.sh --cuda || {
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    n=0
    for file in kernels/cuda/*.cu; do
        ! grep -q 'cublasLt.h' "$file" || continue
        "$nvcc" -std=c++17 --fmad=false -Werror=all-warnings -gencode arch=compute_80,code=sm_80 \
            -gencode arch=compute_90,code=sm_90 -c "$file" -o "$out/it.o" || { echo "$file: nvcc failed" && exit 1; }
        n=$((n + 1))
    done
    echo "$n files for sm_80 and sm_90; not linked: no cuBLASLt and NCCL here"
    exit
}
dir=build-nvcc
CUDACXX=$nvcc cmake -S . -B $dir -G Ninja -DCMAKE_BUILD_TYPE= -DCMAKE_C_FLAGS=-O1 -DPX_CUDA=ON -DPX_TESTS=OFF \
    "-DCMAKE_CUDA_ARCHITECTURES=80;90" && cmake --build $dir --target prismx -j "$(n_cores)" || exit
rm -rf $dir/packed
needs=$(readelf -d $dir/prismx)
for library in libcublasLt libnccl libcudart; do
    [[ $needs == *"$library"* ]] || { echo "prismx is not linked with $library" && exit 1; }
done
[[ $(readelf -S -W $dir/prismx) == *.nv_fatbin* ]] || { echo "prismx holds no code for GPUs" && exit 1; }
says() { # PATTERN COMMAND...: the output of the command, which may fail, has such a line
    local pattern=$1 text
    shift
    text=$("$@" 2>&1 </dev/null)
    grep -qE -- "$pattern" <<<"$text" || { echo "$*: no \"$pattern\" in: $text" && exit 1; }
}
says 'gpu.build +for GPUs: CUDA [0-9]+\.[0-9]+, cuBLASLt [0-9.]+, NCCL [0-9.]+$' $dir/prismx doctor
if [ ! -e /proc/driver/nvidia/version ]; then
    says '^warning +gpu.devices +no GPU: no NVIDIA driver is loaded' $dir/prismx doctor
    mkdir -p $dir/tiny && $dir/prismx model init --like tiny --seed 1 --out $dir/tiny/model >/dev/null 2>&1
    echo '{"id":"a","messages":[{"role":"user","content":"Hello"}]}' >$dir/tiny/prompts.jsonl
    says 'error: .*no GPU that this program can use' $dir/prismx generate --model $dir/tiny/model \
        --prompts $dir/tiny/prompts.jsonl --out $dir/tiny/none.jsonl --overwrite --set device=cuda
fi
says '^GPU memory +[0-9.]+ GB a rank at most' $dir/prismx plan --like llama-3.1-8b --set device=cuda --device-memory 80G --memory 1T --disk 1T
tests/gpu/pack.sh --from $dir $dir/packed || exit
# Nine tests beside it have the same code for GPUs and some 0.6 MB each.
code=$(size -A $dir/prismx | awk '$1 == ".nv_fatbin" { print $2 }')
all=$(($(du -sb --apparent-size $dir/packed | cut -f 1) + 9 * (code + 600000)))
[ "$all" -le 60000000 ] || { echo "pack.sh --tests would make $all bytes: more than 60 MB" && exit 1; }
echo "$(ls kernels/cuda/*.cu | wc -l) files for sm_80 and sm_90, linked with cuBLASLt and NCCL"
