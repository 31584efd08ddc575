// Inner part of the adapter readers: A and B of a base tensor arrive under separate names and are paired
// here, with every fault collected so that one message names them all.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/adapter.h"

namespace hone::formats {

// Faults of one file, told together: "'x' has no B; 'y' is [2]".
class Faults {
 public:
  void add(std::string fault) { faults_.push_back(std::move(fault)); }
  bool empty() const { return faults_.empty(); }
  // Throws when there are any; at most eight are spelled out.
  void raise(ErrorKind kind, std::string_view module, std::string_view source) const;

 private:
  std::vector<std::string> faults_;
};

class AdapterPairs {
 public:
  struct Entry {
    std::string base;
    const tensor::TensorView *a = nullptr, *b = nullptr, *magnitude = nullptr;
    bool embedding = false;  // PEFT's lora_embedding_A and _B
  };
  // The entry of a base tensor, made when it is new; order of first appearance.
  Entry& of(const std::string& base);
  std::vector<Entry>& entries() { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::map<std::string, size_t> index_;
};

// If name ends with tail, cuts it off.
bool cut_tail(std::string& name, std::string_view tail);

// Both halves are there, are matrices of plain numbers, and magnitudes are finite vectors; what is wrong goes
// to faults and the entry is left out (false).
bool check_entry(const AdapterPairs::Entry& entry, Faults& faults);
std::vector<float> magnitude_of(const AdapterPairs::Entry& entry);

}  // namespace hone::formats
