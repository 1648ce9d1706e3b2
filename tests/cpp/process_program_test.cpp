// Processes of programs as they are built, replaced and extended by shared libraries.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "shoal/process.hpp"
#include "start_method_support.hpp"

namespace {

namespace fs = std::filesystem;
using shoal::process;
using testing::AllOf;
using testing::HasSubstr;

/// A folder that is removed at the end.
class temporary_folder {
 public:
  temporary_folder() {
    std::string name = fs::temp_directory_path() / "shoal_test_XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~temporary_folder() { fs::remove_all(path_); }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  [[nodiscard]] fs::path copy(const std::string& built, const std::string& name) const {
    fs::copy_file(fs::path(TEST_PROGRAMS) / built, path_ / name, fs::copy_options::overwrite_existing);
    return path_ / name;
  }

 private:
  fs::path path_;
};

/// What a program writes.
std::string output_of(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> some{};
  while (const std::size_t count = std::fread(some.data(), 1, some.size(), pipe)) {
    output.append(some.data(), count);
  }
  EXPECT_EQ(::pclose(pipe), 0) << output;
  return output;
}

TEST(ProcessProgram, WithoutARuntimeIsToldSoAndStartsNothing) {
  const std::string output = output_of(TEST_PROGRAMS "/shoal_test_without_runtime");
  EXPECT_THAT(output, AllOf(HasSubstr("main\nstarting a process by spawn: "), HasSubstr("by forkserver: "),
                            HasSubstr("Construct a shoal::runtime first thing in main")));
  EXPECT_EQ(output.find("main\n"), output.rfind("main\n")) << "it has started itself";
}

TEST(ProcessProgram, RunsOnWhenItsFileIsReplaced) {
  const temporary_folder folder;
  const fs::path program = folder.copy("shoal_test_replaced", "program");
  const fs::path other = folder.copy("shoal_test_without_runtime", "other");
  EXPECT_EQ(output_of(program.native() + " " + other.native()), "main\n42\n42\n");
}

TEST(ProcessProgram, ThatEndsBeforeItsRuntimeIsAnError) {
  EXPECT_THAT(output_of(TEST_PROGRAMS "/shoal_test_crash_early"),
              AllOf(HasSubstr("exited with code 7 before it came to the shoal::runtime in its main"),
                    HasSubstr("the fork server, which ends again and again as soon as it is launched")));
}

class ProcessLibrary : public shoal::test::by_each_method {
 protected:
  using function = int (*)(int);

  /// The function of a library that is loaded from a file of its own, and never unloaded.
  static function load(const fs::path& library) {
    void* const loaded = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) {
      throw std::runtime_error(::dlerror());
    }
    return reinterpret_cast<function>(::dlsym(loaded, "plugin_answer"));
  }

  static std::string failure_of(function run) {
    try {
      process child(by_method(), run, 7);
      return to_string(join_soon(child));
    } catch (const shoal::remote_error& error) {
      EXPECT_EQ(error.type(), "shoal::error");
      return error.message();
    }
  }
};

INSTANTIATE_BY_EACH_METHOD(ProcessLibrary);

TEST_P(ProcessLibrary, LoadedAtRunTimeIsLoadedInTheProcess) {
  const temporary_folder folder;
  EXPECT_EQ(run(load(folder.copy("libshoal_test_plugin_2.so", "plugin.so")), 7).code(), 14);
}

TEST_P(ProcessLibrary, ReplacedByAnotherBuildIsRefused) {
  const temporary_folder folder;
  const function answer = load(folder.copy("libshoal_test_plugin_2.so", "plugin.so"));
  const fs::path plugin = folder.copy("libshoal_test_plugin_3.so", "new.so");
  fs::rename(plugin, plugin.parent_path() / "plugin.so");
  if (is_fork()) {
    EXPECT_EQ(run(answer, 7).code(), 14);
    return;
  }
  EXPECT_THAT(failure_of(answer), AllOf(HasSubstr("plugin.so"), HasSubstr("is missing or another build")));
}

TEST_P(ProcessLibrary, RemovedIsRefused) {
  function answer = nullptr;
  {
    const temporary_folder folder;
    answer = load(folder.copy("libshoal_test_plugin_2.so", "plugin.so"));
  }
  if (!is_fork()) {
    EXPECT_THAT(failure_of(answer), HasSubstr("is missing or another build"));
  }
}

TEST_P(ProcessLibrary, FunctionThatIsInNoFileIsRefusedBeforeTheStart) {
  if (is_fork()) {
    GTEST_SKIP() << "it would be called there";
  }
  const auto nowhere = reinterpret_cast<function>(16);  // NOLINT(performance-no-int-to-ptr)
  try {
    process child(by_method(), nowhere, 1);
    FAIL() << "started";
  } catch (const shoal::error& error) {
    EXPECT_EQ(error.code(), shoal::errc::unknown_function);
  }
}

}  // namespace
