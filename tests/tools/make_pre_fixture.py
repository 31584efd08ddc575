#!/usr/bin/env python3
"""Pieces that the package tokenizers cuts texts into with the expressions of some of llama.cpp's pre-tokenizers, and
ids of a "whitespace" vocabulary. Writes tests/data/text/pre.json. Needs the package tokenizers."""
import json
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

FILE = pathlib.Path(__file__).resolve().parents[1] / "data" / "text" / "pre.json"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
HAN_KANA = "[一-龥぀-ゟ゠-ヿ]+"
WORDS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + r"?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + r"?")
CHAINS = {
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
              "[一-鿿㐀-䶿\u8C48-\uFAFF぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+",
              WORDS + r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + HAN_KANA,
              CASED + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "spark2_5": [r"\p{N}", HAN_KANA, WORDS + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"],
}
LINES = [
    "", " ", "a", "Don't it's WE'LL I'M abC ABc x/y.\n/z", "1 12 123 1234 12345 123456 1234567 x1234 1234x 12.3456,789", "١٢٣٤ ²½⅓ Ⅳ 12½34",
    "  two   three    four     five\ttab\t\ttabs \t mixed", "line\n\nline\r\n\r\n  indented\n\n\n    more  \n", "tail   ", "!!\n\n  b?!\n", "/*c*/ a-b_c <=> $5 €7 #x @y",
    "<sentinel:12>a<sentinel:x> IMGIMGABCZ IMGIMGABCDEZ IMGIMGZ", "中文abc 中文，。「か」！カタカナー 漢字かな混じり", "한국어 문장, ㄱㄴ ㅏ。Hangul가나 ᄀᄁ", "ㄅㄆㄇ注音 …“引用”‘x’—：；、〿︰﹏",
    "ไทยภาษา ลาว ខ្មែរ မြန်မာ ꧠꧡ ﾊﾝｶｸ ⼀⼁ 豈更", "क्षि देवनागरी é e\u0301x I\u0307 ǅungla ʰx ß ﬁ", "a\u200cb\u200d c\u00a0d\u3000e\u2028f\u0085g\u180eh", "😀👍🏽 a😀b (😀)", "don’t CAN'T y'all'd've 'S 's ſ'ſ",
]


def lines():
    rng = random.Random(7)
    parts = [p for line in LINES for p in (line[:3], line[-3:])] + list(" \n\t1a,A中") * 2
    return LINES + ["".join(rng.choice(parts) for _ in range(rng.randrange(2, 9))) for _ in range(60)]


def whitespace():
    """As jina-embeddings-v2-base-zh: lower case, words and runs of other characters, pieces in plain characters."""
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["你", "好"], ["w", "o"], ["!", "?"], ["é", "t"]]
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + list("helowrd!?,你好世éta ") + [a + b for a, b in merges]
    vocab = {p: i for i, p in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(m) for m in merges]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    texts = ["", "hello", "HELLO, world!?", "  hello\t\n world  ", "你好世hello你好", "ÉTÉ été", "x hello zzz", "he llo hell", "!? !!??", "hello_world"]
    ids = [tokenizer.encode(t).ids for t in texts]
    return {"tokens": pieces, "merges": [" ".join(m) for m in merges], "texts": texts, "ids": ids, "decoded": [tokenizer.decode(i) for i in ids]}


def main():
    texts = lines()
    out = {"lines": texts, "pieces": {}, "whitespace": whitespace()}
    for name, regexes in CHAINS.items():
        chain = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r), "isolated") for r in regexes] + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        out["pieces"][name] = [[piece for piece, _ in chain.pre_tokenize_str(t)] for t in texts]
    FILE.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(FILE.stat().st_size)


if __name__ == "__main__":
    main()
