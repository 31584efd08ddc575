// Reads ModelProto with protozero; checks what the other files take for granted.
#include <algorithm>
#include <cmath>
#include <protozero/pbf_reader.hpp>
#include <unordered_set>

#include "base/error.h"
#include "text/sentencepiece_model.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::tag_and_type;

constexpr size_t kMaxPieces = 4'000'000;

std::string text_of(pbf_reader& reader) {
  const auto view = reader.get_view();
  return std::string(view.data(), view.size());
}

void read_piece(pbf_reader reader, SentencePieceModel& model) {
  std::string piece;
  float score = 0.0f;
  int32_t type = 1;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, pbf_wire_type::length_delimited):
        piece = text_of(reader);
        break;
      case tag_and_type(2, pbf_wire_type::fixed32):
        score = reader.get_float();
        break;
      case tag_and_type(3, pbf_wire_type::varint):
        type = reader.get_enum();
        break;
      default:
        reader.skip();
    }
  }
  if (type < 1 || type > 6)
    fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: piece {} has type {}", model.pieces.size(),
         type);
  model.pieces.push_back(std::move(piece));
  model.scores.push_back(score);
  model.types.push_back(static_cast<PieceType>(type));
}

struct TrainerIds {
  int32_t unknown = 0, bos = 1, eos = 2, pad = -1;
  std::string names[4] = {"<unk>", "<s>", "</s>", "<pad>"};
};

void read_trainer(pbf_reader reader, SentencePieceModel& model, TrainerIds& ids) {
  constexpr auto number = pbf_wire_type::varint;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(3, number): {
        const int32_t kind = reader.get_enum();
        if (kind < 1 || kind > 4)
          fail(ErrorKind::kUnsupported, "[tokenizer] tokenizer.model: model type {} is not supported", kind);
        model.kind = static_cast<SentencePieceModel::Kind>(kind);
        break;
      }
      case tag_and_type(24, number):
        model.whitespace_as_suffix = reader.get_bool();
        break;
      case tag_and_type(35, number):
        model.byte_fallback = reader.get_bool();
        break;
      case tag_and_type(40, number):
        ids.unknown = reader.get_int32();
        break;
      case tag_and_type(41, number):
        ids.bos = reader.get_int32();
        break;
      case tag_and_type(42, number):
        ids.eos = reader.get_int32();
        break;
      case tag_and_type(43, number):
        ids.pad = reader.get_int32();
        break;
      case tag_and_type(44, pbf_wire_type::length_delimited):
        model.unknown_surface = text_of(reader);
        break;
      case tag_and_type(45, pbf_wire_type::length_delimited):
        ids.names[0] = text_of(reader);
        break;
      case tag_and_type(46, pbf_wire_type::length_delimited):
        ids.names[1] = text_of(reader);
        break;
      case tag_and_type(47, pbf_wire_type::length_delimited):
        ids.names[2] = text_of(reader);
        break;
      case tag_and_type(48, pbf_wire_type::length_delimited):
        ids.names[3] = text_of(reader);
        break;
      default:
        reader.skip();
    }
  }
}

void read_normalizer(pbf_reader reader, SentencePieceModel& model) {
  constexpr auto number = pbf_wire_type::varint;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(2, pbf_wire_type::length_delimited):
        model.charsmap = text_of(reader);
        break;
      case tag_and_type(3, number):
        model.add_dummy_prefix = reader.get_bool();
        break;
      case tag_and_type(4, number):
        model.remove_extra_whitespaces = reader.get_bool();
        break;
      case tag_and_type(5, number):
        model.escape_whitespaces = reader.get_bool();
        break;
      default:
        reader.skip();
    }
  }
}

void read_model(std::string_view bytes, SentencePieceModel& model, TrainerIds& ids) {
  constexpr auto message = pbf_wire_type::length_delimited;
  pbf_reader reader(bytes.data(), bytes.size());
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, message):
        read_piece(reader.get_message(), model);
        break;
      case tag_and_type(2, message):
        read_trainer(reader.get_message(), model, ids);
        break;
      case tag_and_type(3, message):
        read_normalizer(reader.get_message(), model);
        break;
      case tag_and_type(5, message): {
        SentencePieceModel reverse;
        read_normalizer(reader.get_message(), reverse);
        model.reverse_charsmap = std::move(reverse.charsmap);
        break;
      }
      default:
        reader.skip();
    }
    if (model.pieces.size() > kMaxPieces)
      fail(ErrorKind::kUnsupported, "[tokenizer] tokenizer.model: too many pieces");
  }
}

// As the package: ids of BOS and the like are found by name, and hold only where the type fits.
void resolve_ids(const TrainerIds& wanted, SentencePieceModel& model) {
  const auto find = [&](const std::string& name, PieceType type) -> int32_t {
    const auto it = std::find(model.pieces.begin(), model.pieces.end(), name);
    const auto id = it - model.pieces.begin();
    return it != model.pieces.end() && model.types[static_cast<size_t>(id)] == type ? static_cast<int32_t>(id)
                                                                                    : -1;
  };
  for (size_t i = 0; i < model.types.size(); ++i) {
    if (model.types[i] != PieceType::kUnknown) continue;
    if (model.unknown >= 0)
      fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: two pieces are the unknown piece");
    model.unknown = static_cast<int32_t>(i);
  }
  if (wanted.bos >= 0) model.bos = find(wanted.names[1], PieceType::kControl);
  if (wanted.eos >= 0) model.eos = find(wanted.names[2], PieceType::kControl);
  if (wanted.pad >= 0) model.pad = find(wanted.names[3], PieceType::kControl);
}

void check_model(const SentencePieceModel& model) {
  if (model.pieces.empty())
    fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: no pieces; is it a SentencePiece model?");
  if (model.unknown < 0) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: no unknown piece");
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const std::string& piece = model.pieces[i];
    if (piece.empty()) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: piece {} is empty", i);
    if (piece.size() > 4096)
      fail(ErrorKind::kUnsupported, "[tokenizer] tokenizer.model: piece {} has {} bytes", i, piece.size());
    if (!is_valid_utf8(piece))
      fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: piece {} is not valid UTF-8", i);
    if (!seen.insert(piece).second)
      fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: piece {} ('{}') is given twice", i, piece);
    if (!std::isfinite(model.scores[i]))
      fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: the score of piece {} is not a number", i);
    if (model.types[i] == PieceType::kByte && byte_of_token(piece) < 0)
      fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: byte piece {} is spelled '{}'", i, piece);
  }
  if (model.byte_fallback)
    for (int b = 0; b < 256; ++b)
      if (!seen.contains(byte_token(static_cast<uint8_t>(b))))
        fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: byte fallback without the piece {}",
             byte_token(static_cast<uint8_t>(b)));
  if (!is_valid_utf8(model.unknown_surface) || model.unknown_surface.size() > 256)
    fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: a bad unk_surface");
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes) {
  SentencePieceModel model;
  TrainerIds ids;
  try {
    read_model(bytes, model, ids);
  } catch (const protozero::exception& e) {
    fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.model: not a SentencePiece model, or damaged ({})",
         e.what());
  }
  resolve_ids(ids, model);
  check_model(model);
  return model;
}

}  // namespace hone::text
