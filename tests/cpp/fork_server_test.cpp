#include "process/fork_server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "os/process_identity.hpp"
#include "process/child_process.hpp"
#include "process/die_with_starter.hpp"
#include "process/start_channel.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::child_process;
using shoal::const_bytes;
using shoal::exit_status;
using shoal::fork_server_door;

const_bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count - 1;  // the iterator's own
}

template <class Condition>
bool becomes_true(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// What children of the servers here do: the words of the package tell.
int act(int channel) {
  std::optional<shoal::start_package> package = shoal::receive_package(channel);
  if (!package) {
    return 99;
  }
  const std::string what = text_of(package->bytes);
  if (what == "kill") {
    ::raise(SIGKILL);
  } else if (what == "wait") {
    ::pause();
  } else if (what == "daemon") {
    shoal::die_with_starter(channel);
    const char ready = 'r';
    (void)!::write(package->descriptors.at(0).get(), &ready, 1);
    for (;;) {
      ::pause();
    }
  } else if (what == "descriptors") {
    return static_cast<int>(open_descriptors());
  } else if (what == "echo") {
    const std::string id = std::to_string(::getpid());
    (void)!::write(package->descriptors.at(0).get(), id.data(), id.size());
  } else if (what == "is SIGCHLD ignored") {
    struct sigaction now {};
    ::sigaction(SIGCHLD, nullptr, &now);
    return now.sa_handler == SIG_IGN ? 1 : 0;
  } else if (what == "many") {
    return static_cast<int>(package->descriptors.size() % 256);
  }
  return what.size() > 100 ? 42 : 0;
}

/// A fork server that is a fork of this process.
class forked_server {
 public:
  forked_server() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    process_ = ::fork();
    if (process_ == 0) {
      ::close(ends[0]);
      ::signal(SIGINT, SIG_DFL);
      int code = 98;
      try {
        const auto channel = shoal::serve_forks(shoal::os::file_descriptor(ends[1]), [] { return ::fork(); });
        code = channel ? act(channel->get()) : 0;
      } catch (...) {
      }
      ::_exit(code);
    }
    ::close(ends[1]);
    door_.emplace(shoal::os::file_descriptor(ends[0]));
  }

  ~forked_server() {
    door_.reset();
    if (process_ > 0) {
      ::waitpid(process_, nullptr, 0);
    }
  }

  forked_server(const forked_server&) = delete;
  forked_server& operator=(const forked_server&) = delete;

  [[nodiscard]] const fork_server_door& door() const { return *door_; }
  [[nodiscard]] pid_t id() const { return process_; }

  child_process run(const std::string& what, std::span<const int> descriptors = {}) const {
    fork_server_door::started started = door_->start();
    started.channel.send(bytes_of(what), descriptors);
    return {std::move(started.process), std::move(started.channel)};
  }

  void kill() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
  std::optional<fork_server_door> door_;
};

exit_status end_of(child_process& child) {
  EXPECT_EQ(child.wait_until(shoal::after(10s)), shoal::os::pidfd::wait_result::ended);
  return child.try_reap().value();
}

TEST(ForkServer, TellsHowItsChildrenEnd) {
  const forked_server server;
  child_process good = server.run("");
  child_process large = server.run(std::string(1'000'000, 'x'));
  child_process killed = server.run("kill");
  EXPECT_EQ(end_of(good), exit_status::exited_with(0));
  EXPECT_EQ(end_of(large), exit_status::exited_with(42));
  EXPECT_EQ(end_of(killed), exit_status::killed_by(SIGKILL));
  EXPECT_EQ(end_of(killed), exit_status::killed_by(SIGKILL)) << "the answer is remembered";
}

