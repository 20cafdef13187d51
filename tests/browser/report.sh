#!/bin/bash
# report.sh OUT PAGE...: pages of the report in a real browser. Screenshots at 1200 and 360 px, light and dark, and the
# print as PDF go to OUT, to be looked at; faults are printed, and the exit is 1 where there is one:
#   overflow  something is wider than the window
#   small     text in a figure below 8 px as shown
#   clipped   text of a figure that sticks out of it
#   overlap   two texts of a figure lie on one another
#   axe       serious and critical findings of axe-core, where AXE=.../axe.min.js names it
# Needs chromium (CHROMIUM=...); axe-core is on npm. Not part of tests/run.sh.
set -u
. "$(dirname "$0")/../../jobs/lib.sh"
[ $# -ge 2 ] || die "usage: tests/browser/report.sh OUT PAGE..."
chromium=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
[ -n "$chromium" ] || die "no chromium: apt-get install chromium, or CHROMIUM=..."
out=$1 bad=0
shift
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

browser() { # OPTION...
    timeout 120 "$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" "$@" 2>"$work/err"
}

# framed WIDTH: a page that shows page.html in a frame of this width, as windows are never narrower than 500 px, and
# says what the frame found.
framed() {
    cat <<END
<!DOCTYPE html><html><head><style>:root{color-scheme:light dark}body{margin:0}iframe{border:0;display:block}</style></head>
<body><iframe src="page.html" width="$1" height="12000"></iframe><pre id="found"></pre><script>
addEventListener("message", e => { document.getElementById("found").textContent = e.data; });
</script></body></html>
END
}

# probed PAGE: the page with its policy taken out, and a script that tells the frame around it what it finds.
probed() {
    sed -E 's/<meta http-equiv="Content-Security-Policy"[^>]*>//; s/<\/body>//; s/<\/html>//' "$1"
    [ -z "${AXE-}" ] || { echo '<script>' && cat "$AXE" && echo '</script>'; }
    cat <<'END'
<script>
(async () => {
  const faults = [];
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const wide = document.documentElement;
  if (wide.scrollWidth > wide.clientWidth + 1) faults.push("overflow " + wide.scrollWidth + " of " + wide.clientWidth);
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const frame = svg.getBoundingClientRect(), name = svg.querySelector("title").textContent.slice(0, 40), boxes = [];
    if (frame.width === 0) continue;
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect(), words = text.textContent.slice(0, 24);
      if (!words || box.width === 0) continue;
      if (parseFloat(getComputedStyle(text).fontSize) * frame.width / svg.viewBox.baseVal.width < 8)
        faults.push("small " + name + ": " + words);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        faults.push("clipped " + name + ": " + words);
      for (const other of boxes)
        if (Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left) > 2 &&
            Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top) > 5)
          faults.push("overlap " + name + ": " + words + " | " + other.words);
      boxes.push({box, words});
    }
  }
  if (window.axe) for (const v of (await axe.run()).violations)
    if (v.impact === "serious" || v.impact === "critical")
      faults.push("axe " + v.id + " " + v.nodes.length + ": " + v.nodes[0].html.slice(0, 80));
  parent.postMessage("\nFOUND\n" + [...new Set(faults)].map(f => "FAULT " + f).join("\n") + "\n", "*");
})();
</script></body></html>
END
}

for page in "$@"; do
    name=$(basename "$page" .html)
    path=$(realpath "$page")
    browser --print-to-pdf="$out/$name.pdf" --no-pdf-header-footer "file://$path" >/dev/null
    for width in 1200 360; do
        for scheme in light dark; do
            setting=1
            [ $scheme = light ] || setting=0
            framed $width >"$work/frame.html"
            cp "$path" "$work/page.html"
            browser --blink-settings=preferredColorScheme=$setting --window-size=$((width > 500 ? width : 500)),12000 \
                --screenshot="$out/$name-$width-$scheme.png" "file://$work/frame.html" >/dev/null
            probed "$page" >"$work/page.html"
            browser --blink-settings=preferredColorScheme=$setting --window-size=1300,12000 --virtual-time-budget=60000 \
                --dump-dom "file://$work/frame.html" >"$work/dom"
            grep -q '^FOUND' "$work/dom" || {
                echo "$name $width $scheme: the page was not read: $(tail -n 1 "$work/err")"
                bad=1
            }
            sed -n "s/^FAULT/$name $width $scheme:/p" "$work/dom" | sed 's/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' >"$work/faults"
            [ ! -s "$work/faults" ] || bad=1
            head -n 30 "$work/faults"
        done
    done
done
[ $bad = 0 ] && echo "no fault; look at $out"
exit $bad
