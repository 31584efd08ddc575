// Regular expressions of tokenizers: PCRE2 with Unicode properties, compiled to machine code, with limits
// that keep a hostile pattern from hanging the program.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hone::text {

struct Span {
  size_t begin = 0, end = 0;  // bytes
  size_t size() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

// Gives the regular expressions of this thread a time budget for one text of so many bytes.
void start_regex_budget(size_t text_bytes);

class Regex {
 public:
  // Error(kUnsupported) when PCRE2 refuses the pattern.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Appends the matches in text[range], left to right, not overlapping; look-behind and anchors see the
  // range only. Empty matches are kept. text must be valid UTF-8.
  // Error(kBadInput) when the pattern needs unreasonable work (see start_regex_budget).
  void find_all(std::string_view text, Span range, std::vector<Span>& matches) const;
  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  std::string pattern_;
  std::unique_ptr<Code> code_;
};

}  // namespace hone::text
