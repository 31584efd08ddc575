"""The goals that bench/compare holds its rows against: ratios to llama.cpp in the same run, and shares of the machine's roofs."""

REPACKED = {"Q4_0", "Q4_K", "Q4_K_M", "Q4_K_S", "IQ4_NL", "Q8_0"}  # llama.cpp has a fast path for prompts
PLAIN = {"F32", "F16", "BF16"}  # and one of another kind
# ik_llama.cpp's decode by llama.cpp's, both measured once on the same machine (SmolLM2-135M); the goal is 1.2 times that.
FORK = {"Q4_0": 373 / 293, "IQ4_NL": 317 / 305, "Q5_1": 218 / 156, "Q8_0": 247 / 171}


def decode_goal(kind: str) -> float:
    return max(1.4, 1.2 * FORK.get(kind, 0))


def prefill_goal(kind: str) -> float:
    return 2.0 if kind in REPACKED | PLAIN else 4.0


class Line:
    """A line of the table: how values of a round become a figure, and what it must reach."""

    def __init__(self, title, row, value, goal, at_most=False, unit="", ours=None, theirs=None):
        self.title, self.row, self.value, self.at_most, self.unit = title, row, value, at_most, unit
        self.goal = goal if callable(goal) else lambda kind: goal
        self.ours, self.theirs = ours, theirs

    def met(self, figure: float, kind: str) -> bool:
        return figure <= self.goal(kind) if self.at_most else figure >= self.goal(kind)


def ratio(key):
    return lambda r: r["hone"][key] / r["peer"][key]


def inverse(key):
    return lambda r: r["peer"][key] / r["hone"][key]


def own(key):
    return lambda r: r["hone"][key]


LINES = [
    Line("prefill 512", "plain", ratio("prefill"), prefill_goal, ours="prefill", theirs="prefill", unit="tokens/s"),
    Line("prefill 512, share of the arithmetic roof", "plain", own("arithmetic_share"), 0.5),
    Line("decode 128", "plain", ratio("decode"), decode_goal, ours="decode", theirs="decode", unit="tokens/s"),
    Line("decode 128, share of the read bandwidth", "plain", own("bandwidth_share"), 0.8),
    Line("decode after 4,096", "depth", ratio("decode"), 2.0, ours="decode", theirs="decode", unit="tokens/s"),
    Line("decode after 4,096, share of the read bandwidth", "depth", own("bandwidth_share"), 0.7),
    Line("8 sequences at once", "sequences", ratio("decode"), 2.0, ours="decode", theirs="decode", unit="tokens/s"),
    Line("start to first token", "start", ratio("seconds"), 0.5, at_most=True, ours="seconds", theirs="seconds", unit="s"),
    Line("peak memory beyond file and cache, MB", "memory", own("rest_mb"), 40, at_most=True, ours="peak_mb", theirs="peak_mb", unit="MB"),
    Line("prefill kept while 2 processes spin", "busy", own("prefill"), 0.45, ours="prefill", theirs="prefill", unit="kept"),
    Line("decode kept while 2 processes spin", "busy", own("decode"), 0.45, ours="decode", theirs="decode", unit="kept"),
    Line("prefill 512 beside OpenVINO GenAI", "openvino", ratio("prefill"), 1.4, ours="prefill", theirs="prefill", unit="tokens/s"),
    Line("decode 128 beside OpenVINO GenAI", "openvino", ratio("decode"), 1.0, ours="decode", theirs="decode", unit="tokens/s"),
    Line("quantizing, times as fast", "quantize", inverse("seconds"), 2.0, ours="seconds", theirs="seconds", unit="s"),
]
