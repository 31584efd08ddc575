#!/usr/bin/env python3
"""Writes the tables of src/text/unicode_*.inc: what the package tokenizers knows about every code point. It mixes several
versions of Unicode (its regular expressions, its punctuation, its digits, Rust's own), so its answers are asked for one by one.

  unicode_scripts.inc   runs {first code point, script}; script 0 joins any other, numbers have no other meaning
  unicode_classes.inc   runs {first code point, category | flags}, see char_class.h
  unicode_lower.inc     {first, last, step, distance to the lower-case letter}
Needs the package tokenizers.
"""
import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "text"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = [r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}", r"\d", r"\p{N}", r"\p{P}", r"\p{S}"]


def write(name, what, rows):
    lines = [f"// Made by tests/tools/make_unicode_tables.py: {what}"]
    line = ""
    for row in rows:
        if len(line) + len(row) > 104:
            lines.append(line.rstrip())
            line = ""
        line += row + " "
    lines.append(line.rstrip())
    (FOLDER / name).write_text("\n".join(lines) + "\n")
    print(name, len(rows))


def scripts():
    split = pre_tokenizers.UnicodeScripts()
    same = lambda a, b: len(split.pre_tokenize_str(a + b)) == 1  # noqa: E731
    is_any = lambda c: len(split.pre_tokenize_str(c)) == 0  # noqa: E731
    representatives, runs, last = [], [], None
    for point in POINTS:
        c = chr(point)
        if is_any(c):
            script = 0
        elif last and same(representatives[last - 1], c):
            script = last
        else:
            script = next((i + 1 for i, r in enumerate(representatives) if same(r, c)), 0)
            if script == 0:
                representatives.append(c)
                script = len(representatives)
        if script != last:
            runs.append(f"{{0x{point:X}, {script}}},")
            last = script
    write("unicode_scripts.inc", "{first code point, script}, in order.", runs)


def matches(pre, between="x"):
    """Code points that are a piece of their own between letters, or between what is in no class."""
    found = set()
    for begin in range(0, len(POINTS), 4096):
        points = POINTS[begin:begin + 4096]
        text = between + between.join(map(chr, points)) + between
        starts = {b for _, (b, _) in pre.pre_tokenize_str(text)}
        ends = {e for _, (_, e) in pre.pre_tokenize_str(text)}
        found |= {p for i, p in enumerate(points) if 1 + 2 * i in starts or 1 + 2 * i in ends}
    return found


def regex(pattern):
    return matches(pre_tokenizers.Split(Regex(pattern), "isolated"), "\x01")


def changed(normalizer, to):
    return {p for p in POINTS if normalizer.normalize_str("x" + chr(p) + "y") == "x" + to + "y"}


def classes():
    category = {}
    for i, pattern in reversed(list(enumerate(CATEGORIES))):
        for p in regex(pattern):
            category[p] = i + 1
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    chinese = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    accents = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    whitespace = pre_tokenizers.Whitespace()
    flags = [regex(r"\s"), regex(r"\w"), matches(pre_tokenizers.Punctuation()), matches(pre_tokenizers.Digits(individual_digits=True)),
             changed(clean, ""), changed(clean, " "), changed(normalizers.StripAccents(), ""), changed(accents, ""),
             matches(pre_tokenizers.WhitespaceSplit()), {p for p in POINTS if len(whitespace.pre_tokenize_str("x" + chr(p))) == 1 and len(whitespace.pre_tokenize_str("!" + chr(p))) == 2},
             {p for p in POINTS if chinese.normalize_str(chr(p)) == f" {chr(p)} "}]
    runs, last = [], None
    for p in POINTS:
        value = category.get(p, 0) | sum(16 << i for i, s in enumerate(flags) if p in s)
        if value != last:
            runs.append(f"{{0x{p:X}, 0x{value:X}}},")
            last = value
    write("unicode_classes.inc", "{first code point, category | flags << 4}, in order.", runs)


def lower():
    n, rows = normalizers.Lowercase(), []
    for p in POINTS:
        to = n.normalize_str(chr(p))
        if to == chr(p):
            continue
        if len(to) > 1:
            assert p == 0x130
            continue
        distance = ord(to) - p
        if rows and rows[-1][3] == distance and p - rows[-1][1] in (1, 2) and rows[-1][2] in (0, p - rows[-1][1]):
            rows[-1][2], rows[-1][1] = p - rows[-1][1], p
        else:
            rows.append([p, p, 0, distance])
    write("unicode_lower.inc", "{first, last, step, distance}; U+0130 alone becomes two characters.",
          [f"{{0x{a:X}, 0x{b:X}, {s or 1}, {d}}}," for a, b, s, d in rows])


if __name__ == "__main__":
    scripts()
    classes()
    lower()
