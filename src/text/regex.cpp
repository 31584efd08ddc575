#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <time.h>

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxPattern = 1 << 16;
// Backtracking steps of one match are bounded by the length searched, their sum by the thread's clock.
constexpr uint32_t kMatchLimitBase = 100'000, kMatchLimitPerByte = 64;
constexpr uint32_t kHeapLimit = 64 << 10;      // KiB, interpreter only

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Oniguruma's \s is White_Space; PCRE2's also has U+180E. Oniguruma's \w is Alphabetic, marks,
// decimal digits, connecting punctuation and (its oddity) the other numbers of Latin-1. Elsewhere the two
// agree on tokenizer patterns.
std::string to_pcre(std::string_view pattern) {
  static constexpr std::string_view kSpace = "\\t-\\r\\x{85}\\p{Z}";
  static constexpr std::string_view kWord = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE\\x{24B6}-\\x{24E9}";
  static const std::string boundary = "(?:(?<=[" + std::string(kWord) + "])(?![" + std::string(kWord) + "])|(?<![" + std::string(kWord) + "])(?=[" +
                                      std::string(kWord) + "]))";
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's' && in_class) out += kSpace;
      else if (next == 's') out.append("[").append(kSpace).append("]");
      else if (next == 'S' && !in_class) out.append("[^").append(kSpace).append("]");
      else if (next == 'w' && in_class) out += kWord;
      else if (next == 'w') out.append("[").append(kWord).append("]");
      else if (next == 'W' && !in_class) out.append("[^").append(kWord).append("]");
      else if (next == 'b' && !in_class) out.append(boundary);
      else out.append({c, next});
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      out += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      continue;
    }
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern) : pattern_(pattern), code_(std::make_unique<Code>()) {
  if (pattern.size() > kMaxPattern) fail(ErrorKind::kUnsupported, "[tokenizer] a regular expression of {} bytes is too long", pattern.size());
  if (!is_valid_utf8(pattern)) fail(ErrorKind::kBadInput, "[tokenizer] a regular expression is not valid UTF-8");
  const std::string translated = to_pcre(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!code_->code) {
    PCRE2_UCHAR message[200];
    pcre2_get_error_message(error, message, sizeof message);
    fail(ErrorKind::kUnsupported, "[tokenizer] regular expression '{}': {} (at byte {})", pattern.substr(0, 200),
         reinterpret_cast<const char*>(message), offset);
  }
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // on failure the interpreter runs
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

namespace {

// Per thread: what pcre2_match writes into and its stack, made once.
struct MatchState {
  pcre2_match_data* data = pcre2_match_data_create(8, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 16 << 20, nullptr);
  double deadline = 0.0;  // on the thread's CPU clock
  uint32_t calls = 0;
  MatchState() {
    if (!data || !context || !stack) fail(ErrorKind::kResource, "[tokenizer] not enough memory for regular expressions");
    pcre2_set_heap_limit(context, kHeapLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

MatchState& match_state() {
  thread_local MatchState state;
  return state;
}

}  // namespace

void start_regex_budget(size_t text_bytes) {
  match_state().deadline = thread_seconds() + 5.0 + 10e-6 * static_cast<double>(text_bytes);  // measured use: 0.1 us a byte
}

void Regex::find_all(std::string_view text, Span range, std::vector<Span>& matches) const {
  MatchState& state = match_state();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() + range.begin);
  const size_t length = range.size();
  const PCRE2_SIZE* ovector = pcre2_get_ovector_pointer(state.data);
  const size_t limit = kMatchLimitBase + kMatchLimitPerByte * std::min<size_t>(length, 16 << 20);
  pcre2_set_match_limit(state.context, static_cast<uint32_t>(limit));
  const auto shown = [&] { return std::string_view(pattern_).substr(0, 200); };
  for (size_t at = 0; at <= length;) {
    const int rc = pcre2_match(code_->code, subject, length, at, PCRE2_NO_UTF_CHECK, state.data, state.context);
    if (rc == PCRE2_ERROR_NOMATCH) return;
    if (rc < 0 || ((++state.calls & 255) == 0 && thread_seconds() > state.deadline))
      fail(ErrorKind::kBadInput, "[tokenizer] regular expression '{}' takes too much work on this text", shown());
    const size_t begin = ovector[0], end = ovector[1];
    if (end < begin || begin < at)  // \K inside a look-around can do this
      fail(ErrorKind::kUnsupported, "[tokenizer] regular expression '{}' moves its match backwards", shown());
    matches.push_back({range.begin + begin, range.begin + end});
    if (end > begin) at = end;
    else if (end < length) at = end + decode_utf8({text.data() + range.begin, length}, end).length;
    else return;
  }
}

}  // namespace hone::text
