// What can be said of a process when it is started.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "os/pidfd.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"
#include "start_method_support.hpp"

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using shoal::start_method;
using shoal::test::becomes_readable;
using shoal::test::open_descriptors;

class ProcessOptions : public shoal::test::by_each_method {
 protected:
  /// What `function` says in a process of these options.
  static std::string say(process_options options, void (*function)(shoal::queue<std::string>&)) {
    options.method = GetParam();
    shoal::queue<std::string> answer;
    process child(options, function, std::ref(answer));
    EXPECT_EQ(join_soon(child), exit_status::exited_with(0));
    return answer.try_pop().value_or("nothing");
  }

  /// The error for options that cannot be applied.
  static std::system_error refusal(process_options options) {
    options.method = GetParam();
    run([] {});  // the fork server's descriptor stays
    const auto descriptors = open_descriptors();
    shoal::queue<int> has_run;
    std::system_error found({}, "started");
    try {
      process child(
          options, [](shoal::queue<int>& out) { out.push(1); }, std::ref(has_run));
      child.join();
    } catch (const std::system_error& failure) {
      found = failure;
    }
    EXPECT_TRUE(has_run.empty());
    (void)has_run;
    EXPECT_EQ(open_descriptors(), descriptors + 2) << "but those of the queue";
    return found;
  }
};

INSTANTIATE_BY_EACH_METHOD(ProcessOptions);

using answers = shoal::queue<std::string>;

void say_directory(answers& out) { out.push(std::filesystem::current_path()); }

TEST_P(ProcessOptions, WorkingDirectoryIsSet) { EXPECT_EQ(say({.working_directory = "/usr"}, say_directory), "/usr"); }

TEST_P(ProcessOptions, WorkingDirectoryIsThatOfTheStarterOtherwise) {
  run([] {});
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/usr/bin");
  EXPECT_EQ(say({}, say_directory), std::filesystem::current_path());
  std::filesystem::current_path(before);
}

TEST_P(ProcessOptions, WorkingDirectoryIsRelativeToThatOfTheStarter) {
  run([] {});
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/usr");
  EXPECT_EQ(say({.working_directory = "bin"}, say_directory), std::filesystem::canonical("/usr/bin"));
  std::filesystem::current_path(before);
}

TEST_P(ProcessOptions, WorkingDirectoryThatIsNoneIsAnError) {
  const std::system_error error = refusal({.working_directory = "/nonexistent/folder"});
  EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
  EXPECT_STREQ(error.what(),
               "starting a process: making /nonexistent/folder its working directory: No such file or directory");
}

void say_environment(answers& out) {
  const auto value = [](const char* name) {
    const char* const found = std::getenv(name);
    return std::string(found != nullptr ? found : "none");
  };
  out.push(value("SHOAL_TEST_ONE") + " " + value("HOME") + " " + value("SHOAL_PROCESS"));
}

TEST_P(ProcessOptions, EnvironmentIsWhatIsGivenAndNothingElse) {
  EXPECT_EQ(say({.environment = std::map<std::string, std::string>{{"SHOAL_TEST_ONE", "a = b"}}}, say_environment),
            "a = b none none");
}

TEST_P(ProcessOptions, EnvironmentIsThatOfTheStarterOtherwise) {
  run([] {});
  ::setenv("SHOAL_TEST_ONE", "late", 1);
  ::setenv("HOME", "/home", 1);
  EXPECT_EQ(say({}, say_environment), "late /home none");
  ::unsetenv("SHOAL_TEST_ONE");
}

TEST_P(ProcessOptions, EnvironmentWithAnImpossibleNameIsRefused) {
  process_options options = by_method();
  options.environment = std::map<std::string, std::string>{{"A=B", "c"}};
  EXPECT_THROW(process(options, [] {}), std::invalid_argument);
}

void say_cpus(answers& out) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  ::sched_getaffinity(0, sizeof cpus, &cpus);
  out.push(std::to_string(CPU_COUNT(&cpus)) + (CPU_ISSET(0, &cpus) ? " with 0" : " without 0"));
}

TEST_P(ProcessOptions, CpuAffinityIsSet) {
  cpu_set_t ours;
  CPU_ZERO(&ours);
  ::sched_getaffinity(0, sizeof ours, &ours);
  if (!CPU_ISSET(0, &ours)) {
    GTEST_SKIP() << "this process may not run on CPU 0";
  }
  EXPECT_EQ(say({.cpu_affinity = {0}}, say_cpus), "1 with 0");
}

