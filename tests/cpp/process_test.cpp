#include "shoal/process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "os/file_descriptor.hpp"
#include "os/pidfd.hpp"
#include "process_support.hpp"
#include "shoal/die_with_parent.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::exit_status;
using shoal::process;
using shoal::remote_error;
using shoal::test::becomes_readable;
using shoal::test::eventually;
using shoal::test::has_children;
using shoal::test::open_descriptors;
using shoal::test::patience;
using shoal::test::shared;

[[noreturn]] void sleep_until_killed() {
  for (;;) {
    ::pause();
  }
}

exit_status join_soon(process& child) {
  const std::optional<exit_status> status = child.join_for(patience);
  if (!status) {
    child.kill();
    child.join();
    throw std::runtime_error("the child did not end");
  }
  return *status;
}

exit_status run(auto function) {
  process child(std::move(function));
  return join_soon(child);
}

int add(int left, const std::string& right) { return left + std::stoi(right); }

TEST(Process, RunsTheFunctionWithItsArguments) {
  process child(add, 40, "2");
  EXPECT_EQ(join_soon(child), exit_status::exited_with(42));
}

TEST(Process, RunsInAnotherProcess) {
  const shared<std::atomic<pid_t>> ran_in;
  process child([&] { *ran_in = ::getpid(); });
  const pid_t id = child.id();
  join_soon(child);
  EXPECT_NE(*ran_in, ::getpid());
  EXPECT_EQ(*ran_in, id);
}

TEST(Process, AcceptsAMemberFunctionAndAReference) {
  struct counter {
    int value;
    int plus(int more) { return value += more; }
  };
  counter ours{1};
  process child(&counter::plus, std::ref(ours), 2);
  EXPECT_EQ(join_soon(child).code(), 3);
  EXPECT_EQ(ours.value, 1) << "the child changes its own copy";
}

TEST(Process, TakesOverArgumentsThatAreMoved) {
  auto number = std::make_unique<int>(7);
  process child([](std::unique_ptr<int> given) { return *given; }, std::move(number));
  EXPECT_EQ(number, nullptr);
  EXPECT_EQ(join_soon(child).code(), 7);
}

TEST(Process, ExitsWithZeroWhenTheFunctionReturnsNothing) {
  EXPECT_TRUE(run([] {}).success());
}

TEST(Process, ExceptionInTheChildArrivesWithTypeAndText) {
  process child([] { throw std::out_of_range("no such row"); });
  const std::string where = "process " + std::to_string(child.id());
  try {
    child.join();
    FAIL() << "nothing was thrown";
  } catch (const remote_error& error) {
    EXPECT_EQ(error.type(), "std::out_of_range");
    EXPECT_EQ(error.message(), "no such row");
    EXPECT_EQ(error.what(), "std::out_of_range in " + where + ": no such row");
  }
  EXPECT_FALSE(child.joinable());
}

TEST(Process, ExceptionThatIsNoStandardOneArrivesWithItsType) {
  process child([] { throw 42; });
  try {
    child.join();
    FAIL() << "nothing was thrown";
  } catch (const remote_error& error) {
    EXPECT_EQ(error.type(), "int");
    EXPECT_EQ(error.message(), "");
  }
}

