#!/usr/bin/env python3
"""Decoders, models and post-processors of the tokenizer.json schema: what the package tokenizers makes of many small
documents. Writes tests/data/text/decoders.json. Needs the package tokenizers."""
import itertools
import json
import pathlib
import random

from tokenizers import Tokenizer

FILE = pathlib.Path(__file__).resolve().parents[1] / "data" / "text" / "decoders.json"
TOKENS = ["▁Hello", "▁", "wor", "##ld", "</w>", "do</w>", "<0xE4>", "<0xBD>", "<0xA0>", "<0x41>", "<pad>", "|", "h", "h", "e", "l", ".", "'", "n't", "Ġthe", "Ċ", "Ã©",
          "Ã", "ing", "##s", "a▁b", "▁▁", "é", "x.", "do not", "'s", " "]
META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
DECODERS = [None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, META, dict(META, prepend_scheme="never"), dict(META, prepend_scheme="first"),
            {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "WordPiece", "prefix": "##", "cleanup": False}, {"type": "BPEDecoder", "suffix": "</w>"},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "h", "start": 1, "stop": 0}, {"type": "Strip", "content": ".", "start": 0, "stop": 1}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            REPLACE, {"type": "Replace", "pattern": {"Regex": "[hl]+"}, "content": "_"},
            {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}, {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": False},
            {"type": "Sequence", "decoders": [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, META]}, {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}]}]
LINES = ["hello hell low", "lohel", "xhellox", "ΩhΩΩ el", "", "helloé", "hhhhllll", "ell ell", "o", "€"]


def bpe(**options):
    prefix, suffix = options.get("continuing_subword_prefix") or "", options.get("end_of_word_suffix") or ""
    vocab = ["<unk>"] + list("helox")
    merges = []
    for a, b in [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("l", "o")]:
        vocab += [p for p in (a, prefix + b, b) if p not in vocab]
        merges.append([a if a in "hl" or a.startswith("he") else a, prefix + b])
        vocab += [a + b] if a + b not in vocab else []
    for c in "helox":
        vocab += [p for p in (prefix + c, c + suffix, prefix + c + suffix) if p not in vocab]
    if options.get("byte_fallback"):
        vocab += [f"<0x{b:02X}>" for b in range(256) if b != 0xA9]
    vocab.append("ell")
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "vocab": {v: i for i, v in enumerate(dict.fromkeys(vocab))}, "merges": merges}
    return dict(model, **options)


def models():
    for unk, fuse, fallback, ignore in itertools.product([None, "<unk>"], [False, True], [False, True], [False, True]):
        yield bpe(unk_token=unk, fuse_unk=fuse, byte_fallback=fallback, ignore_merges=ignore)
    yield bpe(end_of_word_suffix="</w>", unk_token="<unk>")
    yield bpe(continuing_subword_prefix="##", unk_token="<unk>")
    pieces = [["<unk>", 0.0], ["h", -3.0], ["e", -3.0], ["l", -3.0], ["o", -3.5], ["he", -4.0], ["ll", -5.0], ["hell", -6.5], ["ell", -6.0], ["lo", -5.5], ["low", -1.0]]
    yield {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False}
    yield {"type": "Unigram", "unk_id": 0, "vocab": pieces + [[f"<0x{b:02X}>", -9.0] for b in range(256)], "byte_fallback": True}
    words = {"[UNK]": 0, "h": 1, "##e": 2, "##l": 3, "he": 4, "##ll": 5, "##o": 6, "hello": 7, "l": 8, "lo": 9, "##w": 10, "o": 11}
    yield {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 6, "vocab": words}
    yield {"type": "WordLevel", "vocab": {"<unk>": 0, "hello": 1, "ell": 2}, "unk_token": "<unk>"}


def document(**parts):
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": {t: i for i, t in enumerate(dict.fromkeys(TOKENS))}, "unk_token": "|"}}
    return dict(base, **parts)


def main():
    rng = random.Random(3)
    lists = [[rng.randrange(len(set(TOKENS))) for _ in range(rng.randrange(1, 9))] for _ in range(30)]
    out = {"document": document(), "lists": lists, "decoders": [], "lines": LINES, "models": []}
    for decoder in DECODERS:
        t = Tokenizer.from_str(json.dumps(document(decoder=decoder)))
        out["decoders"].append({"decoder": decoder, "texts": [t.decode(i) for i in lists]})
    for model in models():
        d = document(model=model, pre_tokenizer={"type": "WhitespaceSplit"})
        t = Tokenizer.from_str(json.dumps(d))
        out["models"].append({"model": model, "ids": [" ".join(map(str, t.encode(line).ids)) for line in LINES]})
    FILE.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(FILE.stat().st_size)


if __name__ == "__main__":
    main()
