// A batch of documents written in lockstep. A row's next token is forced while an opening or a question is being fed and
// sampled otherwise; a document that ends is followed by the next one in the same row.
#include "evaluate/self_text.h"

#include <algorithm>
#include <deque>

#include "base/cancel.h"
#include "base/error.h"
#include "evaluate/divergence.h"
#include "generate/chat.h"

namespace hone::evaluate {
namespace {

using text::TokenId;
constexpr int64_t kBatch = 32;             // rows: one decode of the weights serves them all
constexpr int64_t kShortestSegment = 128;  // tokens a row writes at least; windows are joined from segments

// A model that starts from nothing but its start token repeats itself; a few words set the subject. The empty
// one leaves it the choice.
constexpr const char* kOpenings[] = {
    "", "The", "In the early years of the century,", "The city lies on", "A common mistake is to", "She opened the door and",
    "The following table shows", "According to the report,", "import ", "Dear", "The species is found in", "To begin, ",
    "The film was released in", "Chapter 1\n\n", "Researchers have found that", "He was born in", "The match ended", "Let x be a number such that",
    "When the war ended,", "Q: ", "The album", "This method is used to", "The river", "Once there was"};

constexpr const char* kQuestions[] = {
    "What is photosynthesis?", "Write a short story about a lighthouse.", "How do I cook rice?", "Explain how a bicycle stays upright.",
    "List five large cities and one fact about each.", "Translate 'good morning, my friend' into French and Spanish.",
    "What are the main causes of inflation?", "Write a Python function that reverses a list.", "Who was Isaac Newton?",
    "Give me three tips for sleeping better.", "Summarize the history of the Roman Empire.", "What is 17 times 23? Show your steps.",
    "Describe the water cycle to a child.", "Compare cats and dogs as pets.", "Write a polite email asking for a day off.",
    "What should I see on a visit to Japan?"};

std::vector<TokenId> opening_ids(const text::Tokenizer& tokenizer, uint64_t index) {
  std::vector<TokenId> ids;
  std::string opening = kOpenings[index % std::size(kOpenings)];
  // As the tokenizer begins a text. Where it adds no start token, one in front would announce a turn of a chat to
  // many models; only the empty opening needs it.
  const auto start = tokenizer.bos ? tokenizer.bos : tokenizer.eos;
  if (start && (opening.empty() || adds_bos(tokenizer))) ids.push_back(*start);
  if (opening.empty() && ids.empty()) opening = "The";  // something must be fed
  const auto words = tokenizer.encode(opening, {.add_special = false, .parse_special = false});
  ids.insert(ids.end(), words.begin(), words.end());
  return ids;
}

// Where documents come from: alternately an opening and, with a template, a question. Seeded.
class Source {
 public:
  Source(const models::Model& model, const text::Tokenizer& tokenizer, uint64_t seed) : tokenizer_(tokenizer), random_(seed) {
    const std::string source = models::chat_template_source(*model.checkpoint);
    if (!source.empty()) template_ = std::make_unique<text::ChatTemplate>(text::ChatTemplate::parse(source));
    opening_ = random_.next();
    question_ = random_.next();
  }
  std::vector<TokenId> next(bool chat) {
    if (!chat || !template_) return opening_ids(tokenizer_, opening_++);
    const Json messages = Json::array({Json{{"role", "user"}, {"content", kQuestions[question_++ % std::size(kQuestions)]}}});
    // A fixed clock: templates that print the date give the same text every day.
    const std::string rendered = template_->render(generate::template_variables(messages, tokenizer_, true), {}, 1'700'000'000);
    std::vector<TokenId> ids = tokenizer_.encode(rendered, {.add_special = false, .parse_special = true});
    return ids.empty() ? opening_ids(tokenizer_, opening_++) : ids;
  }
  uint64_t seed() { return random_.next(); }

 private:
  const text::Tokenizer& tokenizer_;
  Random random_;
  std::unique_ptr<text::ChatTemplate> template_;
  uint64_t opening_ = 0, question_ = 0;
};

generate::SamplingOptions sampling(uint64_t seed, uint64_t index) {
  constexpr float kTemperatures[] = {0.8f, 0.9f, 1.0f};
  generate::SamplingOptions options;
  options.temperature = kTemperatures[index % std::size(kTemperatures)];
  options.top_k = 100;
  options.top_p = 0.98f;
  options.min_p = 0;
  options.seed = seed;
  return options;
}

// Segments as long as the windows allow with a batch well filled: the time goes down with the rows, and long
// ones show long contexts.
int64_t segment_length(int64_t tokens, int64_t window) {
  int64_t segment = window;
  while (tokens / segment < kBatch && segment % 2 == 0 && segment / 2 >= kShortestSegment) segment /= 2;
  return segment;
}

// One segment under way in a batch row.
struct Row {
  Row(uint64_t seed, uint64_t index, bool is_chat) : sampler(sampling(seed, index)), chat(is_chat) {}
  generate::Sampler sampler;
  bool chat;
  std::deque<TokenId> forced;
  std::vector<TokenId> ids;

