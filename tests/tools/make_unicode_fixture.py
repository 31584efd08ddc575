#!/usr/bin/env python3
"""What the package tokenizers thinks of every code point: tests/data/text/unicode.json.

Per component and block of 0x1000 code points a CRC-32: for pre-tokenizers of one bit per character ("is a piece of its own" in
the text of the block's characters, each between two letters x, for regular expressions between two U+0001), for normalizers of the normalized text. Blocks without any
character set, or without any change, are left out. Needs the package tokenizers.
"""
import json
import pathlib
import zlib

from tokenizers import Regex, normalizers, pre_tokenizers

FILE = pathlib.Path(__file__).resolve().parents[1] / "data" / "text" / "unicode.json"
BLOCK = 0x1000
REGEXES = [r"\p{L}", r"\p{N}", r"\p{M}", r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{P}", r"\p{S}", r"\s", r"\w", r"\d"]
SPLITS = {r: {"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated", "invert": False} for r in REGEXES}
SPLITS |= {"Punctuation": {"type": "Punctuation", "behavior": "Isolated"}, "Digits": {"type": "Digits", "individual_digits": True},
           "WhitespaceSplit": {"type": "WhitespaceSplit"}, "Whitespace": {"type": "Whitespace"}, "Bert": {"type": "BertPreTokenizer"},
           "UnicodeScripts": {"type": "UnicodeScripts"}}
NORMALIZERS = {"NFC": {"type": "NFC"}, "NFD": {"type": "NFD"}, "NFKC": {"type": "NFKC"}, "NFKD": {"type": "NFKD"}, "Lowercase": {"type": "Lowercase"},
               "StripAccents": {"type": "StripAccents"}, "Nmt": {"type": "Nmt"},
               "Strip": {"type": "Strip", "strip_left": True, "strip_right": True},
               "BertCased": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": False, "lowercase": False},
               "BertAccents": {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False},
               "BertLower": {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": True}}


def load(kind, document):
    from tokenizers import Tokenizer
    t = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
         "post_processor": None, "decoder": None, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    t[kind] = document
    return getattr(Tokenizer.from_str(json.dumps(t)), kind)


def blocks():
    for begin in range(0, 0x110000, BLOCK):
        points = [c for c in range(begin, begin + BLOCK) if not 0xD800 <= c < 0xE000]
        if points:
            yield begin, points


def bits(pre, points, between):
    """'1' where a piece begins or ends at the character, or the character is gone."""
    text = between.join(["", *map(chr, points), ""])
    starts = set()
    for piece, (begin, end) in pre.pre_tokenize_str(text):
        starts.add(begin)
        starts.add(-end)
    return "".join("1" if 1 + 2 * i in starts or -(1 + 2 * i) in starts else "0" for i in range(len(points)))


def main():
    out = {}
    for name, document in SPLITS.items():
        pre, rows = load("pre_tokenizer", document), {}
        for begin, points in blocks():
            row = bits(pre, points, "\x01" if document["type"] == "Split" else "x")
            if "1" in row:
                rows[f"{begin:X}"] = zlib.crc32(row.encode())
        out[name] = {"pre_tokenizer": document, "blocks": rows}
    for name, document in NORMALIZERS.items():
        norm, rows = load("normalizer", document), {}
        for begin, points in blocks():
            lines = [chr(c) if name == "Strip" else "x" + chr(c) + "\n" for c in points]
            done = [norm.normalize_str(line) for line in lines]
            if done != lines:
                rows[f"{begin:X}"] = zlib.crc32("".join(done).encode())
        out[name] = {"normalizer": document, "blocks": rows}
    FILE.write_text(json.dumps(out, indent=0) + "\n")
    print(FILE.stat().st_size)


if __name__ == "__main__":
    main()
