// tokenizer.model files: what loads must encode, decode and export a short text.
#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  try {
    const auto tokenizer = text::tokenizer_from_sentencepiece({reinterpret_cast<const char*>(data), size});
    for (const char* sample : {"Hello, w\xC3\xB6rld!  It's 2024.\n\nfoo bar", "\xFF\xE2\x96\x81 a",
                               "e\xCC\x81 \xEF\xBC\xA1\xE3\x80\x80x", ""}) {
      const auto ids = tokenizer->encode(sample);
      tokenizer->decode(ids);
      tokenizer->decode(ids, false);
      text::StreamDecoder stream(*tokenizer, true, false);
      for (const text::TokenId id : ids) stream.push(id);
      stream.finish();
    }
    tokenizer->decode({-1, 0, 1, 2, 1 << 30});
    text::tokenizer_from_vocab(tokenizer->to_vocab_spec())->encode("Hello  w\xC3\xB6rld");
    text::tokenizer_from_json(tokenizer->to_tokenizer_json())->encode("Hello  w\xC3\xB6rld");
  } catch (const Error&) {
  }
  return 0;
}
