// The JSON form of a speed measurement: what `hone bench --json` prints and a report keeps.
#include "evaluate/speed.h"

namespace hone::evaluate {
namespace {

Json sample_json(const Sample& s) {
  return Json{{"median", s.median}, {"min", s.min}, {"max", s.max}};
}

Json product_json(const ProductUse& use) {
  return Json{{"format", use.format},
              {"matrices", use.count},
              {"bytes", use.bytes},
              {"decode_activations", use.decode},
              {"prefill_activations", use.prefill}};
}

}  // namespace

Json to_json(const SpeedResult& r) {
  Json json{{"prefill_tokens", r.options.prefill_tokens},
            {"decode_tokens", r.options.decode_tokens},
            {"depth", r.options.depth},
            {"sequences", r.options.sequences},
            {"repetitions", r.options.repetitions},
            {"cache_format", tensor::format(r.options.cache_format).name},
            {"prefill_tokens_per_second", sample_json(r.prefill_tokens_per_second)},
            {"decode_tokens_per_second", sample_json(r.decode_tokens_per_second)},
            {"first_token_seconds", sample_json(r.first_token_seconds)},
            {"load_seconds", r.load_seconds},
            {"peak_memory_bytes", r.peak_memory_bytes},
            {"file_bytes", r.file_bytes},
            {"rest_memory_bytes", r.rest_bytes},
            {"weight_bytes_per_token", r.weight_bytes},
            {"cache_bytes", r.cache_bytes},
            {"cache_bytes_per_step", r.decode_cost.cache_bytes},
            {"decode_multiply_adds_per_step", r.decode_cost.multiply_adds},
            {"prefill_multiply_adds", r.prefill_cost.multiply_adds},
            {"read_bandwidth_bytes_per_second", r.read_bandwidth},
            {"decode_bandwidth_share", r.decode_bandwidth_share},
            {"prefill_arithmetic_share", r.prefill_arithmetic_share},
            {"roofs", to_json(r.roofs)},
            {"threads", r.threads},
            {"isa", r.isa}};
  json["products"] = Json::array();
  for (const ProductUse& use : r.products) json["products"].push_back(product_json(use));
  if (r.prefill_profile) json["profile"]["prefill"] = to_json(*r.prefill_profile, r.roofs);
  if (r.decode_profile) json["profile"]["decode"] = to_json(*r.decode_profile, r.roofs);
  return json;
}

}  // namespace hone::evaluate
