#include "optimize/recipe.h"

#include <yaml-cpp/yaml.h>

#include <bit>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/hash.h"

namespace hone::optimize {
namespace {

static_assert(std::endian::native == std::endian::little, "importances are stored as little-endian F32");

std::string to_base64(const std::vector<float>& values) {
  const auto* data = reinterpret_cast<const unsigned char*>(values.data());
  return YAML::EncodeBase64(data, values.size() * sizeof(float));
}

std::vector<float> from_base64(const std::string& text, const std::string& name, const std::string& tensor) {
  const std::vector<unsigned char> bytes = YAML::DecodeBase64(text);
  if (bytes.empty() || bytes.size() % sizeof(float) != 0)
    fail(ErrorKind::kBadInput, "[recipe] {}: importances of '{}' are not base64 of F32 values", name, tensor);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

constexpr const char* kFeedback = "feedback";

// Windows of one length each; the text is left out where importances are.
void emit_feedback(YAML::Emitter& out, const RecipePass& pass, bool text) {
  out << YAML::Key << "damping" << YAML::Value << pass.damping;
  out << YAML::Key << "sweeps" << YAML::Value << pass.sweeps;
  if (text) {
    out << YAML::Key << "text" << YAML::Comment("token ids of the calibration windows, base64 of little-endian I32")
        << YAML::Value << YAML::BeginSeq;
    for (const auto& window : pass.windows)
      out << YAML::EncodeBase64(reinterpret_cast<const unsigned char*>(window.data()), window.size() * sizeof(int32_t));
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

RecipePass read_feedback(const YAML::Node& node, const std::string& name) {
  RecipePass pass;
  pass.name = kFeedback;
  pass.damping = node["damping"].as<double>();
  pass.sweeps = node["sweeps"].as<int>();
  if (!(pass.damping >= 0 && pass.damping <= 100) || pass.sweeps < 0 || pass.sweeps > 1000)
    fail(ErrorKind::kBadInput, "[recipe] {}: feedback takes a damping of 0 to 100 and 0 to 1000 sweeps", name);
  for (const auto& entry : node["text"]) {
    const std::vector<unsigned char> bytes = YAML::DecodeBase64(entry.as<std::string>());
    if (bytes.empty() || bytes.size() % sizeof(int32_t) != 0)
      fail(ErrorKind::kBadInput, "[recipe] {}: a window of the feedback text is not base64 of I32 values", name);
    std::vector<int32_t> window(bytes.size() / sizeof(int32_t));
    std::memcpy(window.data(), bytes.data(), bytes.size());
    pass.windows.push_back(std::move(window));
  }
  if (pass.windows.empty()) fail(ErrorKind::kBadInput, "[recipe] {}: the feedback pass has no text", name);
  return pass;
}

std::string emit(const Recipe& recipe, bool importances) {
  YAML::Emitter out;
  out.SetFloatPrecision(9);
  out << YAML::BeginMap;
  out << YAML::Key << "version" << YAML::Value << recipe.version;
  out << YAML::Key << "hone" << YAML::Value << recipe.hone_version;
  out << YAML::Key << "model_sha256" << YAML::Value << recipe.model_sha256;
  out << YAML::Key << "seed" << YAML::Value << recipe.seed;
  out << YAML::Key << "passes" << YAML::Value << YAML::BeginSeq;
  for (const auto& pass : recipe.passes) {
    out << YAML::BeginMap << YAML::Key << "pass" << YAML::Value << pass.name;
    if (pass.name == kFeedback) {
      emit_feedback(out, pass, importances);
      continue;
    }
    out << YAML::Key << "formats" << YAML::Value << YAML::BeginMap;
    for (const auto& [tensor, format] : pass.formats)
      out << YAML::Key << tensor << YAML::Value << tensor::format(format).name;
    out << YAML::EndMap;
    if (importances && !pass.importances.empty()) {
      out << YAML::Key << "importances" << YAML::Comment("base64 of little-endian F32, one per input feature") << YAML::Value
          << YAML::BeginMap;
      for (const auto& [tensor, values] : pass.importances) out << YAML::Key << tensor << YAML::Value << to_base64(values);
      out << YAML::EndMap;
    }
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
  if (!recipe.proof.empty()) {
    out << YAML::Key << "proof_digest" << YAML::Value << recipe.proof_digest;
    out << YAML::Key << "proof" << YAML::Value << YAML::BeginMap;
    for (const auto& [key, value] : recipe.proof) out << YAML::Key << key << YAML::Value << value;
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

RecipePass read_pass(const YAML::Node& node, const std::string& name) {
  RecipePass pass;
  pass.name = node["pass"].as<std::string>();
  if (pass.name == kFeedback) return read_feedback(node, name);
  if (pass.name != "quantize")
    fail(ErrorKind::kUnsupported, "[recipe] {}: unknown pass '{}'; this version knows 'quantize' and 'feedback'", name, pass.name);
  for (const auto& entry : node["formats"]) {
    const auto tensor_name = entry.first.as<std::string>(), format_name = entry.second.as<std::string>();
    const tensor::QuantFormat* format = tensor::find_format(format_name);
    if (!format) fail(ErrorKind::kBadInput, "[recipe] {}: '{}' names the unknown format '{}'", name, tensor_name, format_name);
    pass.formats[tensor_name] = format->id;
  }
  if (node["importances"])
    for (const auto& entry : node["importances"]) {
      const auto tensor_name = entry.first.as<std::string>();
      pass.importances[tensor_name] = from_base64(entry.second.as<std::string>(), name, tensor_name);
    }
  return pass;
}

}  // namespace

std::string to_yaml(const Recipe& recipe) { return emit(recipe, true); }
std::string digest(const Recipe& recipe) {
  Recipe bare = recipe;
  bare.proof.clear();
  bare.hone_version.clear();
  const std::string text = emit(bare, true);
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::string to_short_yaml(const Recipe& recipe) {
  Recipe bare = recipe;
  bare.proof.clear();
  return emit(bare, false);
}

Recipe recipe_from_yaml(const std::string& yaml, const std::string& name) {
  try {
    const YAML::Node root = YAML::Load(yaml);
    if (!root.IsMap()) fail(ErrorKind::kBadInput, "[recipe] {}: not a YAML map", name);
    Recipe recipe;
    recipe.version = root["version"].as<int>();
    if (recipe.version != 1) fail(ErrorKind::kUnsupported, "[recipe] {}: version {}; this hone reads version 1", name, recipe.version);
    recipe.hone_version = root["hone"].as<std::string>("");
    recipe.model_sha256 = root["model_sha256"].as<std::string>("");
    recipe.seed = root["seed"].as<uint64_t>(0);
    for (const auto& node : root["passes"]) recipe.passes.push_back(read_pass(node, name));
    recipe.proof_digest = root["proof_digest"].as<std::string>("");
    if (root["proof"])
      for (const auto& entry : root["proof"]) recipe.proof[entry.first.as<std::string>()] = entry.second.as<float>();
    return recipe;
  } catch (const YAML::Exception& e) {
    fail(ErrorKind::kBadInput, "[recipe] {}: line {}: {}", name, e.mark.line + 1, e.msg);
  }
}

}  // namespace hone::optimize
