#include "app/console.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "app/chat_loop.h"
#include "app/cli.h"

namespace hone::app {
namespace {

TEST(Console, ProgressLineFitsAndCounts) {
  for (const int width : {1, 20, 40, 79, 200}) {
    for (const uint64_t done : {0u, 1u, 50u, 100u, 150u}) {
      const std::string line = progress_line("encoding tensors", done, 100, 3.0, width);
      EXPECT_LE(line.size(), static_cast<size_t>(width));
    }
  }
  const std::string half = progress_line("work", 50, 100, 10.0, 80);
  EXPECT_NE(half.find(" 50 %  10.0 s left"), std::string::npos) << half;
  EXPECT_NE(half.find("####"), std::string::npos);
  const std::string full = progress_line("work", 100, 100, 10.0, 80);
  EXPECT_NE(full.find("100 %"), std::string::npos);
  EXPECT_EQ(full.find("left"), std::string::npos);
  EXPECT_EQ(progress_line("work", 7, 0, 2.0, 80), "work  2.0 s");  // no total: no share, no time left
}

// What a sink writes into a pipe.
std::string written(std::unique_ptr<ProgressSink> (*make)(int), void (*use)(ProgressSink&)) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  {
    const auto sink = make(ends[1]);
    use(*sink);
  }
  ::close(ends[1]);
  std::string text(1 << 16, 0);
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

TEST(Console, PlainProgressIsWholeLines) {
  const std::string text = written(make_plain_progress, [](ProgressSink& sink) {
    Progress bar(&sink, "encode", 3);
    bar.advance(1);
    sink.note("a note\x1b[31m");
  });
  EXPECT_EQ(text, "encode\na note\\x1b[31m\nencode: 0.0 s\n");
}

TEST(Console, TerminalProgressIsDrawnTenTimesASecondAtMost) {
  const std::string text = written(make_terminal_progress, [](ProgressSink& sink) {
    Progress bar(&sink, "encode", 1'000'000);
    for (int i = 0; i < 1'000'000; ++i) bar.advance(1);
    sink.note("kept");
  });
  // A million updates: a handful of drawings.
  EXPECT_LT(std::count(text.begin(), text.end(), '\r'), 60);
  EXPECT_NE(text.find("kept\n"), std::string::npos);
  EXPECT_EQ(text.substr(text.size() - 4), "\r\x1b[K");  // nothing stays
}

TEST(Console, TableAlignsByCharacters) {
  EXPECT_EQ(table({{"a", "1.5"}, {"größe", "10"}}, {false, true}), "a      1.5\ngröße   10\n");
  EXPECT_EQ(table({{"x", "y"}, {"long", ""}}), "x     y\nlong\n");
}

TEST(Console, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(printable("a\x1b]0;t\x07\nb\t"), "a\\x1b]0;t\\x07\\nb\\t");
  EXPECT_EQ(without_controls("a\x1b[2Jb\nc\td\x7f"), "a[2Jb\nc\td");
}

TEST(Messages, BackslashesAndBlocks) {
  MessageReader reader;
  EXPECT_TRUE(reader.push("one line"));
  EXPECT_EQ(reader.message(), "one line");
  reader.clear();
  EXPECT_FALSE(reader.push("first\\"));
  EXPECT_FALSE(reader.push("\\"));
  EXPECT_TRUE(reader.push("third"));
  EXPECT_EQ(reader.message(), "first\n\nthird");
  reader.clear();
  EXPECT_FALSE(reader.push("\"\"\"block begins"));
  EXPECT_FALSE(reader.push("with a backslash\\"));
  EXPECT_TRUE(reader.open());
  EXPECT_TRUE(reader.push("and ends\"\"\""));
  EXPECT_EQ(reader.message(), "block begins\nwith a backslash\\\nand ends");
  reader.clear();
  EXPECT_FALSE(reader.push("\"\"\""));
  EXPECT_FALSE(reader.push("text"));
  EXPECT_TRUE(reader.push("\"\"\""));
  EXPECT_EQ(reader.message(), "text");
  reader.clear();
  EXPECT_TRUE(reader.push("\"\"\"on one line\"\"\""));
  EXPECT_EQ(reader.message(), "on one line");
}

TEST(CommandLine, QuotedForAShell) {
  const char* words[] = {"/usr/bin/hone", "run", "a model.gguf", "it's", "--seed=3", ""};
  EXPECT_EQ(command_line(6, words), "hone run 'a model.gguf' 'it'\\''s' --seed=3 ''");
}

}  // namespace
}  // namespace hone::app
