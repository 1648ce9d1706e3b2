#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lock_support.hpp"
#include "memory/arena.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"
#include "sync/thread_record.hpp"

// A victim is killed at every instruction of an operation while others use the same object.
namespace shoal::test {

/// How long somebody may sleep on over what has happened: a second by the clock, and the rest for a busy machine.
inline constexpr std::chrono::milliseconds longest_sleep{6'000};

/// Waits until a process sleeps, or has ended. @return whether it sleeps.
inline bool comes_to_rest(pid_t id) {
  char state = 'R';
  EXPECT_TRUE(eventually([&] {
    state = state_of(id);
    return state != 'R' && state != 'D';
  }));
  return state == 'S';
}

/// Another process at the scene, which is expected to go on whatever happens to the victim.
class bystander {
 public:
  /// `act` returns what the bystander has to tell, from 0 to 100.
  template <class Act>
  explicit bystander(Act act)
      : process_([act, this] {
          begun_->store(true);
          return act();
        }) {}
  bystander(const bystander&) = delete;
  bystander& operator=(const bystander&) = delete;
  ~bystander() {
    if (process_.joinable()) {
      process_.kill();
      (void)process_.join();
    }
  }

  /// Waits until it sleeps, which is right after the last thing it did.
  [[nodiscard]] bool falls_asleep() const {
    return eventually([this] { return begun_->load() && is_asleep(process_.id()); });
  }

  [[nodiscard]] bool has_ended() { return !process_.joinable() || note(process_.join_for(std::chrono::seconds(0))); }

  /// Waits until it has ended. @return false if it has not until then.
  bool ends_by(std::chrono::steady_clock::time_point until) {
    return !process_.joinable() || note(process_.join_until(until));
  }

  [[nodiscard]] int told() const { return told_; }

 private:
  bool note(const std::optional<exit_status>& status) {
    if (status) {
      told_ = status->exited() ? status->code() : -1;
    }
    return status.has_value();
  }

  shared<std::atomic<bool>> begun_;
  process process_;
  int told_ = -1;
};

/// What is staged anew for each kill. A scene says what the victim does, and expects afterwards that all others go on.
class kill_scene {
 public:
  kill_scene() = default;
  kill_scene(const kill_scene&) = delete;
  kill_scene& operator=(const kill_scene&) = delete;
  virtual ~kill_scene() = default;

  virtual void prepare() {}                                     ///< in the victim, not killed
  virtual void act() = 0;                                       ///< in the victim: what it is killed in
  virtual void meanwhile(const stepped_process& /*victim*/) {}  ///< in the test, while the victim acts
  virtual void settle() = 0;  ///< in the test, when the victim is dead, or has done it

  /// @return how many instructions the victim ran.
  long stage(fate planned) {
    planned.first = [this] { prepare(); };
    stepped_process victim([this] { return act(), true; }, planned);
    victim_ = victim.id();
    meanwhile(victim);
    victim.join();
    completed_ = victim.completed();
    ended_ = std::chrono::steady_clock::now();
    where_ = victim.where();
    return victim.instructions();
  }

  [[nodiscard]] const std::string& where() const { return where_; }

 protected:
  [[nodiscard]] pid_t victim() const { return victim_; }
  [[nodiscard]] bool completed() const { return completed_; }

  /// Until when all others must have gone on.
  [[nodiscard]] std::chrono::steady_clock::time_point bound() const {
    return std::max(ended_ + longest_sleep, std::chrono::steady_clock::now() + std::chrono::milliseconds(200));
  }
  /// Begins it anew, when something was done for them.
  void count_from_now() { ended_ = std::chrono::steady_clock::now(); }

 private:
  pid_t victim_ = 0;
  bool completed_ = false;
  std::chrono::steady_clock::time_point ended_;
  std::string where_;
};

/// Where to kill a victim that goes this way: before each instruction, where that is met for the first time, and at
/// some of the later times, since a loop turns as often as the clock wants. Unless the test is long there are about
/// `most` of the former, in equal distances, and few of the latter, which take long to get to.
inline std::vector<long> points_on(const path& way, long most) {
  std::vector<long> fresh;
  std::vector<long> repeated;
  for (long at = 0; at <= way.length(); at += at == 0 ? 1 : way.stride_at(at)) {
    (way.landmark(at) == at ? fresh : repeated).push_back(at);
  }
  const auto thin_out = [](std::vector<long>& points, long wanted) {
    const auto count = static_cast<long>(points.size());
    const long step = count / wanted + 1;
    for (long i = 0; i * step < count; ++i) {
      points[static_cast<std::size_t>(i)] = points[static_cast<std::size_t>(i * step)];
    }
    points.resize(static_cast<std::size_t>((count + step - 1) / step));
  };
  if (chaos_is_long()) {
    constexpr long many = 1'000;
    thin_out(repeated, many);
  } else {
    thin_out(fresh, most);
    thin_out(repeated, most / 16);
  }
  fresh.insert(fresh.end(), repeated.begin(), repeated.end());
  fresh.push_back(way.length());
  return fresh;
}

/// Stages the scene for each kill, 96 at a time, since those who sleep may have to wait for the clock.
template <class Scene>
void kill_everywhere(long most = 600) {
  if (!can_single_step) {
    GTEST_SKIP() << why_no_single_step;
  }
  path way;
  {
    Scene rehearsal;
    rehearsal.stage({.finds = &way});
    const testing::ScopedTrace trace(__FILE__, __LINE__, "nobody was killed");
    rehearsal.settle();
  }
  way.find_landmarks();
  const std::vector<long> points = points_on(way, most);
  constexpr std::size_t together = 96;
  for (std::size_t first = 0; first < points.size() && !testing::Test::HasFailure(); first += together) {
    std::list<Scene> scenes;
    for (std::size_t i = first; i < std::min(first + together, points.size()); ++i) {
      scenes.emplace_back().stage({.instructions = points[i], .follows = &way});
    }
    for (Scene& one : scenes) {
      const testing::ScopedTrace trace(__FILE__, __LINE__, "killed " + one.where());
      one.settle();
    }
  }
  testing::Test::RecordProperty("kill_points", std::to_string(points.size()));
  std::printf("%zu kill points\n", points.size());
}

/// Whether a dead thread of the process is still entered as one that waits for the object in the slot.
inline bool died_in_line(pid_t process, const memory::arena_slot& slot) {
  const sync::thread_table threads(slot.home());
  for (std::uint32_t index = 0; index < threads.used(); ++index) {
    sync::thread_record& record = threads.at(index);
    if (record.process.load() != process || sync::thread_table::is_alive(record)) {
      continue;
    }
    for (const sync::wait_entry& entry : record.waits) {
      if (!sync::wait_entry::is_idle(entry.state.load()) && entry.slot.load() == slot.index()) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace shoal::test
