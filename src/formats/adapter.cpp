// Which kind of adapter a path holds, and what its readers share.
#include "formats/adapter.h"

#include <cmath>

#include "base/file.h"
#include "formats/adapter_pairs.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace hone::formats {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kPeftWeights = "adapter_model.safetensors";
constexpr const char* kMlxWeights = "adapters.safetensors";
constexpr size_t kMaxConfig = size_t{16} << 20;
constexpr size_t kMaxListed = 8;

AdapterFile read_directory(const fs::path& directory) {
  std::error_code code;
  const std::string name = directory.filename().empty() ? directory.parent_path().filename().string()
                                                        : directory.filename().string();
  const bool peft = fs::exists(directory / kPeftWeights, code),
             mlx = fs::exists(directory / kMlxWeights, code);
  if (!peft && !mlx) {
    if (fs::exists(directory / "adapter_model.bin", code))
      fail(ErrorKind::kUnsupported,
           "[adapter] {}: holds a PyTorch pickle (adapter_model.bin); save it as safetensors first", name);
    fail(ErrorKind::kBadInput,
         "[adapter] {}: neither {} nor {} is there; give the directory of a LoRA adapter", name, kPeftWeights,
         kMlxWeights);
  }
  if (!fs::exists(directory / kConfig, code))
    fail(ErrorKind::kBadInput, "[adapter] {}: {} is missing; the scale of the adapter is written there", name,
         kConfig);
  const std::string config = read_text_file(directory / kConfig, kMaxConfig);
  auto weights = std::make_shared<tensor::Checkpoint>();
  read_safetensors(directory / (peft ? kPeftWeights : kMlxWeights), *weights);
  AdapterFile file = peft ? parse_peft(config, *weights, name) : parse_mlx(config, *weights, name);
  file.owners.push_back(std::move(weights));
  return file;
}

}  // namespace

const char* adapter_kind_name(AdapterKind kind) {
  return kind == AdapterKind::kPeft ? "PEFT" : kind == AdapterKind::kMlx ? "MLX" : "GGUF";
}

AdapterFile read_adapter(const fs::path& path) {
  std::error_code code;
  if (!fs::exists(path, code))
    fail(ErrorKind::kBadInput, "[adapter] {}: no such file or directory", path.string());
  if (fs::is_directory(path, code)) return read_directory(path);
  if (path.extension() == ".safetensors") return read_directory(fs::absolute(path).parent_path());
  auto weights = std::make_shared<tensor::Checkpoint>(read_gguf(path));
  AdapterFile file = parse_gguf_adapter(*weights, path.filename().string());
  file.owners.push_back(std::move(weights));
  return file;
}

tensor::TensorView transposed(const tensor::TensorView& matrix,
                              std::vector<std::shared_ptr<const void>>& owners) {
  HONE_CHECK(matrix.shape.size() == 2);
  const auto rows = static_cast<size_t>(matrix.shape[0]), columns = static_cast<size_t>(matrix.shape[1]);
  const std::vector<float> values = tensor::decode(matrix);
  auto turned = std::make_shared<tensor::Tensor>(tensor::FormatId::kF32,
                                                 tensor::Shape{matrix.shape[1], matrix.shape[0]});
  float* dst = turned->f32();
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) dst[c * rows + r] = values[r * columns + c];
  const tensor::TensorView view = turned->view();
  owners.push_back(std::move(turned));
  return view;
}

void Faults::raise(ErrorKind kind, std::string_view module, std::string_view source) const {
  if (faults_.empty()) return;
  std::string text;
  for (size_t i = 0; i < std::min(faults_.size(), kMaxListed); ++i) text += (i ? "; " : "") + faults_[i];
  if (faults_.size() > kMaxListed) text += fmt::format("; and {} more", faults_.size() - kMaxListed);
  fail(kind, "[{}] {}: {}", module, source, text);
}

AdapterPairs::Entry& AdapterPairs::of(const std::string& base) {
  const auto [it, added] = index_.try_emplace(base, entries_.size());
  if (added) entries_.push_back({base, nullptr, nullptr, nullptr, false});
  return entries_[it->second];
}

bool cut_tail(std::string& name, std::string_view tail) {
  if (name.size() <= tail.size() || !name.ends_with(tail)) return false;
  name.resize(name.size() - tail.size());
  return true;
}

namespace {

bool plain(tensor::FormatId format) {
  return format == tensor::FormatId::kF32 || format == tensor::FormatId::kF16 ||
         format == tensor::FormatId::kBF16;
}

}  // namespace

bool check_entry(const AdapterPairs::Entry& entry, Faults& faults) {
  const std::string name = printable(entry.base);
  if (!entry.a || !entry.b) {
    faults.add(fmt::format("'{}' has {} but no {}", name,
                           entry.a   ? "A"
                           : entry.b ? "B"
                                     : "a magnitude",
                           entry.a   ? "B"
                           : entry.b ? "A"
                                     : "A and B"));
    return false;
  }
  for (const auto* half : {entry.a, entry.b})
    if (half->shape.size() != 2 || half->shape[0] <= 0 || half->shape[1] <= 0 || !plain(half->format)) {
      faults.add(fmt::format("'{}' is {} {}, must be a matrix of F32, F16 or BF16", name,
                             tensor::format(half->format).name, tensor::shape_text(half->shape)));
      return false;
    }
  if (!entry.magnitude) return true;
  const auto& m = *entry.magnitude;
  if (!plain(m.format) || m.shape.empty() ||
      tensor::element_count(m.shape) != static_cast<uint64_t>(m.shape.back())) {
    faults.add(fmt::format("the magnitudes of '{}' are {} {}, must be a vector", name,
                           tensor::format(m.format).name, tensor::shape_text(m.shape)));
    return false;
  }
  return true;
}

std::vector<float> magnitude_of(const AdapterPairs::Entry& entry) {
  return entry.magnitude ? tensor::decode(*entry.magnitude) : std::vector<float>{};
}

}  // namespace hone::formats
