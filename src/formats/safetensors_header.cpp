#include "formats/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "formats/byte_reader.h"

namespace hone::formats {
namespace {

using tensor::QuantFormat;

// Depth 1 is the header object, 2 a tensor's object (or __metadata__), 3 its shape or data_offsets.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderEvents(const std::string& file) : file_(file) {}
  std::vector<SafetensorsEntry> entries;

  bool key(std::string& text) override {
    if (depth_ == 1) {
      in_metadata_ = text == kSafetensorsMetadata;
      current_.name = text;
      if (!names_.insert(text).second) bad("occurs twice in the header");
    } else if (depth_ == 2 && !in_metadata_ && skip_ == 0) {
      field_ = text == "dtype"          ? kDtype
               : text == "shape"        ? kShape
               : text == "data_offsets" ? kOffsets
                                        : kOther;
      if (field_ != kOther && (seen_ & field_)) bad("has a member twice");
      seen_ |= field_;
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (skip_ > 0 || (depth_ == 2 && !in_metadata_ && field_ == kOther)) return enter_skipped();
    if (depth_ >= 2) bad(in_metadata_ ? "must map to text" : "has an object where none belongs");
    if (depth_ == 1) seen_ = 0, offsets_ = 0, current_.shape.clear();
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (skip_ > 0) return --skip_, true;
    if (depth_ == 2 && !in_metadata_) finish_entry();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (skip_ > 0 || (depth_ == 2 && !in_metadata_ && field_ == kOther)) return enter_skipped();
    if (depth_ != 2 || in_metadata_ || field_ == kDtype) bad("has an array where none belongs");
    ++depth_;
    return true;
  }
  bool end_array() override {
    if (skip_ > 0) return --skip_, true;
    --depth_;
    return true;
  }

  bool string(std::string& text) override {
    if (ignored()) return true;
    if (depth_ == 2 && in_metadata_) return true;
    if (depth_ != 2 || field_ != kDtype) bad("has text where a number or an object belongs");
    const QuantFormat* f = tensor::find_format(text);
    if (!f || f->quantized() || text != f->name) bad("has the unknown dtype '" + printable(text) + "'");
    current_.format = f->id;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (ignored()) return true;
    if (depth_ != 3) bad("has a number where none belongs");
    if (field_ == kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) bad("has a size past 2^63");
      current_.shape.push_back(static_cast<int64_t>(value));
    } else {
      if (++offsets_ > 2) bad("must have two data_offsets");
      (offsets_ == 1 ? current_.begin : current_.end) = value;
    }
    return true;
  }
  bool number_integer(std::int64_t) override { return ignored() || bad("has a negative number"); }
  bool number_float(double, const std::string&) override {
    return ignored() || bad("has a number that is not whole");
  }
  bool boolean(bool) override { return ignored() || bad("has true or false where none belongs"); }
  bool null() override {
    if (depth_ == 1 && in_metadata_) return true;
    return ignored() || bad("has null where none belongs");
  }
  bool binary(nlohmann::json::binary_t&) override { return true; }  // never in text
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(ErrorKind::kBadInput,
         "[safetensors] {}: the header is not valid JSON near byte {}; the file is damaged, get it again",
         file_, position);
  }

 private:
  enum Field { kDtype = 1, kShape = 2, kOffsets = 4, kOther = 0 };

  // Inside a member that the format does not know; its value may be anything.
  bool ignored() const { return skip_ > 0 || (depth_ == 2 && !in_metadata_ && field_ == kOther); }
  bool enter_skipped() { return ++skip_, true; }

  bool bad(const std::string& problem) const {
    if (depth_ == 0)
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: the header is not a JSON object; the file is damaged, get it again", file_);
    fail(ErrorKind::kBadInput, "[safetensors] {}: '{}' {}; the file is damaged", file_,
         printable(current_.name), problem);
  }

  void finish_entry() {
    if (seen_ != (kDtype | kShape | kOffsets)) bad("lacks dtype, shape or data_offsets");
    if (offsets_ != 2) bad("must have two data_offsets");
    entries.push_back(current_);
    current_.shape.clear();
  }

  const std::string& file_;
  std::unordered_set<std::string> names_;
  SafetensorsEntry current_;
  int depth_ = 0, seen_ = 0, offsets_ = 0;
  size_t skip_ = 0;
  Field field_ = kOther;
  bool in_metadata_ = false;
};

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view json, const std::string& file) {
  const size_t first = json.find_first_not_of(" \t\r\n");
  // The parser itself would skip a byte order mark, and take a NUL for the end.
  if (first == std::string_view::npos || json[first] != '{' || json.find('\0') != std::string_view::npos)
    fail(ErrorKind::kBadInput,
         "[safetensors] {}: the header is not a JSON object; the file is damaged, get it again", file);
  HeaderEvents events(file);
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  return std::move(events.entries);
}

}  // namespace hone::formats
