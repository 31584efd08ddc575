#!/usr/bin/env python3
"""What drafting does to the speed of answers: the same prompts with each way of drafting in alternation, decode tokens
per second and the ratio to plain decoding (median of rounds). Prompts that quote, change or sum up a text, and free ones.

    bench/speculation.py MODEL [--draft MODEL] [--raw] [--rounds 3] [--tokens 160] [--hone PATH] [--wrap CMD]
"""
import argparse
import json
import statistics
import subprocess

TEXT = """The harbour of Oldenfield lies behind two long walls of granite. Every morning at six the fishing boats leave the \
inner basin, and every evening they come back with cod, plaice and herring. The harbour master, Agnes Turnbull, writes the \
name of each boat into a large green book. In winter the fishing boats stay inside the inner basin when the wind blows from \
the north-east, because the waves then break over the two long walls of granite. The children of Oldenfield watch the waves \
from the window of the school, and the teacher reads the names of the boats from the large green book."""
CODE = """def total_price(items, tax_rate):
    total = 0
    for item in items:
        price = item.price * item.count
        total = total + price
    tax = total * tax_rate
    return total + tax


def average_price(items):
    total = 0
    for item in items:
        total = total + item.price
    return total / len(items)
"""
PROMPTS = {
    "copy": f"Repeat the following text word for word.\n\n{TEXT}",
    "edit": f"Write the following text again, with Oldenfield changed to Marport.\n\n{TEXT}",
    "code": f"Write this Python code again with a comment above each function.\n\n{CODE}",
    "summary": f"Sum up the following text in three sentences.\n\n{TEXT}",
    "questions": f"{TEXT}\n\nWho writes the names of the boats, where, and when do the boats leave and come back?",
    "story": "Tell a story about a lighthouse keeper who finds a letter in a bottle.",
    "advice": "What should I think about before I buy a used bicycle?",
}
RAW = {
    "copy": f"{TEXT}\n\nThe same text once more:\n\n",
    "list": "The countries of Europe and their capitals:\n\n1. France: Paris\n2. Spain: Madrid\n3. Italy: Rome\n4.",
    "story": "The lighthouse keeper found a letter in a bottle. He",
    "science": "Photosynthesis is the process by which",
}


def answer(args, prompt, temperature, extra):
    command = args.wrap.split() + [args.hone, "run", args.model, prompt, "-t", str(args.threads), "--temp", str(temperature), "--seed", "1",
                                   "-n", str(args.tokens), "--json", *extra] + (["--raw"] if args.raw else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--temperatures", default="0,0.8")
    parser.add_argument("--only", default="")
    parser.add_argument("--hone", default="hone")
    parser.add_argument("--wrap", default="", help="put before each command")
    args = parser.parse_args()
    ways = {"off": ["--speculate", "off"]}
    ways |= {"draft": ["--draft", args.draft]} if args.draft else {"auto": [], "ngram": ["--speculate", "ngram"]}
    print("| prompt | temperature | tokens | plain tokens/s | " + " | ".join(f"{w}: ratio (min to max), accepted / drafted" for w in list(ways)[1:]) + " | same text |")
    print("|---|---|---|---|" + "---|" * (len(ways) - 1) + "---|")
    for name, prompt in (RAW if args.raw else PROMPTS).items():
        if args.only and name not in args.only.split(","):
            continue
        for temperature in args.temperatures.split(","):
            rates, last = {w: [] for w in ways}, {}
            for _ in range(args.rounds):
                for way, extra in ways.items():
                    last[way] = r = answer(args, prompt, temperature, extra)
                    rates[way].append(r["tokens"] / r["decode_seconds"])
            cells = []
            for way in list(ways)[1:]:
                ratios = [a / b for a, b in zip(rates[way], rates["off"])]
                s = last[way]["speculation"]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {s['accepted']} / {s['drafted']}")
            same = all(r["ids"] == last["off"]["ids"] for r in last.values())
            print(f"| {name} | {temperature} | {last['off']['tokens']} | {statistics.median(rates['off']):.0f} | " + " | ".join(cells) +
                  f" | {'yes' if same else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
