#!/usr/bin/env python3
"""Ids that the package tokenizers gives for single normalizers and pre-tokenizers.

Writes tests/data/text/components.json. The model is a WordPiece of single characters: the first character of a
piece and the others have different ids, so ids show both the normalized text and where it was cut.
"""
import json
import pathlib
import unicodedata

from tokenizers import Tokenizer

LINES = [
    "the-final--countdown-", "a,,b  c", " x  y ", " ", "", "\u0130STANBUL \u01c5 \u00df", "e\u0301\u0323 \u1e0b\u0323 \ufb01 \u2460 \u338f \ufdfa",
    "\ud55c\uad6d \u1112\u1161\u11ab", "\ttab\there\x00nul\x01\u200b\ufeff\u2028z", "foo_bar x9y \u0661\u0662\u0663 \u00b2\u00bd, \u2166.",
    "\u201cquotes\u201d\u2014dash\u2026 it's we'll", "nel\u0085 nbsp\u00a0 180e\u180e x\u3000y", "\u0915\u094d\u0937\u093f \u4f60\u597d\u4e16 \U0001f600\u200d\U0001f525!",
    "line\r\nline\n\n\nend  ", "12345 6.7e-8", "CaSe \u00c9t\u00e9 \u0391\u03a3",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
NORMALIZERS = [{"type": t} for t in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]] + [
    {"type": "Strip", "strip_left": left, "strip_right": right} for left, right in [(True, False), (True, True), (False, True)]] + [
    {"type": "Prepend", "prepend": "\u2581"},
    {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "_"},
    {"type": "Replace", "pattern": {"String": "e"}, "content": ""},
    {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
]
PRE_TOKENIZERS = [{"type": "Split", "pattern": {"Regex": p}, "behavior": b, "invert": i}
                  for p in ["\\s+", "\\w"] for b in BEHAVIORS for i in (False, True)] + [
    {"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithPrevious", "invert": False},
] + [{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": p, "split": s} for p in ("always", "first", "never") for s in (True, False)] + [
    {"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
] + [{"type": "Punctuation", "behavior": b} for b in BEHAVIORS] + [{"type": t} for t in ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"]] + [
    {"type": "CharDelimiterSplit", "delimiter": "a"}, {"type": "FixedLength", "length": 3},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True},
                                           {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}]},
]


def vocabulary():
    characters = set(map(chr, range(0x21, 0x144))) | set("\u2581_ ")
    for line in LINES:
        for form in ["NFC", "NFD", "NFKC", "NFKD"]:
            text = unicodedata.normalize(form, line)
            characters |= set(text) | set(text.lower())
    pieces = ["[UNK]"] + [prefix + c for c in sorted(characters) for prefix in ("", "##")]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def document(normalizer, pre_tokenizer, vocab):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "post_processor": None, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 1000, "vocab": vocab}}


def main():
    vocab = vocabulary()
    cases = []
    for normalizer, pre_tokenizer in [(n, None) for n in NORMALIZERS] + [(None, p) for p in PRE_TOKENIZERS]:
        tokenizer = Tokenizer.from_str(json.dumps(document(normalizer, pre_tokenizer, vocab)))
        cases.append({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
                      "ids": [" ".join(map(str, tokenizer.encode(line).ids)) for line in LINES]})
    folder = pathlib.Path(__file__).resolve().parents[1] / "data" / "text"
    with open(folder / "components.json", "w") as file:
        json.dump({"document": document(None, None, vocab), "lines": LINES, "cases": cases}, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
