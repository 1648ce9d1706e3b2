// A process is killed at every instruction of what wakes others, or is woken, at semaphores, events and latches. None
// may sleep on over what has happened, and no more is lost than the victim had.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <type_traits>

#include "kill_scene.hpp"
#include "shoal/deadline.hpp"
#include "sync/countdown.hpp"
#include "sync/flag.hpp"
#include "sync/semaphore.hpp"
#include "sync/wait.hpp"

namespace {

using shoal::forever;
using shoal::sync::countdown;
using shoal::sync::flag;
using shoal::sync::semaphore;
using shoal::sync::wait_result;
using shoal::test::bystander;
using shoal::test::comes_to_rest;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::stepped_process;

void wait_for(semaphore& units) {
  while (units.acquire_until(forever) == wait_result::interrupted) {
  }
}
void wait_for(flag& ready) {
  const std::uint32_t generation = ready.generation();
  while (ready.wait_until(generation, forever) == wait_result::interrupted) {
  }
}
void wait_for(countdown& ready) {
  while (ready.wait_until(forever) == wait_result::interrupted) {
  }
}

template <class Object>
class waker_scene : public kill_scene {
 public:
  waker_scene() {
    for (auto* other : {&first_, &second_}) {
      *other = std::make_unique<bystander>([this] {
        wait_for(object);
        return 0;
      });
      EXPECT_TRUE((*other)->falls_asleep());
    }
  }
  void act() override { wake(); }
  void settle() override {
    if (!has_happened()) {
      EXPECT_FALSE(completed());
      wake();
      count_from_now();
    }
    EXPECT_TRUE(first_->ends_by(bound()) && second_->ends_by(bound())) << "sleeps on";
  }

 private:
  static Object make() {
    if constexpr (std::is_same_v<Object, semaphore>) {
      return semaphore(0, 2);
    } else if constexpr (std::is_same_v<Object, countdown>) {
      return countdown(1);
    } else {
      return Object();
    }
  }
  void wake() {
    if constexpr (std::is_same_v<Object, semaphore>) {
      EXPECT_TRUE(object.release(2));
    } else if constexpr (std::is_same_v<Object, countdown>) {
      EXPECT_TRUE(object.count_down(1));
    } else {
      object.set();
    }
  }
  bool has_happened() {
    if constexpr (std::is_same_v<Object, semaphore>) {
      // Who took a unit may have ended already.
      return object.value() > 0 || first_->has_ended() || second_->has_ended();
    } else if constexpr (std::is_same_v<Object, countdown>) {
      return object.is_zero();
    } else {
      return object.is_set();
    }
  }

  Object object = make();
  std::unique_ptr<bystander> first_;
  std::unique_ptr<bystander> second_;
};

TEST(SemaphoreUnderKill, WhileItReleases) { kill_everywhere<waker_scene<semaphore>>(); }
TEST(EventUnderKill, WhileItSets) { kill_everywhere<waker_scene<flag>>(); }
TEST(LatchUnderKill, WhileItCountsDown) { kill_everywhere<waker_scene<countdown>>(); }

/// The victim waits before another, and a unit is released.
class acquiring : public kill_scene {
 public:
  void prepare() override { (void)shoal::sync::self_in(units_.slot()); }
  void act() override { wait_for(units_); }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    next_ = std::make_unique<bystander>([this] {
      wait_for(units_);
      return 0;
    });
    ASSERT_TRUE(next_->falls_asleep());
    EXPECT_TRUE(units_.release());
  }
  void settle() override {
    const bool taken = units_.value() == 0 && !next_->has_ended();
    if (!taken) {
      EXPECT_TRUE(next_->ends_by(bound())) << "sleeps on over a unit that is free";
      EXPECT_EQ(units_.value(), completed() ? 1U : 0U);
    }
    if (!next_->has_ended()) {
      EXPECT_TRUE(units_.release());
      count_from_now();
      EXPECT_TRUE(next_->ends_by(bound())) << "more than one unit is lost";
    }
  }

 private:
  semaphore units_{0, 9};
  std::unique_ptr<bystander> next_;
};

TEST(SemaphoreUnderKill, WhileItWaits) { kill_everywhere<acquiring>(); }

class acquiring_at_once : public kill_scene {
 public:
  void act() override {
    (void)units_.try_acquire();
    (void)units_.try_acquire();
  }
  void settle() override {
    EXPECT_LE(units_.value(), 3U);
    EXPECT_GE(units_.value(), 1U);
    EXPECT_TRUE(units_.release(units_.most() - units_.value()));
    for (std::uint32_t i = 0; i < units_.most(); ++i) {
      EXPECT_TRUE(units_.try_acquire());
    }
    EXPECT_FALSE(units_.try_acquire());
  }

 private:
  semaphore units_{3, 3};
};

TEST(SemaphoreUnderKill, WhileItTakesWhatIsFree) { kill_everywhere<acquiring_at_once>(); }

}  // namespace