TEST(Process, LongTextOfAnExceptionIsCutOff) {
  process child([] { throw std::runtime_error(std::string(100'000, 'x')); });
  try {
    child.join();
    FAIL() << "nothing was thrown";
  } catch (const remote_error& error) {
    EXPECT_GT(error.message().size(), 1000U);
    EXPECT_EQ(error.message().find_first_not_of('x'), std::string::npos);
  }
}

TEST(Process, SignalThatKilledTheChildIsReported) {
  const exit_status status = run([] { std::raise(SIGKILL); });
  EXPECT_TRUE(status.signaled());
  EXPECT_FALSE(status.exited());
  EXPECT_EQ(status.signal(), SIGKILL);
  EXPECT_EQ(to_string(status), "was killed by SIGKILL");
}

TEST(Process, ExitCodeReadsAsASentence) {
  EXPECT_EQ(to_string(exit_status::exited_with(3)), "exited with code 3");
  EXPECT_EQ(to_string(exit_status::killed_by(SIGRTMAX)), "was killed by signal " + std::to_string(SIGRTMAX));
}

TEST(Process, JoinForGivesUpAndCanBeRepeated) {
  process child(sleep_until_killed);
  EXPECT_EQ(child.join_for(10ms), std::nullopt);
  EXPECT_TRUE(child.joinable());
  child.kill();
  EXPECT_EQ(join_soon(child), exit_status::killed_by(SIGKILL));
}

TEST(Process, TerminateSendsSigterm) {
  process child(sleep_until_killed);
  child.terminate();
  EXPECT_EQ(join_soon(child), exit_status::killed_by(SIGTERM));
}

TEST(Process, SignalsToAProcessThatHasEndedDoNothing) {
  process child([] {});
  ASSERT_TRUE(becomes_readable(child.native_handle()));
  child.terminate();
  child.kill();
  EXPECT_TRUE(child.join().success());
  child.kill();
}

TEST(Process, NativeHandlePollsReadableWhenTheChildHasEnded) {
  process child(sleep_until_killed);
  pollfd now{.fd = child.native_handle(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&now, 1, 0), 0);
  child.kill();
  EXPECT_TRUE(becomes_readable(child.native_handle()));
  child.join();
}

TEST(Process, JoiningTwiceOrNothingIsAnError) {
  process child([] {});
  child.join();
  process moved_from([] {});
  process moved_to(std::move(moved_from));
  for (process* none : {&child, &moved_from}) {  // NOLINT(bugprone-use-after-move)
    EXPECT_FALSE(none->joinable());
    EXPECT_EQ(none->id(), 0);
    EXPECT_EQ(none->native_handle(), -1);
    try {
      none->join();
      FAIL() << "nothing was thrown";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), std::errc::invalid_argument);
    }
  }
  moved_to.join();
}

TEST(ProcessDeathTest, DestructionOfAJoinableProcessTerminatesTheProgram) {
  EXPECT_DEATH(process([] {}), "");
}

TEST(Process, JoinIsNotDisturbedBySignals) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const itimerval every_millisecond{.it_interval = {0, 1000}, .it_value = {0, 1000}};
  const itimerval never{};

  process child([] { std::this_thread::sleep_for(50ms); });
  ::setitimer(ITIMER_REAL, &every_millisecond, nullptr);
  const exit_status status = join_soon(child);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);

  EXPECT_TRUE(status.success());
}

TEST(Process, StatusIsUnknownInAProgramThatIgnoresSigchld) {
  const auto program = [] {
    std::signal(SIGCHLD, SIG_IGN);
    process child([] { return 3; });
    try {
      child.join();
      return 1;
    } catch (const std::system_error& error) {
      return error.code() == std::errc::no_child_process && !child.joinable() &&
                     std::string(error.what()).find("ignores SIGCHLD") != std::string::npos
                 ? 0
                 : 2;
    }
  };
  EXPECT_EQ(run(program), exit_status::exited_with(0));
}

TEST(Process, ExceptionIsReportedEvenInAProgramThatIgnoresSigchld) {
  const auto program = [] {
    std::signal(SIGCHLD, SIG_IGN);
    process child([] { throw std::runtime_error("lost?"); });
    try {
      child.join();
      return 1;
    } catch (const remote_error& error) {
      return error.message() == "lost?" ? 0 : 2;
    }
  };
  EXPECT_EQ(run(program), exit_status::exited_with(0));
}

// Runs in a process of its own, whose limits it lowers.
int start_without(const std::error_condition& expected, auto lower_limit) {
  const shared<std::atomic<bool>> ran;
  lower_limit();
  try {
    process child([&] { *ran = true; });
    child.join();
    return 1;
  } catch (const std::system_error& error) {
    if (error.code() != expected) {
      std::cerr << error.what() << '\n';
      return 2;
    }
  }
  return *ran ? 3 : has_children() ? 4 : 0;
}

TEST(Process, NothingIsLeftBehindWhenNoDescriptorIs) {
  const auto no_descriptors = [] {
    const rlimit none{.rlim_cur = 3, .rlim_max = 3};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) {
      std::abort();
    }
  };
  EXPECT_EQ(run([&] { return start_without(std::errc::too_many_files_open, no_descriptors); }),
            exit_status::exited_with(0));
}

TEST(Process, NothingIsLeftBehindWhenNoProcessIs) {
  const auto no_processes = [] {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    // The limit does not hold for root.
    if (::setrlimit(RLIMIT_NPROC, &none) != 0 || (::getuid() == 0 && ::setuid(65534) != 0)) {
      std::abort();
    }
  };
  EXPECT_EQ(run([&] { return start_without(std::errc::resource_unavailable_try_again, no_processes); }),
            exit_status::exited_with(0));
}

