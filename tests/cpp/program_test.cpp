#include "process/program.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <system_error>

#include "process/start_channel.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::program;

/// Runs a shell command that has a socket's end as descriptor 3; returns what it writes there, and to what it ended.
std::string say(const std::string& command, program which = {}) {
  which.path = "/bin/sh";
  which.arguments = {"sh", "-c", command};
  auto [ours, childs] = shoal::start_channel::create();
  shoal::os::pidfd process = shoal::start_program(which, childs.get());
  childs.close();
  std::string all;
  char some[4096];
  for (ssize_t size = 0; (size = ::read(ours.get(), some, sizeof some)) > 0;) {
    all.append(some, static_cast<std::size_t>(size));
  }
  EXPECT_EQ(process.wait_until(shoal::after(10s)), shoal::os::pidfd::wait_result::ended);
  EXPECT_EQ(process.try_reap(), shoal::exit_status::exited_with(0));
  return all;
}

TEST(Program, HasNoDescriptorsButTheStandardOnesAndTheGiven) {
  const int leaked = ::fcntl(STDERR_FILENO, F_DUPFD, 20);         // not closed on exec
  EXPECT_EQ(say("cd /proc/$$/fd && echo * >&3"), "0 1 2 3 4\n");  // 4 is the folder that the shell reads
  ::close(leaked);
}

TEST(Program, ReadsNothingFromItsStandardInput) { EXPECT_EQ(say("readlink /proc/$$/fd/0 >&3"), "/dev/null\n"); }

TEST(Program, HasNoSignalBlocked) {
  sigset_t blocked;
  sigset_t before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  EXPECT_EQ(say("while read name value; do case $name in SigBlk:) echo $value >&3; esac; done < /proc/$$/status"),
            "0000000000000000\n");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Program, HasTheEnvironmentItIsGivenAndNoOther) {
  program which;
  which.environment = {"ONE=1"};
  EXPECT_EQ(say("echo $ONE$PATH_OF_NOBODY >&3; ", which), "1\n");
  EXPECT_EQ(say("echo ${HOME-none} >&3", which), "none\n");
}

TEST(Program, ThatDoesNotExistIsAnError) {
  program which;
  which.path = "/nonexistent/program";
  which.arguments = {"program"};
  auto [ours, childs] = shoal::start_channel::create();
  try {
    shoal::start_program(which, childs.get());
    FAIL() << "started";
  } catch (const std::system_error& failure) {
    EXPECT_EQ(failure.code(), std::errc::no_such_file_or_directory);
    EXPECT_NE(std::string(failure.what()).find("/nonexistent/program"), std::string::npos);
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

}  // namespace
