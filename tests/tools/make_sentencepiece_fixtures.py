#!/usr/bin/env python3
"""Trains small SentencePiece models of every kind and writes what the package sentencepiece gives for many texts:
tests/data/text/sentencepiece.json. Needs the packages sentencepiece and protobuf."""
import base64
import io
import json
import pathlib
import random
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

FILE = pathlib.Path(__file__).resolve().parents[1] / "data" / "text" / "sentencepiece.json"
CORPUS = """
The quick brown fox jumps over the lazy dog while the other foxes sleep.
A river runs through the old town; boats, barges and ferries cross it every hour.
Numbers like 3, 14 and 159 are split; so are 2026-11-24 and 12:30.
Le petit renard brun saute par-dessus le chien paresseux, l'été dernier.
Der schnelle braune Fuchs springt über den faulen Hund. Größe und Übermut.
Быстрая коричневая лиса прыгает через ленивую собаку.
素早い茶色の狐がのろまな犬を飛び越える。東京と大阪の間。
def main(argv): return [x for x in argv if x.startswith("--")]
sleep sleeping sleeper sleeps slept; run running runner runs ran; over overt overly
<tool> calls a tool and </tool> ends it; foo bar foobar barfoo foofoo
""".strip().splitlines()
RULES = [("Ａ", "A"), ("ａ", "a"), ("ﬁ", "fi"), ("é", "e"), ("e\u0301", "E"), ("　", " "), ("\t", " "), ("\u200b", ""), ("…", "..."), ("ab", "ba")]
MODELS = {
    "bpe": dict(model_type="bpe"),
    "bpe-bytes": dict(model_type="bpe", byte_fallback=True, vocab_size=420),
    "bpe-llama": dict(model_type="bpe", byte_fallback=True, vocab_size=420, remove_extra_whitespaces=False, split_digits=True,
                      allow_whitespace_only_pieces=True),
    "bpe-no-prefix": dict(model_type="bpe", add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols="\n,  ,foo"),
    "bpe-symbols": dict(model_type="bpe", user_defined_symbols="foo,foobar,<tool>,▁over,é", control_symbols="<ctl>,<sep>", pad_id=3),
    "bpe-suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True),
    "bpe-rules": dict(model_type="bpe", rules=True, byte_fallback=True, vocab_size=420),
    "bpe-across": dict(model_type="bpe", split_by_whitespace=False),
    "bpe-unused": dict(model_type="bpe", unused=5),
    "unigram": dict(model_type="unigram"),
    "unigram-bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=420),
    "unigram-symbols": dict(model_type="unigram", user_defined_symbols="foo,foobar,<tool>,▁over,é", control_symbols="<ctl>",
                            remove_extra_whitespaces=False),
    "unigram-suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True, unk_surface="<?>"),
    "unigram-rules": dict(model_type="unigram", rules=True, denormalizer=True),
    "unigram-unused": dict(model_type="unigram", unused=4),
    "unigram-unescaped": dict(model_type="unigram", escape_whitespaces=False),
    "word": dict(model_type="word", user_defined_symbols="foo"),
    "char": dict(model_type="char", user_defined_symbols="foo,<tool>"),
}


def train(name, options):
    options = dict(options)
    rules, unused, denormalizer = options.pop("rules", False), options.pop("unused", 0), options.pop("denormalizer", False)
    escape = options.pop("escape_whitespaces", True)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as f:
        for a, b in RULES:
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        f.flush()
        normal = dict(normalization_rule_tsv=f.name) if rules else dict(normalization_rule_name="identity")
        if denormalizer:
            normal["denormalization_rule_tsv"] = f.name
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS * 3), model_writer=out, minloglevel=2, hard_vocab_limit=False,
                                                 num_threads=1, character_coverage=0.98, **{"vocab_size": 230, **normal, **options})
    model = proto.ModelProto.FromString(out.getvalue())
    model.trainer_spec.ClearField("normalization_rule_tsv") if hasattr(model.trainer_spec, "normalization_rule_tsv") else None
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    model.denormalizer_spec.ClearField("normalization_rule_tsv")
    model.normalizer_spec.escape_whitespaces = escape
    if unused:  # every n-th piece of more than one character is a step only
        longer = [p for p in model.pieces if p.type == 1 and len(p.piece) > 1]
        for p in longer[::unused]:
            p.type = 5
    return model.SerializeToString()


def texts():
    rng = random.Random(5)
    words = " ".join(CORPUS).split() + ["foo", "foobar", "<tool>", "é", "e\u0301", "ﬁn", "ＡＢａ", "ab", "abab", "▁", "▁over", "😀", "Ω", "ΩΩ", "zq", "\u200b",
                                        "…", "<s>", "</s>", "<unk>", "<ctl>", "<0x41>", "\n", "\t", "　"]
    fixed = ["", " ", "  ", "\n", "a", " a", "a ", "  a  b  ", "▁", "▁▁a▁", "\t\t", "　　x　", "foo", " foo ", "foofoobarfoo", "ΩΩΩ Ω", "é", "e\u0301e\u0301",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sleepsleepingsleeperrunning" * 3, "\u0000a", "\u200b", "\u200b \u200b", "…", "ab ab"]
    for _ in range(60):
        fixed.append("".join(rng.choice(words) + rng.choice(["", " ", " ", " ", "  ", "   "]) for _ in range(rng.randrange(1, 9))))
    return fixed


def main():
    all_texts = texts()
    rng = random.Random(6)
    fixture = {"texts": all_texts, "models": []}
    for name, options in MODELS.items():
        data = train(name, options)
        p = sentencepiece.SentencePieceProcessor(model_proto=data)
        ids = [p.encode(t) for t in all_texts]
        some = [[rng.randrange(p.vocab_size()) for _ in range(rng.randrange(1, 12))] for _ in range(40)]
        if p.is_byte(p.piece_to_id("<0x41>")):
            byte = lambda b: p.piece_to_id(f"<0x{b:02X}>")  # noqa: E731
            some += [[byte(b) for b in row] for row in (b"\xe4\xbd\xa0", b"\xe4\xbd", b"\xf0a", b"\xff\xfe a", b"\xc3\xa9\xc3")]
        fixture["models"].append({"name": name, "model": base64.b64encode(data).decode(), "ids": [" ".join(map(str, i)) for i in ids],
                                  "texts": [p.decode(i) for i in ids], "random_ids": [" ".join(map(str, i)) for i in some],
                                  "random_texts": [p.decode(i) for i in some], "unknown": p.unk_id(), "bos": p.bos_id(), "eos": p.eos_id(),
                                  "pad": p.pad_id(), "size": p.vocab_size()})
    FILE.write_text(json.dumps(fixture, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(FILE.stat().st_size)


if __name__ == "__main__":
    main()
