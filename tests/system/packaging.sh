#!/bin/bash
# packaging.sh - cmake --install into a folder: the program finds its configurations and lists there; man page,
# completions and module file are whole and speak of every command and option that --help has.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
build=$(dirname "$X")
[ -f "$build/cmake_install.cmake" ] || {
    skip packaging "$build was not made by cmake"
    finish
}

check install cmake --install "$build" --prefix "$T/usr" || finish
P=$T/usr/bin/prismx
for f in share/prismx/configs/ppft.json share/prismx/configs/traits/sycophancy.json share/prismx/jobs/demo.json \
    share/prismx/slurm share/doc/prismx/README.md share/doc/prismx/docs/plan.md share/man/man1/prismx.1 \
    share/bash-completion/completions/prismx share/zsh/site-functions/_prismx share/prismx/modulefile.tcl; do
    [ -e "usr/$f" ] && ok "installs-$(basename "$f")" || fail "installs-$(basename "$f")" "usr/$f is not there"
done
[ ! -e usr/share/prismx/jobs/demo.sh ] && ok no-scripts || fail no-scripts "demo.sh needs the sources"

check version "$P" --version
check finds-config "$P" train --config configs/ppft.json --print-config
grep -q '"bank"' out && ok reads-config || fail reads-config "$(head -n 5 out)"
check finds-config-by-name "$P" train --config p-rlhf --print-config
refuses no-config 2 'nothing.json' "$P" train --config nothing.json --print-config
check finds-lists "$P" traits --validate

man=usr/share/man/man1/prismx.1
commands=$("$X" --help | sed -n 's/^  \([a-z]*\)  *.*/\1/p')
missing=
for c in $commands; do
    grep -q "^\.SH PRISMX ${c^^}$" "$man" || missing+="$c "
done
same man-names-commands "$missing" ""
[ "$(wc -w <<<"$commands")" -ge 15 ] && ok man-many || fail man-many "$commands"
missing=
while read -r option; do
    grep -qF -- "\\fB\\-\\-${option//-/\\-}\\fR" "$man" || missing+="$option "
done < <("$X" train --help | grep -o '^ *--[a-z-]*' | sed 's/ *--//' | grep -v '^help$\|^usage$')
same man-names-options "$missing" ""
if command -v groff >/dev/null; then
    same man-is-sound "$(groff -man -ww -Tutf8 "$man" 2>&1 >text | head -n 3)" ""
fi

# Completion as bash calls it.
complete_words() { # WORD...: what the last one may become
    bash -c 'source "$1" && shift && COMP_WORDS=("$@") && COMP_CWORD=$(($# - 1)) && _prismx && printf "%s\n" "${COMPREPLY[@]}"' \
        _ usr/share/bash-completion/completions/prismx "$@"
}
same completes-command "$(complete_words prismx tra | tr '\n' ' ')" "train traits "
same completes-option "$(complete_words prismx train --co | tr '\n' ' ')" "--corpus --config "
same completes-key "$(complete_words prismx train --set lora.d)" "lora.dropout="
check bash-sound bash -n usr/share/bash-completion/completions/prismx
if command -v zsh >/dev/null; then check zsh-sound zsh -n usr/share/zsh/site-functions/_prismx; fi
refuses no-shell 2 'bash or zsh' "$X" help --completion fish
refuses help-alone 2 'no command nothing' "$X" help nothing
check help-of-command "$X" help train
grep -q -- '--corpus' out && ok help-shows || fail help-shows "$(head -n 3 out)"

if command -v tclsh >/dev/null; then
    cat >commands.tcl <<'EOF'
proc module-whatis args {}
proc conflict args {}
proc prepend-path {name value} { puts "$name $value" }
proc setenv {name value} { puts "$name $value" }
source [lindex $argv 0]
EOF
    check modulefile tclsh commands.tcl usr/share/prismx/modulefile.tcl
    grep -q '^PATH /opt/prismx/.*/bin$' out && ok module-path || fail module-path "$(cat out)"
else
    skip modulefile "no tclsh"
fi
finish