TEST(Process, NothingIsLeftBehindAfterManyProcesses) {
  const std::ptrdiff_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    std::vector<process> children;
    children.emplace_back([] {});
    children.emplace_back([] { std::raise(SIGKILL); });
    children.emplace_back([] { throw 1; });
    EXPECT_TRUE(join_soon(children[0]).success());
    EXPECT_TRUE(join_soon(children[1]).signaled());
    EXPECT_THROW(join_soon(children[2]), remote_error);
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_FALSE(has_children());
}

// What a program of this main function writes to its standard output.
std::string output_of(auto main) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  shoal::os::file_descriptor from(ends[0]);
  shoal::os::file_descriptor to(ends[1]);
  process program([&] {
    ::dup2(to.get(), STDOUT_FILENO);
    main();
  });
  to.reset();
  join_soon(program);
  std::string text(65536, '\0');
  const ssize_t length = ::read(from.get(), text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return text;
}

TEST(Process, OutputWaitingInTheParentIsWrittenOnce) {
  const std::string text = output_of([] {
    std::printf("parent ");
    std::cout << "again ";
    process child([] { std::printf("child "); });
    child.join();
    std::printf("end");
  });
  EXPECT_EQ(text, "parent again child end");
}

TEST(Process, ChildRunsNeitherExitHandlersNorDestructorsOfTheParent) {
  const std::string text = output_of([] {
    const std::shared_ptr<void> local(nullptr, [](void*) { std::printf("destroyed "); });
    std::atexit([] { std::printf("exited "); });
    process child([] { std::printf("child "); });
    child.join();
  });
  EXPECT_EQ(text, "child destroyed ");
}

TEST(Process, StartsWhileAnotherThreadReadsStandardInput) {
  const auto program = [] {
    int ends[2];
    if (::pipe(ends) != 0 || ::dup2(ends[0], STDIN_FILENO) < 0) {
      return 1;
    }
    std::thread([] { [[maybe_unused]] const int c = std::getchar(); }).detach();  // holds the lock of stdin
    process child([] { return 5; });
    return child.join().code();
  };
  EXPECT_EQ(run(program), exit_status::exited_with(5));
}

TEST(DieWithParent, ChildDiesWithAParentThatIsKilled) {
  const shared<std::atomic<pid_t>> grandchild;
  process parent([&] {
    const pid_t self = ::getpid();
    process child([&, self] {
      shoal::die_with_parent(self);
      *grandchild = ::getpid();
      sleep_until_killed();
    });
    child.join();
  });
  ASSERT_TRUE(eventually([&] { return *grandchild != 0; }));
  const shoal::os::pidfd watched = shoal::os::pidfd::open(*grandchild);
  parent.kill();
  EXPECT_TRUE(becomes_readable(watched.get()));
  join_soon(parent);
}

TEST(DieWithParent, ChildDiesIfTheParentIsDeadAlready) {
  const shared<std::atomic<pid_t>> grandchild;
  const shared<std::atomic<bool>> parent_is_dead;
  process parent([&] {
    const pid_t self = ::getpid();
    process child([&, self] {
      *grandchild = ::getpid();
      eventually([&] { return parent_is_dead->load(); });
      shoal::die_with_parent(self);
      sleep_until_killed();
    });
    child.join();
  });
  ASSERT_TRUE(eventually([&] { return *grandchild != 0; }));
  const shoal::os::pidfd watched = shoal::os::pidfd::open(*grandchild);
  parent.kill();
  join_soon(parent);
  *parent_is_dead = true;
  EXPECT_TRUE(becomes_readable(watched.get()));
}

TEST(DieWithParent, ChildOutlivesTheThreadThatStartedItButNotTheParent) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the sanitizer runs no signal handlers in a fork of a process with threads";
#endif
  const shared<std::atomic<pid_t>> grandchild;
  const shared<std::atomic<bool>> thread_has_ended;
  const shared<std::atomic<bool>> still_running;
  process parent([&] {
    const pid_t self = ::getpid();
    process child;
    std::thread([&] {
      child = process([&, self] {
        shoal::die_with_parent(self);
        *grandchild = ::getpid();
        eventually([&] { return thread_has_ended->load(); });
        *still_running = true;
        sleep_until_killed();
      });
      eventually([&] { return *grandchild != 0; });
    }).join();
    *thread_has_ended = true;
    child.join();
  });
  EXPECT_TRUE(eventually([&] { return still_running->load(); })) << "it died with the thread";
  const shoal::os::pidfd watched = shoal::os::pidfd::open(*grandchild);
  parent.kill();
  EXPECT_TRUE(becomes_readable(watched.get()));
  join_soon(parent);
}

}  // namespace
