#include "app/units.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hone::app {
namespace {

TEST(Units, SizesAsPeopleWriteThem) {
  EXPECT_EQ(parse_size("80MB"), 80'000'000u);
  EXPECT_EQ(parse_size("80 mb"), 80'000'000u);
  EXPECT_EQ(parse_size("80M"), 80'000'000u);
  EXPECT_EQ(parse_size("75MiB"), 75u << 20);
  EXPECT_EQ(parse_size("1.5GB"), 1'500'000'000u);
  EXPECT_EQ(parse_size("0.5KiB"), 512u);
  EXPECT_EQ(parse_size("123"), 123u);
  EXPECT_EQ(parse_size("123B"), 123u);
  EXPECT_EQ(parse_size("2TiB"), uint64_t{2} << 40);
}

TEST(Units, WhatIsNoSize) {
  for (const char* text : {"", "MB", "-3MB", "80XB", "80MBs", "8 0MB", "1e9", "nan", "inf", "0", "0.1",
                           "99999999999TB", "80MB 3"}) {
    try {
      const uint64_t bytes = parse_size(text);
      ADD_FAILURE() << "'" << text << "' was read as " << bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos);
    }
  }
}

TEST(Units, Texts) {
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(999'949), "999.9 kB");
  EXPECT_EQ(human_bytes(999'950), "1.0 MB");
  EXPECT_EQ(human_bytes(77'600'000), "77.6 MB");
  EXPECT_EQ(human_bytes(4'340'000'000), "4.34 GB");
  EXPECT_EQ(human_count(9999), "9999");
  EXPECT_EQ(human_count(134'515'008), "134.5 M");
  EXPECT_EQ(human_duration(3.21), "3.2 s");
  EXPECT_EQ(human_duration(59.96), "1 min 00 s");
  EXPECT_EQ(human_duration(65), "1 min 05 s");
  EXPECT_EQ(human_duration(7384), "2 h 03 min");
}

}  // namespace
}  // namespace hone::app
