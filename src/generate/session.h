// A language model ready to speak: plan, states, tokenizer; prefill, decode, generation with stop
// conditions and streaming.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exec/plan.h"
#include "generate/sampler.h"
#include "generate/speculation.h"
#include "models/model.h"

namespace hone::generate {

// What generation needs of a model: ids in, logits of the next token out, a memory that can be cut back.
class CausalModel {
 public:
  virtual ~CausalModel() = default;
  // Appends ids to batch row 0 and returns the logits after the last one (valid until the next call).
  // Error(kBadInput) when the context is full or an id is not in the vocabulary.
  virtual std::span<const float> feed(std::span<const text::TokenId> ids) = 0;
  // Appends at most scored_rows() ids and returns logits after each of them, [ids, vocab] (valid until the next
  // call). Errors as feed(); Error(kUnsupported) where the model scores single tokens only.
  virtual std::span<const float> feed_scored(std::span<const text::TokenId> ids);
  virtual int64_t scored_rows() const { return 1; }
  virtual int64_t position(int64_t row = 0) const = 0;            // tokens held
  virtual void truncate(int64_t length, int64_t row = 0) = 0;     // keeps the first tokens of the row
  virtual int64_t context() const = 0;                            // most tokens a row can hold
  virtual const std::vector<text::TokenId>& tokens() const = 0;   // ids held by row 0
};

struct SessionOptions {
  int64_t context = 0;            // 0: the model's, at most 4096
  int64_t batch = 1;
  int64_t chunk = 512;            // tokens per prefill run and batch row
  int64_t scored = 1;             // most tokens that feed_scored() takes: drafts to judge and one more
  tensor::FormatId cache_format = tensor::FormatId::kF16;
};

class LanguageModel : public CausalModel {
 public:
  // The device must outlive the session. graph: what to run instead of the model's own (for example
  // after a pass); it must have been built with select_rows and cache. Error(kUsage) when the context
  // asked for is beyond what the model was made for.
  LanguageModel(const models::Model& model, exec::Device& device, const SessionOptions& options = {},
                std::optional<ir::Graph> graph = {});

  // Sessions of one row only. Long prompts run in chunks; a cancel between two throws Error(kCancelled)
  // with the chunks before it kept.
  std::span<const float> feed(std::span<const text::TokenId> ids) override;
  std::span<const float> feed_scored(std::span<const text::TokenId> ids) override;
  int64_t scored_rows() const override { return options_.scored; }
  // One token for every batch row in lockstep; logits [batch, vocab].
  std::span<const float> feed_batch(std::span<const text::TokenId> one_per_row);
  // Appends ids [rows, length] to `rows` batch rows from first_row on, at most chunk() each; the others rest. Logits
  // after the last id of each, [rows, vocab]. Rows have lengths of their own.
  std::span<const float> feed_rows(int64_t first_row, int64_t rows, std::span<const text::TokenId> ids);
  // What feed_rows() would throw for ids of one row.
  void check(int64_t row, std::span<const text::TokenId> ids) const;
  // Row `to` gets what row `from` holds, which is empty then.
  void move_row(int64_t from, int64_t to);
  int64_t position(int64_t row = 0) const override;
  void truncate(int64_t length, int64_t row = 0) override;
  void reset();
  int64_t context() const override { return options_.context; }
  int64_t chunk() const { return options_.chunk; }
  const std::vector<text::TokenId>& tokens() const override { return tokens_.front(); }
  const std::vector<text::TokenId>& tokens(int64_t row) const { return tokens_[static_cast<size_t>(row)]; }
  int64_t vocab_size() const { return vocab_; }
  int64_t batch() const { return options_.batch; }
  exec::Plan& plan() { return *plan_; }
  uint64_t state_bytes() const { return states_.bytes(); }

 private:
  void check_ids(std::span<const text::TokenId> ids) const;
  void check_room(int64_t row, int64_t count) const;
  void append(int64_t row, std::span<const text::TokenId> ids);
  // Tokens of one run: [rows, length] for the rows from `first` on; logits of the last `scored` of each.
  struct Rectangle {
    int64_t first = 0, rows = 1, length = 1, scored = 1;
  };
  std::span<const float> run(std::span<const text::TokenId> ids, const Rectangle& r);

  SessionOptions options_;
  int64_t vocab_ = 0;
  std::unique_ptr<exec::Plan> plan_;
  exec::StateSet states_;
  std::vector<std::vector<text::TokenId>> tokens_;      // per batch row
  std::vector<int64_t> ids_, positions_, logit_rows_;   // inputs of a run, kept between runs
  std::vector<exec::Input> inputs_;
};

enum class StopReason { kEndOfTurn, kStopString, kMaxTokens, kContextFull, kCancelled };
const char* stop_reason_name(StopReason reason);  // "end of turn", "stop string", ...

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = -1;                 // -1: until the end of turn or the context is full
  std::vector<std::string> stop;           // text that ends the answer; not part of it
  bool ignore_end = false;
  Speculator* speculator = nullptr;        // drafts tokens where the model scores several; not owned, null: none
  bool own_text = false;                   // the answer is a text of its own (a turn of a chat), not the rest of one: the
                                           // first space that SentencePiece gives every text is dropped
};

struct GenerateResult {
  std::string text;                        // all that on_text got
  std::vector<text::TokenId> ids;          // tokens chosen, without the one that ended the turn
  StopReason reason = StopReason::kEndOfTurn;
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t prompt_tokens = 0;
  SpeculationStats speculation;
};

// Continues `model` with prompt ids. on_text gets text as it becomes certain (whole characters, never part of
// a stop string) and returns false to stop early. A cancel (base/cancel.h) ends the answer with kCancelled
// and what was said so far; so does on_text. Error(kBadInput) when the prompt is empty or too long.
GenerateResult generate(CausalModel& model, const text::Tokenizer& tokenizer, std::span<const text::TokenId> prompt,
                        const GenerateOptions& options, const std::function<bool(std::string_view)>& on_text = {});

}  // namespace hone::generate