TEST_P(ProcessOptions, CpuThatThereIsNotIsAnError) {
  for (const int cpu : {1000, 100'000, -1}) {
    const std::system_error error = refusal({.cpu_affinity = {0, cpu}});
    EXPECT_EQ(error.code(), std::errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("cpu_affinity to 0, " + std::to_string(cpu)), std::string::npos)
        << error.what();
  }
}

TEST_P(ProcessOptions, NiceIsSet) {
  EXPECT_EQ(say({.nice = 7}, [](answers& out) { out.push(std::to_string(::getpriority(PRIO_PROCESS, 0))); }), "7");
}

TEST_P(ProcessOptions, NicenessOutOfItsRangeIsRefused) {
  const std::system_error error = refusal({.nice = 20});
  EXPECT_EQ(error.code(), std::errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("nice to 20, which is not from -20 to 19"), std::string::npos);
}

void allocate(answers& out) {
  try {
    const std::vector<char> much(200'000'000, 'x');
    out.push("got it " + std::to_string(much.size()));
  } catch (const std::bad_alloc&) {
    out.push("refused");
  }
}

TEST_P(ProcessOptions, MaxMemoryLimitsPrivateMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory counts";
#endif
  EXPECT_EQ(say({}, allocate), "got it 200000000");
  EXPECT_EQ(say({.max_memory = 150'000'000}, allocate), "refused");
}

TEST_P(ProcessOptions, MaxMemoryBelowWhatItHasIsAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer ends a process that gets no memory";
#endif
  const std::system_error error = refusal({.max_memory = 1000});
  EXPECT_EQ(error.code(), std::errc::not_enough_memory);
  EXPECT_NE(std::string(error.what()).find("max_memory to 1000 bytes"), std::string::npos) << error.what();
}

void say_name(answers& out) {
  std::array<char, 16> name{};
  ::prctl(PR_GET_NAME, name.data());
  out.push(name.data());
}

TEST_P(ProcessOptions, NameIsShownByTheKernel) {
  EXPECT_EQ(say({.name = "a long name of a process"}, say_name), "a long name of ");
}

TEST_P(ProcessOptions, NameIsThatOfTheProgramOtherwise) {
  std::array<char, 16> ours{};
  ::prctl(PR_GET_NAME, ours.data());
  EXPECT_EQ(say({}, say_name), ours.data());
}

TEST_P(ProcessOptions, NameIsInTheMessageOfAnException) {
  process_options options = by_method();
  options.name = "parser";
  process child(options, [] { throw std::runtime_error("wrong"); });
  EXPECT_EQ(child.name(), "parser");
  const std::string expected = "std::runtime_error in process " + std::to_string(child.id()) + " (parser): wrong";
  try {
    child.join();
    FAIL() << "nothing was thrown";
  } catch (const shoal::remote_error& error) {
    EXPECT_EQ(error.what(), expected);
  }
}

void say_stdin(answers& out) { out.push(std::filesystem::read_symlink("/proc/self/fd/0")); }

TEST_P(ProcessOptions, StandardInputIsEmptyUnlessItIsInherited) {
  const int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const int before = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
  ::dup2(zero, STDIN_FILENO);
  EXPECT_EQ(say({}, say_stdin), "/dev/null");
  EXPECT_EQ(say({.inherit_stdin = true}, say_stdin), "/dev/zero");
  ::dup2(before, STDIN_FILENO);
  ::close(before);
  ::close(zero);
}

TEST_P(ProcessOptions, DescriptorsAreHandedOverUnderTheirNumbers) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  for (int& end : ends) {  // out of the way
    const int low = std::exchange(end, ::fcntl(end, F_DUPFD_CLOEXEC, 60));
    ::close(low);
  }
  // Among them, if it is free here, the number of the channel in the child, and of what is received there first.
  for (const int number : {3, 4, 5, 6, 7, 8, 40}) {
    if (::fcntl(number, F_GETFD) >= 0) {
      continue;
    }
    ASSERT_EQ(::dup3(ends[1], number, O_CLOEXEC), number);
    process_options options = by_method();
    options.descriptors = {number};
    options.daemon = number % 2 == 1;
    process child(
        options,
        [](int fd, shoal::queue<int>& unrelated) {
          unrelated.push(1);
          return ::write(fd, "x", 1) == 1 ? 0 : 1;
        },
        number, std::ref(*std::make_unique<shoal::queue<int>>()));
    EXPECT_EQ(join_soon(child).code(), 0);
    char letter = 0;
    EXPECT_EQ(::read(ends[0], &letter, 1), 1);
    ::close(number);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(ProcessOptions, DescriptorThatIsNotOpenIsAnError) {
  process_options options = by_method();
  options.descriptors = {987};
  try {
    const process child(options, [] {});
    FAIL() << "started";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::bad_file_descriptor);
  }
}

void start_one_and_wait(bool daemon, int method, shoal::queue<int>& ids) {
  process child(
      process_options{.method = static_cast<start_method>(method), .daemon = daemon},
      [](shoal::queue<int>& out) {
        out.push(::getpid());
        for (;;) {
          ::pause();
        }
      },
      std::ref(ids));
  for (;;) {
    ::pause();
  }
}

TEST_P(ProcessOptions, DaemonDiesWithItsStarterAndNobodyElseDoes) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  for (const bool daemon : {true, false}) {
    shoal::queue<int> ids;
    process starter(by_method(), start_one_and_wait, daemon, static_cast<int>(GetParam()), std::ref(ids));
    const int id = ids.pop();
    const shoal::os::pidfd watched = shoal::os::pidfd::open(id);
    starter.kill();
    starter.join();
    if (!daemon) {
      EXPECT_EQ(::kill(id, 0), 0);
      watched.send_signal(SIGTERM);
    }
    EXPECT_TRUE(becomes_readable(watched.get()));
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

TEST_P(ProcessOptions, InterruptSendsSigint) {
  process child(by_method(), [] {
    for (;;) {
      ::pause();
    }
  });
  child.interrupt();
  EXPECT_EQ(join_soon(child), exit_status::killed_by(SIGINT));
}

TEST_P(ProcessOptions, DefaultMethodIsUsedAndPassedOn) {
  shoal::set_start_method(GetParam());
  process child([] { return static_cast<int>(shoal::get_start_method()); });
  shoal::set_start_method(start_method::fork);
  EXPECT_EQ(join_soon(child).code(), static_cast<int>(GetParam()));
}

}  // namespace
