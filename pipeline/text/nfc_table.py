"""Writes nfc_table.h beside this file: canonical decompositions, compositions and combining classes of
Unicode, from Python's own tables. Run: python nfc_table.py"""
import os
import unicodedata as u


def one_step(c):
    d = u.decomposition(chr(c))
    return [int(x, 16) for x in d.split()] if d and not d.startswith("<") else None


def wrapped(name, kind, items):
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 99:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    return "static const %s %s[] = {\n%s\n};\n" % (kind, name, "\n".join(lines + [line]))


decompositions = [(c, *(one_step(c) + [0])[:2]) for c in range(0x110000) if one_step(c)]
# A pair composes unless Unicode excludes it: then NFC of what it came from is not it.
pairs = sorted((a, b, i) for i, (c, a, b) in enumerate(decompositions)
               if b and u.normalize("NFC", chr(c)) == chr(c))
classes = []
for c in range(0x110000):
    k = u.combining(chr(c))
    if k and classes and classes[-1][2] == k and classes[-1][1] == c - 1:
        classes[-1][1] = c
    elif k:
        classes.append([c, c, k])
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "nfc_table.h"), "w") as f:
    f.write("/* nfc_table.h - canonical composition of Unicode %s; made by nfc_table.py. */\n" % u.unidata_version)
    f.write("#include <stdint.h>\n\n// clang-format off\n")
    f.write("/* code point, first, second (0: none) */\n")
    f.write(wrapped("decompositions", "int32_t", ["%#x,%#x,%#x" % d for d in decompositions]))
    f.write("/* rows of decompositions that compose, by first and second */\n")
    f.write(wrapped("compositions", "uint16_t", [str(i) for _, _, i in pairs]))
    f.write("/* first, last code point, combining class */\n")
    f.write(wrapped("classes", "int32_t", ["%#x,%#x,%d" % tuple(k) for k in classes]))
