#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "os/pidfd.hpp"

namespace shoal::test {

inline pid_t parent_of(pid_t id) {
  std::ifstream status("/proc/" + std::to_string(id) + "/status");
  for (std::string word; status >> word;) {
    if (word == "PPid:") {
      pid_t parent = 0;
      status >> parent;
      return parent;
    }
  }
  return 0;
}

// The kernel lists them by the thread that forked them.
inline std::vector<pid_t> children() {
  std::vector<pid_t> all;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(thread.path() / "children");
    for (pid_t id = 0; list >> id;) {
      all.push_back(id);
    }
  }
  return all;
}

/// Kills one child, and certainly no stranger that has got the id of a dead one.
inline bool kill_one(std::mt19937& random) {
  const std::vector<pid_t> ids = children();
  if (ids.empty()) {
    return false;
  }
  const pid_t id = ids[random() % ids.size()];
  try {
    const os::pidfd victim = os::pidfd::open(id);
    if (parent_of(id) == ::getpid()) {
      victim.send_signal(SIGKILL);
      return true;
    }
  } catch (const std::system_error&) {
    // It is gone already.
  }
  return false;
}

/// Kills a random child of this process again and again.
class killer_of_children {
 public:
  explicit killer_of_children(std::chrono::microseconds pause) : thread_([this, pause] { run(pause); }) {}
  killer_of_children(const killer_of_children&) = delete;
  killer_of_children& operator=(const killer_of_children&) = delete;
  ~killer_of_children() { stop(); }

  /// @return how many were killed.
  long stop() {
    if (thread_.joinable()) {
      stop_ = true;
      thread_.join();
    }
    return kills_;
  }

 private:
  void run(std::chrono::microseconds pause) {
    std::mt19937 random(std::random_device{}());
    while (!stop_) {
      std::this_thread::sleep_for(pause);
      kills_ += kill_one(random) ? 1 : 0;
    }
  }

  std::atomic<bool> stop_ = false;
  long kills_ = 0;
  std::thread thread_;
};

}  // namespace shoal::test
