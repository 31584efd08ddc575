#include "text/template_lexer.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxSource = 8u << 20;

// One kind of newline; one newline at the end of the template is not part of it.
std::string normalize_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return to_valid_utf8(out);
}

bool is_name_start(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<uint8_t>(c) >= 0x80; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= 9 && c <= 13); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_source(source)) {}

  std::vector<TemplateToken> run() {
    while (at_ < source_.size()) lex_data();
    push(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void error(const std::string& what) const { fail(ErrorKind::kBadInput, "[template] line {}: {}", line_, what); }

  void push(TokenKind kind, std::string text = {}) {
    TemplateToken token;
    token.kind = kind;
    token.text = std::move(text);
    token.line = line_;
    tokens_.push_back(std::move(token));
  }

  bool looking_at(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }

  void advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_), source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1))
      if (i + 1 < source_.size() && (source_[i + 1] == '%' || source_[i + 1] == '{' || source_[i + 1] == '#')) return i;
    return source_.size();
  }

  void skip_spaces() {
    size_t to = at_;
    while (to < source_.size()) {
      const Decoded d = decode_utf8(source_, to);
      if (!is_whitespace(d.code_point)) break;
      to += d.length;
    }
    advance(to);
  }

  // Text up to the next tag, with what the tag's sign and lstrip_blocks take away from its end.
  void push_data(size_t begin, size_t end, char sign, bool strips_line) {
    size_t keep = end;
    if (sign == '-') {
      while (keep > begin) {
        size_t previous = keep - 1;
        while (previous > begin && (static_cast<uint8_t>(source_[previous]) & 0xC0) == 0x80) --previous;
        if (!is_whitespace(decode_utf8(source_, previous).code_point)) break;
        keep = previous;
      }
    } else if (strips_line && sign != '+') {
      size_t line = end;
      while (line > begin && source_[line - 1] != '\n' && is_space(source_[line - 1])) --line;
      const bool at_line_start = line > begin ? source_[line - 1] == '\n' : line_starting_;
      if (at_line_start) keep = line;
    }
    if (keep > begin) push(TokenKind::kText, source_.substr(begin, keep - begin));
  }

  void lex_data() {
    const size_t begin = at_, tag = find_tag(at_);
    if (tag == source_.size()) {
      push(TokenKind::kText, source_.substr(begin));
      advance(tag);
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    push_data(begin, tag, has_sign ? sign : '\0', kind != '{');
    advance(tag + 2 + (has_sign ? 1 : 0));
    if (kind == '#') return lex_comment();
    if (kind == '%' && lex_raw()) return;
    push(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin);
    lex_code(kind == '%');
  }

  // After an end tag: "-" strips what follows, a block's newline is trimmed.
  void finish_tag(size_t end, char sign, bool trims) {
    advance(end);
    line_starting_ = false;
    if (sign == '-') {
      const size_t before = at_;
      skip_spaces();
      line_starting_ = at_ > before && source_[at_ - 1] == '\n';
    } else if (trims && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      advance(at_ + 1);
      line_starting_ = true;
    }
  }

  void lex_comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) error("a comment is not closed");
    const char sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+') ? source_[end - 1] : '\0';
    finish_tag(end + 2, sign, true);
  }

  // {% raw %}...{% endraw %}; at_ is behind the opening "{%".
  bool lex_raw() {
    size_t i = at_;
    const auto skip = [&] {
      while (i < source_.size() && is_space(source_[i])) ++i;
    };
    skip();
    if (source_.compare(i, 3, "raw") != 0) return false;
    i += 3;
    skip();
    const bool dash = i < source_.size() && source_[i] == '-';
    if (dash) ++i;
    if (source_.compare(i, 2, "%}") != 0) return false;
    finish_tag(i + 2, dash ? '-' : '\0', false);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      i = tag + 2;
      const char sign = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i++] : '\0';
      skip();
      if (source_.compare(i, 6, "endraw") != 0) continue;
      i += 6;
      skip();
      const char end_sign = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i++] : '\0';
      if (source_.compare(i, 2, "%}") != 0) continue;
      push_data(at_, tag, sign, true);
      finish_tag(i + 2, end_sign, true);
      return true;
    }
    error("a raw block is not closed");
  }

  // Tokens of one tag, up to its end. Inside brackets "}}" and "%}" are not ends.
  void lex_code(bool block) {
    const std::string end = block ? "%}" : "}}";
    std::string open;  // brackets not closed yet
    for (;;) {
      skip_spaces();
      if (at_ >= source_.size()) error("a tag is not closed");
      if (open.empty()) {
        const bool sign = (source_[at_] == '-' || (block && source_[at_] == '+')) && source_.compare(at_ + 1, 2, end) == 0;
        if (sign || looking_at(end)) {
          push(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd);
          finish_tag(at_ + (sign ? 3 : 2), sign ? source_[at_] : '\0', block);
          return;
        }
      }
      const char c = source_[at_];
      if (is_name_start(c)) lex_name();
      else if (is_digit(c)) lex_number();
      else if (c == '\'' || c == '"') lex_string(c);
      else lex_operator(open);
    }
  }

  void lex_name() {
    size_t end = at_;
    while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
    push(TokenKind::kName, source_.substr(at_, end - at_));
    advance(end);
  }

  void lex_number() {
    std::string digits;
    size_t end = at_;
    bool fraction = false;
    int base = 10;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char b = static_cast<char>(source_[at_ + 1] | 0x20);
      base = b == 'x' ? 16 : b == 'o' ? 8 : b == 'b' ? 2 : 10;
      if (base != 10) end += 2;
    }
    const auto is_base_digit = [&](char c) { return base == 16 ? std::isxdigit(static_cast<unsigned char>(c)) != 0 : is_digit(c); };
    const auto read = [&] {
      while (end < source_.size() && (is_base_digit(source_[end]) || source_[end] == '_')) {
        if (source_[end] != '_') digits += source_[end];
        ++end;
      }
    };
    read();
    const auto digit_at = [&](size_t i) { return i < source_.size() && is_digit(source_[i]); };
    if (base == 10 && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      fraction = true;
      digits += source_[end++];
      read();
    }
    if (base == 10 && end < source_.size() && (source_[end] | 0x20) == 'e') {
      const bool sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      if (digit_at(end + (sign ? 2 : 1))) {
        fraction = true;
        digits += 'e';
        if (sign && source_[end + 1] == '-') digits += '-';
        end += sign ? 2 : 1;
        read();
      }
    }
    push(fraction ? TokenKind::kFloat : TokenKind::kInteger, digits);
    TemplateToken& token = tokens_.back();
    const char* last = digits.data() + digits.size();
    const auto result = fraction ? std::from_chars(digits.data(), last, token.number) : std::from_chars(digits.data(), last, token.integer, base);
    if (result.ec != std::errc() || result.ptr != last) error("number '" + digits.substr(0, 60) + "' is out of range");
    advance(end);
  }

  void lex_string(char quote) {
    std::string out;
    size_t i = at_ + 1;
    for (;; ++i) {
      if (i >= source_.size()) error("a string is not closed");
      const char c = source_[i];
      if (c == quote) break;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (++i >= source_.size()) error("a string is not closed");
      i = lex_escape(i, out);
    }
    push(TokenKind::kString, to_valid_utf8(out));
    advance(i + 1);
  }

  // Python's escapes; i is behind the backslash. Returns the position of the last character used.
  size_t lex_escape(size_t i, std::string& out) {
    static constexpr std::pair<char, char> kSimple[] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'a', '\a'}, {'b', '\b'},
                                                        {'f', '\f'}, {'v', '\v'}, {'\\', '\\'}, {'\'', '\''}, {'"', '"'}};
    const char c = source_[i];
    for (const auto& [name, character] : kSimple)
      if (c == name) {
        out += character;
        return i;
      }
    if (c == '\n') return i;
    if (c >= '0' && c <= '7') {
      uint32_t value = 0;
      size_t n = 0;
      for (; n < 3 && i + n < source_.size() && source_[i + n] >= '0' && source_[i + n] <= '7'; ++n) value = value * 8 + static_cast<uint32_t>(source_[i + n] - '0');
      append_utf8(out, value);
      return i + n - 1;
    }
    const size_t width = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (width == 0) {
      out += '\\';
      out += c;
      return i;
    }
    uint32_t value = hex(i + 1, width);
    i += width;
    if (value >= 0xD800 && value < 0xDC00 && source_.compare(i + 1, 2, "\\u") == 0) {  // a surrogate pair
      const uint32_t low = hex(i + 3, 4);
      if (low >= 0xDC00 && low < 0xE000) {
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
        i += 6;
      }
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) error("a string has an escape that is no character");
    append_utf8(out, value);
    return i;
  }

  uint32_t hex(size_t at, size_t width) const {
    uint32_t value = 0;
    if (at + width > source_.size()) error("a string has an incomplete escape");
    const auto result = std::from_chars(source_.data() + at, source_.data() + at + width, value, 16);
    if (result.ec != std::errc() || result.ptr != source_.data() + at + width) error("a string has an incomplete escape");
    return value;
  }

  void lex_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=",
                                                      ".",  ":",  "|",  ",",  ";",  "(",  ")", "[", "]", "{", "}"};
    for (const std::string_view op : kOperators) {
      if (!looking_at(op)) continue;
      const char c = op[0];
      if (c == '(' || c == '[' || c == '{') {
        open += c == '(' ? ')' : c == '[' ? ']' : '}';
      } else if (c == ')' || c == ']' || c == '}') {
        if (open.empty() || open.back() != c) error(fmt::format("unexpected '{}'", c));
        open.pop_back();
      }
      push(TokenKind::kOperator, std::string(op));
      advance(at_ + op.size());
      return;
    }
    error(fmt::format("unexpected character '{}'", std::string_view(source_).substr(at_, decode_utf8(source_, at_).length)));
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the text before at_ ends a line
  std::vector<TemplateToken> tokens_;
};

}  // namespace

std::vector<TemplateToken> tokenize_template(std::string_view source) {
  if (source.size() > kMaxSource) fail(ErrorKind::kUnsupported, "[template] a template of {} bytes is too long", source.size());
  return Lexer(source).run();
}

}  // namespace hone::text
