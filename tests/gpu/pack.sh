#!/bin/bash
# pack.sh [--from BUILD] [--tests] OUT: the program for GPUs with every shared library that it needs beyond CUDA, in one
# folder of at most 60 MB, for a machine with a driver, Python and PyTorch and nothing else: OUT/prismx
# there is the program. cuBLASLt and NCCL are taken from PyTorch's wheels (of nvcc's CUDA), or from where PX_CUDA_LIBS
# names folders of them. MPI works with one rank. Builds into build-pack for any processor with AVX2, or takes BUILD as
# it is. --tests puts the operations' tests into OUT/tests too; tests/gpu/run.sh --packed OUT runs them.
# Last it starts the packed program in a folder that is the whole machine to it, with device cpu.
set -eu
. "$(dirname "$0")/../../jobs/lib.sh"
cd "$ROOT"
from='' tests='' out=''
while [ $# -gt 0 ]; do
    case "$1" in
    --from) from=${2:?--from wants a build folder} && shift ;;
    --tests) tests=1 ;;
    -h | --help) sed -n '2,8s/^# //p' "$0" && exit 0 ;;
    -*) DIE_CODE=2 die "unknown option $1; accepted: --from BUILD, --tests" ;;
    *) out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || DIE_CODE=2 die "give the folder to make"
[ ! -e "$out" ] || DIE_CODE=2 die "$out exists: remove it, or name another"
jobs/install.sh --cuda
unit=(test_ops_rows test_ops_layers test_ops_lora test_ops_linear test_ops_exact test_attention test_head test_cached test_graphs)
if [ -z "$from" ]; then
    from=build-pack
    CUDACXX=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)} cmake -S . -B $from -G Ninja \
        -DCMAKE_BUILD_TYPE=Release -DPX_CUDA=ON -DPX_ARCH=x86-64-v3 -DPX_TESTS=${tests:-OFF} "-DCMAKE_CUDA_ARCHITECTURES=80;90"
    cmake --build $from -j "$(n_cores)" --target prismx ${tests:+"${unit[@]}"}
fi
mkdir -p "$out" && out=$(cd "$out" && pwd)
work=$(mktemp -d "$PWD/$from/pack.XXXXXX")
trap 'rm -rf "$work"' EXIT
cmake --install "$from" --prefix "$out" >/dev/null
programs=("$out/bin/prismx")
if [ -n "$tests" ]; then
    mkdir "$out/tests"
    for name in "${unit[@]}"; do cp "$from/tests/unit/$name" "$out/tests/" && programs+=("$out/tests/$name"); done
fi
strip --strip-unneeded "${programs[@]}"

# --- libraries: the C library's apart, for machines whose own is older ---
mkdir "$work/lib" "$work/libc"
needed() { # as the build's own run path finds them, which the installed program has no longer
    LD_LIBRARY_PATH=$ROOT/build-cuda/nvidia/cu13/lib:$ROOT/build-cuda/nvidia/cublas/lib:$ROOT/build-cuda/nvidia/nccl/lib:/usr/local/cuda/lib64 ldd "$@"
}
needed "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 } $1 ~ /^\/.*ld-linux/ { print $1, $1 }' | sort -u |
    while read -r name path; do
        name=${name##*/}
        case $name in
        libcublasLt.so* | libnccl.so* | libcuda.so*) ;;
        ld-linux* | libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so*) cp -L "$path" "$work/libc/$name" ;;
        *) cp -L "$path" "$work/lib/$name" ;;
        esac
    done
! needed "${programs[@]}" | grep 'not found' >&2 || die "libraries are missing here: see above"
tar -C "$work" -czf "$out/lib.tar.gz" lib libc
cublas=$(needed "$out/bin/prismx" | awk '$1 ~ /^libcublasLt/ { print $1 }')

cat >"$out/with" <<'WITH'
#!/bin/sh
# with COMMAND...: runs a program of this folder with its libraries; cuBLASLt and NCCL from PX_CUDA_LIBS (folders, with
# colons between) or from Python's packages of NVIDIA, which PyTorch brings.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=$here
if [ ! -e "$root/lib" ]; then # the first call
    tar -C "$root" -xzf "$here/lib.tar.gz" 2>/dev/null || {
        rm -rf "$root/lib" "$root/libc"
        root=$(mktemp -d "${TMPDIR:-/tmp}/prismx-lib.XXXXXX") && tar -C "$root" -xzf "$here/lib.tar.gz" || exit 1
        echo "with: $here cannot be written: libraries are unpacked into $root, at every call" >&2
    }
