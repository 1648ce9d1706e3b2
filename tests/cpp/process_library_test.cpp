// Functions of shared libraries in processes that are no forks of this one.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "shoal/process.hpp"
#include "temporary_folder.hpp"

extern "C" int shoal_test_answer();  // of the library that this program is linked with

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using shoal::start_method;
using shoal::test::temporary_folder;
using testing::AllOf;
using testing::HasSubstr;

using answer_function = int (*)();

/// A library loaded while the program runs.
class plugin {
 public:
  explicit plugin(const std::filesystem::path& path) : handle_(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) {
      throw std::runtime_error(::dlerror());
    }
  }
  plugin(const plugin&) = delete;
  plugin& operator=(const plugin&) = delete;
  ~plugin() { ::dlclose(handle_); }

  [[nodiscard]] answer_function answer() const {
    return reinterpret_cast<answer_function>(::dlsym(handle_, "shoal_test_answer"));
  }

 private:
  void* handle_;
};

/// A copy of the library at `from`, under a name that another one may get later.
std::filesystem::path put(const std::filesystem::path& from, const temporary_folder& into) {
  std::filesystem::path path = into.path() / "plugin.so";
  std::filesystem::remove(path);  // a loaded file is replaced, not written to: its pages are in use
  std::filesystem::copy_file(from, path);
  return path;
}

std::string refusal(start_method method, answer_function function) {
  try {
    process child(process_options{.method = method}, function);
    static_cast<void>(child.join());
  } catch (const std::exception& refused) {
    return refused.what();
  }
  return "none";
}

class ProcessLibrary : public testing::TestWithParam<start_method> {
 protected:
  static exit_status run(answer_function function) {
    process child(process_options{.method = GetParam()}, function);
    return child.join();
  }
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessLibrary,
                         testing::Values(start_method::fork, start_method::spawn, start_method::forkserver));

// It has no build id, so its code is compared.
TEST_P(ProcessLibrary, AFunctionOfALinkedLibraryIsFound) {
  EXPECT_EQ(run(shoal_test_answer), exit_status::exited_with(41));
}

TEST_P(ProcessLibrary, ALibraryThatTheProgramHasLoadedMeanwhileIsLoadedThereToo) {
  const plugin loaded(SHOAL_TEST_PLUGIN);
  EXPECT_EQ(run(loaded.answer()), exit_status::exited_with(42));
}

TEST_P(ProcessLibrary, TwoLibrariesOfOneNameAreToldApart) {
  const temporary_folder one;
  const temporary_folder other;
  const plugin first(put(SHOAL_TEST_PLUGIN, one));
  const plugin second(put(SHOAL_TEST_REBUILT, other));
  EXPECT_EQ(run(first.answer()), exit_status::exited_with(42));
  EXPECT_EQ(run(second.answer()), exit_status::exited_with(43));
}

class ProcessLibraryAfterExec : public testing::TestWithParam<start_method> {};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessLibraryAfterExec,
                         testing::Values(start_method::spawn, start_method::forkserver));

TEST_P(ProcessLibraryAfterExec, ALibraryThatWasReplacedOnDiskIsRefused) {
  const temporary_folder folder;
  const std::filesystem::path path = put(SHOAL_TEST_PLUGIN, folder);
  const plugin loaded(path);
  put(SHOAL_TEST_REBUILT, folder);
  EXPECT_THAT(refusal(GetParam(), loaded.answer()), AllOf(HasSubstr(path.string()), HasSubstr("another build")));
}

TEST_P(ProcessLibraryAfterExec, ALibraryThatWasRemovedIsRefused) {
  const temporary_folder folder;
  const std::filesystem::path path = put(SHOAL_TEST_PLUGIN, folder);
  const plugin loaded(path);
  std::filesystem::remove(path);
  EXPECT_THAT(refusal(GetParam(), loaded.answer()), HasSubstr(path.string()));
}

TEST_P(ProcessLibraryAfterExec, ALibraryWithoutABuildIdIsNotLoaded) {
  const plugin loaded(SHOAL_TEST_UNNAMED);  // whether the file has the code that is loaded here cannot be told
  EXPECT_THAT(refusal(GetParam(), loaded.answer()), HasSubstr(SHOAL_TEST_UNNAMED));
}

TEST_P(ProcessLibraryAfterExec, WhatIsNoFunctionIsRefused) {
  const auto nowhere = reinterpret_cast<answer_function>(static_cast<std::uintptr_t>(16));
  EXPECT_THAT(refusal(GetParam(), nowhere), HasSubstr("neither in the program nor in a shared library"));
}

}  // namespace
