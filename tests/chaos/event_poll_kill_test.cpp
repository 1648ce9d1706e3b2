// A process is killed, or stopped, at every instruction of what keeps an event's descriptor. Whoever polls it hears of
// every set(), and it is readable for nothing no longer than until somebody looks.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "kill_scene.hpp"
#include "process_support.hpp"
#include "shoal/deadline.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"
#include "sync/flag.hpp"

namespace {

using shoal::process;
using shoal::sync::flag;
using shoal::test::becomes_readable;
using shoal::test::bystander;
using shoal::test::is_readable;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::path;
using shoal::test::stepped_process;

/// Without putting anything right, as is_set() would.
bool is_set_now(const flag& polled) {
  return (polled.slot().as<std::atomic<std::uint64_t>>().load(std::memory_order_seq_cst) & 1) != 0;
}

void expect_no_lie_when_set(flag& polled) {
  if (is_set_now(polled)) {
    EXPECT_TRUE(is_readable(polled.descriptor())) << "it is set, and nobody hears of it";
  }
}

void expect_it_works(flag& polled) {
  const bool is_set = polled.is_set();
  EXPECT_EQ(is_readable(polled.descriptor()), is_set);
  for (int turn = 0; turn < 3; ++turn) {
    polled.set();
    EXPECT_TRUE(is_readable(polled.descriptor()));
    polled.set();
    EXPECT_TRUE(is_readable(polled.descriptor()));
    polled.clear();
    EXPECT_FALSE(is_readable(polled.descriptor()));
  }
}

class setting : public kill_scene {
 public:
  setting() {
    poller_ = std::make_unique<bystander>([this] { return becomes_readable(polled_.descriptor()) ? 1 : 0; });
    EXPECT_TRUE(poller_->falls_asleep());
  }
  void act() override { polled_.set(); }
  void settle() override {
    expect_no_lie_when_set(polled_);
    if (is_set_now(polled_)) {
      EXPECT_TRUE(poller_->ends_by(bound()));
      EXPECT_EQ(poller_->told(), 1);
    } else {
      EXPECT_FALSE(completed());
    }
    expect_it_works(polled_);
  }

 protected:
  flag polled_;

 private:
  int descriptor_ = polled_.descriptor();
  std::unique_ptr<bystander> poller_;
};

TEST(PolledEventUnderKill, WhileItIsSet) { kill_everywhere<setting>(); }

class clearing : public kill_scene {
 public:
  clearing() {
    (void)polled_.descriptor();
    polled_.set();
  }
  void act() override { polled_.clear(); }
  void settle() override {
    expect_no_lie_when_set(polled_);
    expect_it_works(polled_);
  }

 private:
  flag polled_;
};

TEST(PolledEventUnderKill, WhileItIsCleared) { kill_everywhere<clearing>(); }

/// What an earlier victim left is put right, by one who is killed as well.
class putting_right : public kill_scene {
 public:
  putting_right() {
    shoal::os::event_fd::raise(polled_.descriptor());
    EXPECT_TRUE(is_readable(polled_.descriptor()));
  }
  void act() override { (void)polled_.is_set(); }
  void settle() override { expect_it_works(polled_); }

 private:
  flag polled_;
};

TEST(PolledEventUnderKill, WhileSomebodyLooks) { kill_everywhere<putting_right>(); }

template <bool is_set>
class starting : public kill_scene {
 public:
  starting() {
    if (is_set) {
      polled_.set();
    }
  }
  void act() override { (void)polled_.descriptor(); }
  void settle() override {
    EXPECT_EQ(is_readable(polled_.descriptor()), is_set);
    expect_it_works(polled_);
  }

 private:
  flag polled_;
};

TEST(PolledEventUnderKill, WhileItsDescriptorIsAskedForTheFirstTime) {
  kill_everywhere<starting<false>>();
  kill_everywhere<starting<true>>();
}

/// Stops the victim at every instruction; meanwhile the flag is set, or cleared and set; then the victim goes on, or is
/// killed as it stands.
template <class Act>
void stop_everywhere(bool is_set_before, Act act) {
  if (!shoal::test::can_single_step) {
    GTEST_SKIP() << shoal::test::why_no_single_step;
  }
  const auto prepare = [&](flag& polled) {
    (void)polled.descriptor();
    if (is_set_before) {
      polled.set();
    }
  };
  path way;
  {
    flag polled;
    prepare(polled);
    stepped_process rehearsal([&] { return act(polled), true; }, {.finds = &way});
    ASSERT_TRUE(rehearsal.join());
  }
  way.find_landmarks();
  for (const long at : shoal::test::points_on(way, 150)) {
    if (at == 0) {
      continue;  // it would be stopped twice
    }
    for (const bool is_killed : {false, true}) {
      flag polled;
      prepare(polled);
      stepped_process victim([&] { return act(polled), true; },
                             {.instructions = at, .signal = SIGSTOP, .follows = &way});
      if (!victim.wait_until_stopped()) {
        continue;
      }
      const testing::ScopedTrace trace(__FILE__, __LINE__, "stopped " + victim.where());
      expect_no_lie_when_set(polled);
      for (int turn = 0; turn < 2; ++turn) {
        polled.clear();
        polled.set();
        EXPECT_TRUE(is_readable(polled.descriptor()));
      }
      victim.send_signal(is_killed ? SIGKILL : SIGCONT);
      victim.join();
      expect_no_lie_when_set(polled);
      polled.clear();
      expect_it_works(polled);
      if (testing::Test::HasFailure()) {
        return;
      }
    }
  }
}

TEST(PolledEventOfAStoppedProcess, IsHeardOfByAllOthersWhoeverSetsIt) {
  stop_everywhere(false, [](flag& polled) { polled.set(); });
}
TEST(PolledEventOfAStoppedProcess, IsHeardOfThoughOneWasAboutToLowerIt) {
  stop_everywhere(true, [](flag& polled) { polled.clear(); });
}

TEST(PolledEventUnderKill, APollerHearsOfEverySetWhoeverIsKilled) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  flag polled;
  flag heard;
  (void)polled.descriptor();
  process poller([&] {
    for (;;) {
      if (!becomes_readable(polled.descriptor())) {
        return 1;
      }
      if (polled.is_set()) {
        heard.set();
        polled.clear();
      }
    }
    return 0;
  });
  const int deaths = shoal::test::chaos_is_long() ? 3'000 : 60;
  for (int death = 0; death < deaths && !HasFailure(); ++death) {
    process victim([&] {
      for (int turn = 0;; ++turn) {
        turn % 3 == 0 ? polled.set() : turn % 3 == 1 ? polled.clear() : (void)polled.is_set();
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3'000));
    victim.kill();
    (void)victim.join();
    EXPECT_TRUE(shoal::test::eventually([&] { return !polled.is_set(); })) << "the poller has not heard of it";
    heard.clear();
    polled.set();
    EXPECT_EQ(heard.wait_until(heard.generation(), shoal::after(shoal::test::patience)),
              shoal::sync::wait_result::done);
    EXPECT_TRUE(shoal::test::eventually([&] { return !polled.is_set(); }));
  }
  poller.kill();
  (void)poller.join();
}

}  // namespace