fi
cuda=${PX_CUDA_LIBS-}
if [ -z "$cuda" ]; then
    cuda=$(python3 - 2>/dev/null <<'PYTHON'
import glob, os, site, sys
found = {}
for base in sys.path + site.getsitepackages() + [site.getusersitepackages()]:
    for name in ("libcublasLt.so.13", "libnccl.so.2"):
        for path in glob.glob(os.path.join(base or ".", "nvidia", "*", "lib", name)):
            found.setdefault(name, os.path.dirname(path))
print(":".join(dict.fromkeys(found.values())))
PYTHON
    )
fi
libs=$root/lib${cuda:+:$cuda}
if LD_LIBRARY_PATH=$libs "$here/bin/prismx" --version >/dev/null 2>&1; then
    export LD_LIBRARY_PATH="$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    exec "$@"
fi
# This machine's C library is older: ours. What starts prismx again (run, sweep, submit) does not work so.
loader=$root/libc/ld-linux-x86-64.so.2
if "$loader" --library-path "$root/libc:$libs" "$here/bin/prismx" --version >/dev/null 2>&1; then
    exec "$loader" --library-path "$root/libc:$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
fi
"$loader" --library-path "$root/libc:$libs" "$here/bin/prismx" --version >/dev/null
echo "with: that library is missing: PyTorch for CUDA 13 brings libcublasLt.so.13 and libnccl.so.2 (looked in: ${cuda:-nothing found})" >&2
exit 1
WITH
cat >"$out/prismx" <<'PRISMX'
#!/bin/sh
# The program for GPUs, packed: prismx doctor says what it finds.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
exec "$here/with" "$here/bin/prismx" "$@"
PRISMX
sed -i "s/libcublasLt\.so\.13/$cublas/g; s/CUDA 13 brings/CUDA ${cublas##*.} brings/" "$out/with"
chmod +x "$out/with" "$out/prismx"
bytes=$(du -sb --apparent-size "$out" | cut -f 1)
[ "$bytes" -le 60000000 ] || die "$out is $bytes bytes: more than 60 MB"

# --- does it run where nothing else is? ---
cuda=$(needed "$out/bin/prismx" | awk '$1 ~ /^(libcublasLt|libnccl)/ { print $3 }')
mkdir -p "$work/machine/proc" "$work/machine/made" "$work/machine/nvidia" "$work/machine/dev" "$work/machine/pack"
cp -r "$out/." "$work/machine/pack/" && tar -C "$work/machine/pack" -xzf "$out/lib.tar.gz"
for path in $cuda; do ln "$path" "$work/machine/nvidia/" 2>/dev/null || cp -L "$path" "$work/machine/nvidia/"; done
touch "$work/machine/dev/null" "$work/machine/dev/urandom"
cat >"$work/try" <<'TRY'
set -e
mount --bind /proc "$1/proc"
for device in null urandom; do mount --bind /dev/$device "$1/dev/$device"; done
alone() { chroot "$1" /pack/libc/ld-linux-x86-64.so.2 --library-path /pack/libc:/pack/lib:/nvidia /pack/bin/prismx "${@:2}"; }
alone "$1" doctor --dir /made | grep '^[a-z]* *gpu' || true
alone "$1" model init --like tiny --seed 1 --out /made/tiny
alone "$1" synth --users 8 --seed 3 --out /made/data
alone "$1" prepare --data /made/data --model /made/tiny --out /made/corpus.h5
alone "$1" train --config /pack/share/prismx/configs/ppft.json --corpus /made/corpus.h5 --model /made/tiny --set device=cpu \
    --set train.steps=2 --set threads=1 --out /made/run
TRY
apart=(unshare --mount)
[ "$(id -u)" = 0 ] || apart=(unshare --user --map-root-user --mount)
if ! "${apart[@]}" true 2>/dev/null; then
    echo "not tried alone: unshare is not allowed here"
elif ! env -i HOME=/made TMPDIR=/made OMP_NUM_THREADS=1 PATH="$PATH" "${apart[@]}" bash "$work/try" "$work/machine" >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    die "the packed program does not run on its own: see above"
else
    grep gpu "$work/log" || true
    echo "trained alone: $(grep -c '"step"' "$work/machine/made/run/metrics.jsonl") steps with device cpu"
fi
echo "$out: $((bytes / 1000000)) MB, libraries $(du -sb --apparent-size "$work/lib" | awk '{ print int($1 / 1000000) }') MB unpacked"
