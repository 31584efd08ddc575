// The cache layout and what decides where bytes and tokens go; transfers are in tests/cli/hub_test.py.
#include "app/hub.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "app/http.h"
#include "app/model_argument.h"
#include "base/error.h"

namespace hone::app {
namespace {
namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("hone-app-test-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

void write(const fs::path& path, const std::string& text = "x") {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(Reference, NamesRevisionsAndFiles) {
  const auto plain = parse_hub_reference("org/name");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->repository, "org/name");
  EXPECT_EQ(plain->revision, "main");
  const auto revision = parse_hub_reference("org/name@refs/pr/1");
  ASSERT_TRUE(revision);
  EXPECT_EQ(revision->revision, "refs/pr/1");
  const auto file = parse_hub_reference("org/name/sub/a.gguf@v1");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->file, "sub/a.gguf");
  EXPECT_EQ(file->revision, "v1");
  for (const char* text :
       {"", "name", "/name", "org/", "org//x", "../x", "org/..", "./x/y", "org/na me", "org/name@",
        "org/name@../up", "org/name/../x", "or--g/name", "-org/name", "org/name/"})
    EXPECT_FALSE(parse_hub_reference(text)) << text;
}

TEST(Paths, StayBelow) {
  for (const char* path : {"a", "a/b.txt", ".gitattributes", "a..b/c", "a b"})
    EXPECT_TRUE(is_safe_relative_path(path)) << path;
  for (const char* path : {"", "/a", "a/", "../a", "a/../b", "a/./b", "a//b", "a\\b", "a\nb"})
    EXPECT_FALSE(is_safe_relative_path(path)) << path;
  EXPECT_TRUE(is_commit_hash(std::string(40, 'a')));
  EXPECT_FALSE(is_commit_hash(std::string(40, 'g')));
  EXPECT_FALSE(is_commit_hash("main"));
}

TEST(Cache, LayoutOfHuggingfaceHub) {
  const Folder folder;
  HubCache cache(folder.path, "org/name");
  const std::string commit(40, 'c');
  EXPECT_EQ(cache.directory(), folder.path / "models--org--name");
  EXPECT_FALSE(cache.commit_of("main"));
  write(cache.blob("abc"), "hello");
  cache.link(commit, "sub/deep/file.txt", "abc");
  cache.link(commit, "sub/deep/file.txt", "abc");  // again is fine
  cache.link(commit, "top.txt", "abc");
  cache.write_ref("main", commit);
  cache.write_ref("refs/pr/7", commit);
  EXPECT_EQ(cache.commit_of("main"), commit);
  EXPECT_EQ(cache.commit_of("refs/pr/7"), commit);
  EXPECT_EQ(cache.commit_of(commit), commit);
  EXPECT_EQ(fs::read_symlink(cache.snapshot(commit) / "sub/deep/file.txt"), "../../../../blobs/abc");
  EXPECT_EQ(fs::read_symlink(cache.snapshot(commit) / "top.txt"), "../../blobs/abc");
  EXPECT_TRUE(fs::is_regular_file(cache.snapshot(commit) / "sub/deep/file.txt"));
  write(cache.directory() / "refs" / "odd", "../../..");
  EXPECT_FALSE(cache.commit_of("odd"));
}

TEST(Cache, WhatOfASnapshotIsAModel) {
  const Folder folder;
  const fs::path s = folder.path / "snapshot";
  EXPECT_FALSE(model_in_snapshot(s, "o/n"));
  write(s / "config.json");
  EXPECT_FALSE(model_in_snapshot(s, "o/n"));
  write(s / "model.safetensors.index.json",
        R"({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})");
  write(s / "m-1.safetensors");
  EXPECT_FALSE(model_in_snapshot(s, "o/n"));  // a shard is missing
  write(s / "m-2.safetensors");
  EXPECT_EQ(model_in_snapshot(s, "o/n"), s);
  const fs::path g = folder.path / "gguf";
  write(g / "q/x-00002-of-00002.gguf");
  write(g / "q/x-00001-of-00002.gguf");
  EXPECT_EQ(model_in_snapshot(g, "o/n"), g / "q/x-00001-of-00002.gguf");
  const fs::path linked = folder.path / "linked";  // as snapshots are: links into blobs/
  write(folder.path / "blobs/0123");
  fs::create_directories(linked);
  fs::create_symlink("../blobs/0123", linked / "z.gguf");
  EXPECT_EQ(model_in_snapshot(linked, "o/n"), linked / "z.gguf");
  write(g / "y.gguf");
  EXPECT_THROW(model_in_snapshot(g, "o/n"), Error);
}

TEST(Select, WhatHoneReads) {
  PullOptions options;
  options.repository = "o/n";
  const std::vector<std::string> names = {"README.md",
                                          "config.json",
                                          "model.safetensors",
                                          "pytorch_model.bin",
                                          "onnx/model.onnx",
                                          "tokenizer.json",
                                          "a.gguf",
                                          "b.gguf"};
  EXPECT_EQ(select_files(names, options),
            (std::vector<std::string>{"README.md", "config.json", "model.safetensors", "tokenizer.json",
                                      "a.gguf", "b.gguf"}));
  EXPECT_EQ(select_files({"pytorch_model.bin"}, options),
            (std::vector<std::string>{"pytorch_model.bin"}));  // nothing better there
  EXPECT_THROW(select_files({"a.gguf", "b.gguf"}, options), Error);
  options.include = {"*.bin", "b.*"};
  EXPECT_EQ(select_files(names, options), (std::vector<std::string>{"pytorch_model.bin", "b.gguf"}));
  options.include = {"nothing"};
  EXPECT_THROW(select_files(names, options), Error);
}

TEST(Urls, OriginsDecideWhereATokenGoes) {
  EXPECT_EQ(url_origin("https://Hub.example/a/b?c"), "https://hub.example:443");
  EXPECT_EQ(url_origin("https://hub.example:443"), "https://hub.example:443");
  EXPECT_EQ(url_origin("http://[::1]:8080/x"), "http://[::1]:8080");
  EXPECT_EQ(url_origin("http://[::1]/x"), "http://[::1]:80");
  EXPECT_EQ(url_origin("https://hub.example@evil.example/x"), "https://evil.example:443");
  EXPECT_EQ(url_origin("https://evil.example\\@hub.example/"), "https://evil.example:443");
  EXPECT_EQ(url_origin("https://evil.example?@hub.example/"), "https://evil.example:443");
  EXPECT_EQ(url_origin("ftp://x/"), "");
  EXPECT_EQ(url_origin("/relative"), "");
  EXPECT_EQ(resolve_location("https://h/a/b", "/c?d=://e"), "https://h/c?d=://e");
  EXPECT_EQ(resolve_location("https://h/a/b", "//other/c"), "https://other/c");
  EXPECT_EQ(resolve_location("https://h/a/b", "http://x/y"), "http://x/y");
  EXPECT_EQ(url_encode("a b/ü+c", true), "a%20b/%C3%BC%2Bc");
  EXPECT_EQ(url_encode("refs/pr/1", false), "refs%2Fpr%2F1");
}

TEST(Output, IsCheckedBeforeTheWork) {
  const Folder folder;
  write(folder.path / "in.gguf");
  EXPECT_NO_THROW(check_output(folder.path / "out.gguf", folder.path / "in.gguf"));
  EXPECT_THROW(check_output(folder.path / "in.gguf", folder.path / "in.gguf"), Error);
  EXPECT_THROW(check_output(folder.path, folder.path / "in.gguf"), Error);
  EXPECT_THROW(check_output("/dev/null", folder.path / "in.gguf"), Error);
  try {
    check_output(folder.path / "none/out.gguf", folder.path / "in.gguf");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
  }
}

}  // namespace
}  // namespace hone::app
