// hone tokenize: text to ids and back, as the model sees it.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "app/console.h"
#include "app/text_input.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"

namespace hone::app {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

class TokenizeVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "A model, or a tokenizer.json")->required()->type_name("MODEL");
    command.add_option("text", words_, "The text, or ids with --decode; else --file or stdin")
        ->type_name("TEXT");
    command.add_option("--file", file_, "Read the text (or ids) from a file")->type_name("FILE");
    command.add_flag("--decode", decode_, "From ids to text");
    command.add_flag("--pieces", pieces_, "One token a line: id and its piece");
    command.add_flag("--no-special", no_special_,
                     "Add no BOS or EOS; with --decode leave special tokens out");
    command.add_flag("--plain", plain_, "Special tokens written in the text are plain text");
  }

  int run(Console& console) override {
    if (!words_.empty() && !file_.empty()) fail(ErrorKind::kUsage, "give the text or --file, not both");
    const auto tokenizer = open_tokenizer(model_, console.progress());
    const std::string input = !words_.empty()  ? joined()
                              : !file_.empty() ? read_text_file(file_, kMaxTextBytes)
                                               : read_stdin(kMaxTextBytes);
    const std::vector<text::TokenId> ids =
        decode_ ? parse_ids(input, tokenizer->vocab_size())
                : tokenizer->encode(input, {.add_special = !no_special_, .parse_special = !plain_});
    if (console.json()) {
      Json json = {{"ids", ids}, {"count", ids.size()}};
      if (pieces_) {
        json["pieces"] = Json::array();
        for (const auto id : ids) json["pieces"].push_back(tokenizer->piece(id));
      }
      if (decode_) json["text"] = tokenizer->decode(ids, no_special_);
      console.print_json(json);
    } else if (pieces_) {
      std::string out;
      for (const auto id : ids) out += fmt::format("{}\t{}\n", id, printable(tokenizer->piece(id)));
      console.print(out);
    } else if (decode_) {
      const std::string text = tokenizer->decode(ids, no_special_);
      console.print(::isatty(STDOUT_FILENO) ? text + "\n" : text);
    } else {
      std::string out;
      for (const auto id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
      console.print(out + "\n");
    }
    return 0;
  }

 private:
  std::string joined() const {
    std::string text;
    for (size_t i = 0; i < words_.size(); ++i) text += (i ? " " : "") + words_[i];
    return text;
  }

  // "1 2 3", "1,2,3" and "[1, 2, 3]".
  static std::vector<text::TokenId> parse_ids(const std::string& text, size_t vocab) {
    std::vector<text::TokenId> ids;
    constexpr std::string_view kBetween = " \t\r\n,[]";
    for (size_t at = text.find_first_not_of(kBetween); at != std::string::npos;
         at = text.find_first_not_of(kBetween, at)) {
      const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
      text::TokenId id = 0;
      const auto [rest, error] = std::from_chars(text.data() + at, text.data() + end, id);
      if (error != std::errc() || rest != text.data() + end)
        fail(ErrorKind::kBadInput, "'{}' is no token id; give numbers",
             text.substr(at, std::min<size_t>(end - at, 40)));
      if (id < 0 || static_cast<size_t>(id) >= vocab)
        fail(ErrorKind::kBadInput, "{} is no token; the vocabulary has {}", id, vocab);
      ids.push_back(id);
      at = end;
    }
    return ids;
  }

  std::string model_, file_;
  std::vector<std::string> words_;
  bool decode_ = false, pieces_ = false, no_special_ = false, plain_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_tokenize() {
  return std::make_unique<TokenizeVerb>();
}

}  // namespace hone::app