TEST(ForkServer, GivesChildrenTheDescriptorsOfThePackage) {
  const forked_server server;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::array descriptors{ends[1]};
  child_process child = server.run("echo", descriptors);
  EXPECT_EQ(end_of(child), exit_status::exited_with(0));
  std::array<char, 16> text{};
  ASSERT_GT(::read(ends[0], text.data(), text.size()), 0);
  EXPECT_EQ(std::stoi(text.data()), child.id());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(ForkServer, ManyDescriptorsTravelInSeveralPackets) {
  const forked_server server;
  const std::vector<int> descriptors(600, STDERR_FILENO);
  child_process child = server.run("many", descriptors);
  EXPECT_EQ(end_of(child), exit_status::exited_with(600 % 256));
}

TEST(ForkServer, ChildrenHaveNoDescriptorsOfOthers) {
  const forked_server server;
  child_process alone = server.run("descriptors");
  const exit_status before = end_of(alone);
  std::vector<child_process> others;
  for (int i = 0; i < 10; ++i) {
    others.push_back(server.run("wait"));
  }
  child_process another = server.run("descriptors");
  EXPECT_EQ(end_of(another), before);
  for (child_process& other : others) {
    other.send_signal(SIGTERM);
    EXPECT_EQ(end_of(other), exit_status::killed_by(SIGTERM));
  }
}

TEST(ForkServer, ManyAtOnceLeaveNothingBehind) {
  const forked_server server;
  const std::size_t before = open_descriptors();
  {
    std::vector<child_process> children;
    for (int i = 0; i < 200; ++i) {
      children.push_back(server.run("wait"));
    }
    for (child_process& child : children) {
      child.send_signal(SIGKILL);
    }
    for (child_process& child : children) {
      EXPECT_EQ(end_of(child), exit_status::killed_by(SIGKILL));
    }
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ForkServer, AChildWhoseStarterGivesUpEndsByItself) {
  const forked_server server;
  fork_server_door::started started = server.door().start();
  started.channel.close();
  EXPECT_EQ(started.process.wait_until(shoal::after(10s)), shoal::os::pidfd::wait_result::ended);
}

TEST(ForkServer, KilledIsGoneForTheNextStart) {
  forked_server server;
  server.kill();
  EXPECT_THROW((void)server.door().start(), shoal::fork_server_gone);
}

TEST(ForkServer, KilledBetweenRequestAndAnswerIsGoneAndNotOutOfDescriptors) {
  for (int round = 0; round < 30; ++round) {
    forked_server server;
    ::kill(server.id(), SIGSTOP);
    fork_server_door::request asked = server.door().ask();
    server.kill();
    EXPECT_THROW(
        {
          while (!asked.try_finish()) {
          }
        },
        shoal::fork_server_gone);
  }
}

TEST(ForkServer, SurvivesPacketsThatAreNoRequests) {
  const forked_server server;
  const std::string nonsense(100, 'x');
  ASSERT_GT(::send(server.door().get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL), 0);
  child_process child = server.run("");
  EXPECT_EQ(end_of(child), exit_status::exited_with(0));
}

TEST(ForkServer, KnowsHowItsChildrenEndWhereSigchldIsIgnored) {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGCHLD, &ignore, &before);
  {
    const forked_server server;
    ::sigaction(SIGCHLD, &before, nullptr);
    child_process child = server.run("");
    child_process killed = server.run("kill");
    child_process ignoring = server.run("is SIGCHLD ignored");
    EXPECT_EQ(end_of(child), exit_status::exited_with(0));
    EXPECT_EQ(end_of(killed), exit_status::killed_by(SIGKILL));
    EXPECT_EQ(end_of(ignoring), exit_status::exited_with(1)) << "children have it as the server had";
  }
}

TEST(ForkServer, KilledLeavesItsChildrenAlone) {
  forked_server server;
  child_process child = server.run("wait");
  server.kill();
  EXPECT_EQ(child.wait_until(shoal::after(50ms)), shoal::os::pidfd::wait_result::timed_out);
  child.send_signal(SIGKILL);
  EXPECT_EQ(child.wait_until(shoal::after(10s)), shoal::os::pidfd::wait_result::ended);
  try {
    EXPECT_EQ(child.try_reap(), exit_status::killed_by(SIGKILL));  // since Linux 6.15
  } catch (const std::system_error& unknown) {
    EXPECT_EQ(unknown.code(), std::errc::no_child_process);
  }
}

TEST(ForkServer, LivesThroughCtrlCAndItsChildrenDoNot) {
  const forked_server server;
  child_process child = server.run("wait");
  ::kill(server.id(), SIGINT);
  child.send_signal(SIGINT);
  EXPECT_EQ(end_of(child), exit_status::killed_by(SIGINT));
  child_process next = server.run("");
  EXPECT_EQ(end_of(next), exit_status::exited_with(0));
}

TEST(ForkServer, EndsWithItsLastClient) {
  pid_t id = 0;
  {
    const forked_server server;
    id = server.id();
    child_process child = server.run("");
    end_of(child);
  }
  EXPECT_EQ(::kill(id, 0), -1) << "it was reaped by the destructor, which waited for it";
}

TEST(ForkServer, ManyClientsInManyProcesses) {
  const forked_server server;
  std::vector<pid_t> clients;
  for (int i = 0; i < 8; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      int wrong = 0;
      for (int round = 0; round < 25; ++round) {
        child_process child = server.run(round % 2 == 0 ? "" : std::string(70'000, 'x'));
        wrong += end_of(child) == exit_status::exited_with(round % 2 == 0 ? 0 : 42) ? 0 : 1;
      }
      ::_exit(wrong);
    }
    clients.push_back(pid);
  }
  for (const pid_t client : clients) {
    int status = -1;
    ::waitpid(client, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

/// A starter in a process of its own, which is killed while the server lives on, or after the server.
void kill_starter_of_daemon(bool server_first, bool with_fork) {
  forked_server server;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  int fork_alive[2];
  ASSERT_EQ(::pipe2(fork_alive, O_CLOEXEC), 0);
  const pid_t starter = ::fork();
  if (starter == 0) {
    const std::array descriptors{ends[1]};
    child_process daemon = server.run("daemon", descriptors);
    if (with_fork && ::fork() == 0) {
      char nothing = 0;
      ::close(fork_alive[1]);
      ::close(ends[1]);
      (void)!::read(fork_alive[0], &nothing, 1);  // lives until the test closes its end, and so has what it inherited
      ::_exit(0);
    }
    ::pause();
    ::_exit(0);
  }
  ::close(ends[1]);
  char ready = 0;
  ASSERT_EQ(::read(ends[0], &ready, 1), 1);
  if (server_first) {
    server.kill();
  }
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  pollfd daemon_end{.fd = ends[0], .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&daemon_end, 1, 10'000), 1) << "the daemon has the pipe's other end until it dies";
  ::close(ends[0]);
  ::close(fork_alive[0]);
  ::close(fork_alive[1]);
}

TEST(DieWithStarter, EndsTheDaemonOfAKilledStarter) { kill_starter_of_daemon(false, false); }
TEST(DieWithStarter, EndsItWithoutTheServerToo) { kill_starter_of_daemon(true, false); }
TEST(DieWithStarter, EndsItThoughAForkOfTheStarterLivesOn) { kill_starter_of_daemon(false, true); }

}  // namespace
