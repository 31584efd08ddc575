#include "app/format_spec.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hone::app {
namespace {

std::string name_of(const char* spec, const GroupDefaults& defaults = {"MLX"}) {
  return tensor::format(parse_group_format(spec, defaults)).name;
}

TEST(FormatSpec, FillsWhatIsLeftOpen) {
  EXPECT_EQ(name_of("4bit"), "INT4_G64_F16_BIAS");
  EXPECT_EQ(name_of("int3_g32"), "INT3_G32_F16_BIAS");
  EXPECT_EQ(name_of("8-g128-bf16"), "INT8_G128_BF16_BIAS");
  const GroupDefaults gptq{"GPTQ", 128, tensor::ScaleType::kBF16, tensor::ZeroKind::kMiddle};
  EXPECT_EQ(name_of("4bit", gptq), "INT4_G128_BF16_SYM");
  EXPECT_EQ(name_of("4bit_asym", gptq), "INT4_G128_BF16_ZERO");
  EXPECT_EQ(name_of("INT5_G32_F32_BIAS", gptq), "INT5_G32_F32_BIAS");
}

TEST(FormatSpec, KnowsTheFloatModes) {
  EXPECT_EQ(name_of("mxfp4"), "E2M1_G32_E8M0");
  EXPECT_EQ(name_of("MXFP8"), "E4M3_G32_E8M0");
  EXPECT_EQ(name_of("nvfp4"), "E2M1_G16_E4M3");
  EXPECT_EQ(name_of("fp8"), "E4M3_G128_F32");
}

TEST(FormatSpec, RefusesTheRest) {
  for (const char* spec :
       {"", "9bit", "0", "INT4_G48", "INT4_G", "Q4_K", "4bit_64", "nvfp4_g32", "INT4_G99999999999"})
    EXPECT_THROW(parse_group_format(spec, {"MLX"}), Error) << spec;
}

}  // namespace
}  // namespace hone::app
