#!/usr/bin/env python3
"""Holds every #include of src/ against the rank table of docs/design.md: a module includes itself
and lower ranks only. The table below is the one list to edit when a module is added."""
import pathlib
import re
import sys

RANKS = {
    "base": 0,
    "tensor": 1, "text": 1,
    "ir": 2, "kernels": 2, "quant": 2,
    "formats": 3, "exec": 3,
    "models": 4, "passes": 4, "backends": 4,
    "generate": 5, "train": 5,
    "evaluate": 6,
    "optimize": 7, "serve": 7,
    "app": 8,
}
# (from, to): reason. A sibling or upward include that the design accepts.
EXCEPTIONS: dict[tuple[str, str], str] = {}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([a-z0-9_]+)/')


def main() -> int:
    root = pathlib.Path(sys.argv[1]) / "src"
    wrong, seen = [], 0
    for path in sorted(root.rglob("*")):
        if path.suffix not in (".h", ".cpp", ".inc"):
            continue
        module = path.relative_to(root).parts[0]
        if module not in RANKS:
            wrong.append(f"{path}: module '{module}' has no rank")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            seen += 1
            target = found.group(1)
            allowed = target == module or (target in RANKS and RANKS[target] < RANKS[module])
            if not allowed and (module, target) not in EXCEPTIONS:
                wrong.append(f"{path}:{number}: {module} (rank {RANKS[module]}) includes {target} "
                             f"(rank {RANKS.get(target, 'unknown')})")
    print("\n".join(wrong))
    print(f"{seen} includes checked, {len(wrong)} against the ranks")
    return 1 if wrong or seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
