#include "tensor/checkpoint.h"

#include <limits>
#include <type_traits>

#include "base/error.h"

namespace hone::tensor {
namespace {

template <typename T>
constexpr bool kIsNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
template <typename T>
constexpr bool kIsWhole = std::is_integral_v<T>;  // in arrays bool counts, as 0 or 1
template <typename T, bool kWholeOnly>
constexpr bool kAccepts = kWholeOnly ? kIsWhole<T> : std::is_arithmetic_v<T>;

[[noreturn]] void fail_type(std::string_view key, const char* wanted) {
  fail(ErrorKind::kBadInput, "[metadata] key '{}' must be {}; the file is not a valid model", key, wanted);
}

template <typename T>
int64_t to_int(T value, std::string_view key) {
  if constexpr (std::is_same_v<T, uint64_t>)
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      fail_type(key, "an integer below 2^63");
  return static_cast<int64_t>(value);
}

// A numeric array, or one number as an array of one; empty when the key is absent.
template <typename Out, bool kWholeOnly, typename Convert>
std::vector<Out> numbers(const MetaValue* value, std::string_view key, const char* wanted, Convert convert) {
  std::vector<Out> out;
  if (!value) return out;
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::shared_ptr<const MetaArray>>) {
          std::visit(
              [&](const auto& values) {
                using E = typename std::decay_t<decltype(values)>::value_type;
                if constexpr (kAccepts<E, kWholeOnly>) {
                  out.reserve(values.size());
                  for (const E element : values) out.push_back(convert(element));
                } else {
                  fail_type(key, wanted);
                }
              },
              v->values);
        } else if constexpr (kAccepts<T, kWholeOnly>) {
          out.push_back(convert(v));
        } else {
          fail_type(key, wanted);
        }
      },
      *value);
  return out;
}

}  // namespace

const MetaValue* Metadata::find(std::string_view key) const {
  const auto it = index_.find(std::string(key));
  return it == index_.end() ? nullptr : &entries_[it->second].second;
}

void Metadata::set(const std::string& key, MetaValue value) {
  const auto [it, added] = index_.try_emplace(key, entries_.size());
  if (added)
    entries_.emplace_back(key, std::move(value));
  else
    entries_[it->second].second = std::move(value);
}

void Metadata::erase(std::string_view key) {
  const auto it = index_.find(std::string(key));
  if (it == index_.end()) return;
  const size_t at = it->second;
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
  index_.erase(it);
  for (auto& [name, position] : index_)
    if (position > at) --position;
}

std::string Metadata::get_string(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value)
    fail(ErrorKind::kBadInput, "[metadata] key '{}' is missing; the file is not a complete model", key);
  const auto* text = std::get_if<std::string>(value);
  if (!text) fail_type(key, "a string");
  return *text;
}

std::string Metadata::get_string_or(std::string_view key, std::string fallback) const {
  return find(key) ? get_string(key) : std::move(fallback);
}

int64_t Metadata::get_int(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value)
    fail(ErrorKind::kBadInput, "[metadata] key '{}' is missing; the file is not a complete model", key);
  return std::visit(
      [&](const auto& v) -> int64_t {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsNumber<T> && kIsWhole<T>)
          return to_int(v, key);
        else
          fail_type(key, "an integer");
      },
      *value);
}

int64_t Metadata::get_int_or(std::string_view key, int64_t fallback) const {
  return find(key) ? get_int(key) : fallback;
}

double Metadata::get_number_or(std::string_view key, double fallback) const {
  const MetaValue* value = find(key);
  if (!value) return fallback;
  return std::visit(
      [&](const auto& v) -> double {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsNumber<T>)
          return static_cast<double>(v);
        else
          fail_type(key, "a number");
      },
      *value);
}

bool Metadata::get_bool_or(std::string_view key, bool fallback) const {
  const MetaValue* value = find(key);
  if (!value) return fallback;
  const auto* flag = std::get_if<bool>(value);
  if (!flag) fail_type(key, "true or false");
  return *flag;
}

const std::vector<std::string>* Metadata::find_strings(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) return nullptr;
  const auto* array = std::get_if<std::shared_ptr<const MetaArray>>(value);
  const auto* strings = array ? std::get_if<std::vector<std::string>>(&(*array)->values) : nullptr;
  if (!strings) fail_type(key, "an array of strings");
  return strings;
}

std::vector<double> Metadata::get_numbers(std::string_view key) const {
  return numbers<double, false>(find(key), key, "a number or an array of numbers",
                                [](auto v) { return static_cast<double>(v); });
}

std::vector<int64_t> Metadata::get_ints(std::string_view key) const {
  return numbers<int64_t, true>(find(key), key, "an integer or an array of integers",
                                [&](auto v) { return to_int(v, key); });
}

void Checkpoint::add(NamedTensor tensor) {
  if (!index_.try_emplace(tensor.name, tensors_.size()).second)
    fail(ErrorKind::kBadInput, "[checkpoint] {}: tensor '{}' occurs twice; the file is damaged",
         source_name(), tensor.name);
  tensors_.push_back(std::move(tensor));
}

void Checkpoint::replace_all(std::vector<NamedTensor> tensors) {
  tensors_.clear();
  index_.clear();
  for (NamedTensor& tensor : tensors) add(std::move(tensor));
}

const NamedTensor* Checkpoint::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

uint64_t Checkpoint::tensor_bytes() const {
  uint64_t sum = 0;
  for (const NamedTensor& t : tensors_) sum += view_bytes(t.view);
  return sum;
}

}  // namespace hone::tensor
