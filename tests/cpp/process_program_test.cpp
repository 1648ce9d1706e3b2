// Programs that start processes which execute them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "temporary_folder.hpp"

namespace {

namespace fs = std::filesystem;
using shoal::test::temporary_folder;
using testing::AllOf;
using testing::HasSubstr;

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
  const std::string output = output_of(SHOAL_TEST_PROGRAMS "/shoal_test_without_runtime");
  EXPECT_THAT(output, AllOf(HasSubstr("main\nstarting a process by spawn: "), HasSubstr("by forkserver: "),
                            HasSubstr("Construct a shoal::runtime first thing in main")));
  EXPECT_EQ(output.find("main\n"), output.rfind("main\n")) << "it has started itself";
  EXPECT_NE(output.find("no pool\n"), output.rfind("no pool\n")) << "by either method";
}

TEST(ProcessProgram, RunsOnWhenItsFileIsReplaced) {
  const temporary_folder folder;
  const fs::path program = folder.path() / "program";
  const fs::path other = folder.path() / "other";
  fs::copy_file(SHOAL_TEST_PROGRAMS "/shoal_test_replaced", program);
  fs::copy_file(SHOAL_TEST_PROGRAMS "/shoal_test_without_runtime", other);
  EXPECT_EQ(output_of(program.native() + " " + other.native()), "main\n42\n42\n");
}

TEST(ProcessProgram, ThatEndsBeforeItsRuntimeIsAnError) {
  EXPECT_THAT(output_of(SHOAL_TEST_PROGRAMS "/shoal_test_crash_early"),
              AllOf(HasSubstr("exited with code 7 before it came to the shoal::runtime in its main"),
                    HasSubstr("the fork server, which ends again and again before it comes to the shoal::runtime")));
}

}  // namespace