  TokenId next(std::span<const float> logits, const text::Tokenizer& tokenizer, Source& source) {
    const auto& ends = tokenizer.end_of_turn;
    if (forced.empty() && (ids.empty() || std::find(ends.begin(), ends.end(), ids.back()) != ends.end())) {
      const std::vector<TokenId> document = source.next(chat);
      forced.assign(document.begin(), document.end());
    }
    TokenId id;
    if (forced.empty()) {
      id = sampler.sample(logits, ids);
    } else {
      id = forced.front();
      forced.pop_front();
    }
    ids.push_back(id);
    return id;
  }
};

}  // namespace

std::vector<std::vector<TokenId>> self_text(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer, int64_t tokens,
                                            int64_t window, uint64_t seed, ProgressSink* progress) {
  if (tokens <= 0 || window <= 0) fail(ErrorKind::kUsage, "[evaluate] {} tokens in windows of {}: both must be positive", tokens, window);
  const int64_t windows = (tokens + window - 1) / window;
  const int64_t segment = segment_length(windows * window, window);
  const int64_t segments = windows * (window / segment);
  generate::SessionOptions options;
  options.context = segment;
  options.batch = std::min(segments, kBatch);
  options.chunk = 1;
  generate::LanguageModel session(model, device, options);
  Source source(model, tokenizer, seed);

  std::vector<TokenId> text;  // segments one after the other
  text.reserve(static_cast<size_t>(segments * segment));
  Progress stage(progress, "writing calibration text", static_cast<uint64_t>(segments * segment));
  for (int64_t done = 0; done < segments; done += options.batch) {
    session.reset();
    std::vector<Row> rows;
    for (int64_t r = 0; r < options.batch; ++r) {
      const auto index = static_cast<uint64_t>(done + r);
      rows.emplace_back(source.seed(), index, index % 2 == 1);
    }
    std::vector<TokenId> step(rows.size());
    std::span<const float> logits;
    const auto vocab = static_cast<size_t>(session.vocab_size());
    for (int64_t t = 0; t < segment; ++t) {
      throw_if_cancelled();
      for (size_t r = 0; r < rows.size(); ++r) {
        step[r] = rows[r].next(logits.empty() ? logits : logits.subspan(r * vocab, vocab), tokenizer, source);
      }
      if (t + 1 < segment) logits = session.feed_batch(step);
      stage.advance(static_cast<uint64_t>(std::min(options.batch, segments - done)));
    }
    for (int64_t r = 0; r < std::min(options.batch, segments - done); ++r) {
      const auto& ids = rows[static_cast<size_t>(r)].ids;
      text.insert(text.end(), ids.begin(), ids.end());
    }
  }
  std::vector<std::vector<TokenId>> result;
  for (auto at = text.begin(); at != text.end(); at += window) result.emplace_back(at, at + window);
  return result;
}

}  // namespace hone::evaluate
