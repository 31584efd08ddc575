// tokenizer.json documents: what loads must encode and decode a short text.
#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  try {
    const auto tokenizer = text::tokenizer_from_json({reinterpret_cast<const char*>(data), size});
    for (const char* sample :
         {"Hello, w\xC3\xB6rld!  It's 2024.\n\n<|im_start|>user", "\xFF\xE2\x96\x81 a", ""}) {
      const auto ids = tokenizer->encode(sample);
      tokenizer->decode(ids);
      tokenizer->decode(ids, false);
      for (const text::TokenId id : ids) tokenizer->token_bytes(id);
    }
    tokenizer->decode({-1, 0, 1, 2, 1 << 30});
    tokenizer->to_tokenizer_json();
    tokenizer->to_vocab_spec();
  } catch (const Error&) {
  }
  return 0;
}
