#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/thread_pool.h"

namespace hone {
namespace {

TEST(Cpu, TheBestSupportedSetIsChosenUnlessOneIsForced) {
  const Isa active = active_isa();
  std::printf("active instruction set: %s\n", isa_name(active));  // tests/arm64_test.py reads it
  EXPECT_TRUE(isa_supported(active));
  if (const char* forced = std::getenv("HONE_ISA"); forced && *forced) {
    EXPECT_STREQ(isa_name(active), forced);
    return;
  }
  Isa best = Isa::kScalar;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) best = isa;
  EXPECT_EQ(active, best);
}

TEST(Half, EveryF16ValueRoundTrips) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
      continue;
    }
    EXPECT_EQ(f32_to_f16(value), bits);
#if defined(__x86_64__) && defined(__FLT16_MAX__)
    EXPECT_EQ(value, static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits))));
#endif
  }
}

TEST(Half, F32ToF16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3C00);           // tie to even
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f + 0x1p-20f), 0x3C01);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);                       // tie to even at the smallest subnormal
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::infinity()), 0x7F80);
}

TEST(ThreadPool, CoversTheRangeOnceManyTimes) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<int> hits(1000);
    for (int round = 0; round < 500; ++round)
      pool.for_range(hits.size(), 7, [&](size_t begin, size_t end, int) {
        for (size_t i = begin; i < end; ++i) ++hits[i];
      });
    for (int h : hits) EXPECT_EQ(h, 500);
  }
}

TEST(ThreadPool, RethrowsAndGoesOn) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.for_range(100, 1, [](size_t i, size_t, int) { if (i == 42) fail(ErrorKind::kBadInput, "x"); }), Error);
  std::atomic<int> sum = 0;
  pool.for_range(100, 1, [&](size_t i, size_t, int) { sum += static_cast<int>(i); });
  EXPECT_EQ(sum, 4950);
}

TEST(ThreadPool, RefusesRegionsInsideRegions) {
  ThreadPool pool(2);
  const auto nothing = [](size_t, size_t, int) {};
  EXPECT_THROW(pool.for_range(64, 1, [&](size_t, size_t, int) { pool.for_range(8, 1, nothing); }), std::logic_error);
  std::atomic<int> sum = 0;
  pool.for_range(100, 1, [&](size_t i, size_t, int) { sum += static_cast<int>(i); });
  EXPECT_EQ(sum, 4950);
}

TEST(ThreadPool, ManyShortRegionsLoseNoWakeUp) {
  for (const int threads : {2, 3, 8}) {  // also more than there are cores
    ThreadPool pool(threads);
    std::vector<std::atomic<int>> hits(static_cast<size_t>(threads) * 3);
    const int rounds = 4000;
    for (int round = 0; round < rounds; ++round) {
      // Pauses of both kinds: workers still spinning, and parked.
      if (round % 200 == 0) std::this_thread::sleep_for(std::chrono::microseconds(round % 400 ? 300 : 15));
      pool.for_range(hits.size(), 1, [&](size_t begin, size_t, int) { hits[begin].fetch_add(1, std::memory_order_relaxed); });
    }
    for (const auto& h : hits) EXPECT_EQ(h.load(), rounds);
  }
}

TEST(ThreadPool, AWorkerNumberIsUsedByOneThreadAtATime) {
  ThreadPool pool(4);
  std::vector<int> plain(4);  // written without locks: a race would lose counts
  std::atomic<int> outside = 0;
  for (int round = 0; round < 300; ++round)
    pool.for_range(64, 1, [&](size_t, size_t, int worker) {
      if (worker < 0 || worker >= 4) ++outside;
      else ++plain[static_cast<size_t>(worker)];
    });
  EXPECT_EQ(outside, 0);
  EXPECT_EQ(std::accumulate(plain.begin(), plain.end(), 0), 300 * 64);
}

TEST(ThreadPool, ExceptionsFromManyChunksAndRegions) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> thrown = 0;
    const auto body = [&](size_t i, size_t, int) {
      if (i % 3 == 0) {
        ++thrown;
        fail(ErrorKind::kBadInput, "chunk {}", i);
      }
    };
    EXPECT_THROW(pool.for_range(30, 1, body), Error);
    EXPECT_GE(thrown, 1);
    EXPECT_LE(thrown, 4);  // the rest is not begun: at most one per thread
  }
}

TEST(File, AtomicFileAppearsOnlyOnCommit) {
  const auto path = std::filesystem::temp_directory_path() / "hone_base_test_file";
  std::filesystem::remove(path);
  {
    AtomicFile file(path);
    file.write("hello");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  write_text_file(path, "hello");
  EXPECT_EQ(read_text_file(path), "hello");
  EXPECT_EQ(sha256_hex_file(path), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_THROW(read_text_file(path, 3), Error);
  EXPECT_THROW(MappedFile::open(std::filesystem::temp_directory_path()), Error);
  std::filesystem::remove(path);
  EXPECT_THROW(AtomicFile("/proc/nowhere/x"), Error);
}

TEST(File, ForgottenPagesOfAMapAreReadAgainAndOtherMemoryIsLeftAlone) {
  const auto path = std::filesystem::temp_directory_path() / ("hone_forget_" + std::to_string(::getpid()));
  std::string text(5 * 4096 + 77, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  write_text_file(path, text);
  {
    const auto map = MappedFile::open(path);
    MappedFile::forget(map->bytes());
    MappedFile::forget(map->bytes().subspan(100, 9000));
    EXPECT_EQ(std::memcmp(map->bytes().data(), text.data(), text.size()), 0);
  }
  std::vector<std::byte> own(16 * 4096, std::byte{7});  // dropping these pages would zero them
  MappedFile::forget(own);
  EXPECT_EQ(std::count(own.begin(), own.end(), std::byte{7}), static_cast<std::ptrdiff_t>(own.size()));
  MappedFile::forget({});
  std::filesystem::remove(path);
}

TEST(JsonHelpers, RefusesDeepAndBrokenDocuments) {
  EXPECT_THROW(parse_json(std::string(100000, '['), "doc"), Error);
  EXPECT_THROW(parse_json("{\"a\":", "doc"), Error);
  EXPECT_EQ(json_int(parse_json("{\"a\":3}", "doc"), "a", "doc"), 3);
  EXPECT_THROW(json_int(parse_json("{\"a\":\"3\"}", "doc"), "a", "doc"), Error);
}

}  // namespace
}  // namespace hone
