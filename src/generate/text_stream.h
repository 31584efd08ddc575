// Text on its way to the reader: holds back what may still become a stop string, and cuts at a whole one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone::generate {

class StopStream {
 public:
  // Error(kUsage) for an empty stop string, which would end every answer before it begins.
  explicit StopStream(std::vector<std::string> stops);
  // Adds text and returns what is certain not to belong to a stop string. Whole characters in, whole
  // characters out. After a stop string was found it returns nothing.
  std::string push(std::string_view text);
  // The text held back, when the answer ended otherwise.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace hone::generate
