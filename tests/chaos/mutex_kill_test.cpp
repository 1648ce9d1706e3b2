// A process is killed at every instruction of locking and unlocking. The next one gets the lock, and is told of the
// death if, and only if, the victim held it.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "kill_scene.hpp"
#include "lock_support.hpp"
#include "shoal/deadline.hpp"
#include "sync/owner_lock.hpp"

namespace {

using shoal::after;
using shoal::forever;
using shoal::memory::slot_kind;
using shoal::sync::lock_status;
using shoal::sync::owner_lock;
using shoal::test::bystander;
using shoal::test::comes_to_rest;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::stepped_process;

/// As the classes on top of it lock. @return how that ended.
lock_status lock(owner_lock& guard, shoal::deadline until = forever) {
  lock_status status{};
  do {
    status = guard.lock_until(until).status;
  } while (status == lock_status::interrupted);
  return status;
}

bool is_held(lock_status status) { return status == lock_status::acquired || status == lock_status::owner_died; }

/// What the victim has said of itself.
struct diary {
  std::atomic<bool> before;  // about to lock
  std::atomic<bool> inside;  // has locked, and not begun to unlock
  std::atomic<bool> after;   // has unlocked
  std::atomic<bool> mended;  // about to call consistent()
};

/// A lock, and a look at it when the victim is dead.
class lock_scene : public kill_scene {
 public:
  explicit lock_scene(slot_kind kind = slot_kind::mutex) : guard(kind, "scene") {}

 protected:
  void lock_and_unlock() {
    said->before = true;
    (void)lock(guard);
    said->inside = true;
    said->inside = false;
    guard.unlock();
    said->after = true;
  }

  /// Expects that the lock can be had, with or without the news of a death.
  void expect_next_is_told_if_held() {
    const auto holder = guard.holder();
    const lock_status status = lock(guard, after(patience));
    ASSERT_TRUE(is_held(status));
    EXPECT_EQ(status == lock_status::owner_died, holder.has_value() && !holder->alive);
    if (holder) {
      EXPECT_EQ(holder->process, victim());
    }
    EXPECT_TRUE(status == lock_status::owner_died || !said->inside) << "nobody was told";
    EXPECT_TRUE(status == lock_status::acquired || (said->before && !said->after)) << "told without a reason";
    guard.consistent();
    EXPECT_EQ(guard.count(), 1U);
    EXPECT_TRUE(guard.unlock());
    EXPECT_EQ(lock(guard, after(patience)), lock_status::acquired);
    EXPECT_TRUE(guard.unlock());
  }

  /// What somebody else does meanwhile: locks, and tells whether it was told of a death.
  int lock_as_bystander() {
    const lock_status status = lock(guard);
    guard.consistent();
    guard.unlock();
    return status == lock_status::owner_died ? 1 : is_held(status) ? 0 : 2;
  }

  /// Expects that the other has got the lock, and that it or whoever locks now is told of the victim.
  void expect_goes_on(bystander& other) {
    ASSERT_TRUE(other.ends_by(bound())) << "sleeps on";
    const lock_status status = lock(guard, after(patience));
    ASSERT_TRUE(is_held(status));
    guard.consistent();
    guard.unlock();
    const int told = other.told() + (status == lock_status::owner_died ? 1 : 0);
    EXPECT_LE(told, 1);
    EXPECT_TRUE(told == 1 || !said->inside) << "nobody was told";
    EXPECT_TRUE(told == 0 || (said->before && !said->after)) << "told without a reason";
  }

  owner_lock guard;
  shared<diary> said;
};

class uncontended : public lock_scene {
 public:
  void prepare() override {
    (void)lock(guard);  // so that the arena knows the thread
    guard.unlock();
  }
  void act() override { lock_and_unlock(); }
  void settle() override { expect_next_is_told_if_held(); }
};

TEST(MutexUnderKill, WithoutContention) { kill_everywhere<uncontended>(); }

class first_use : public lock_scene {
 public:
  void act() override { lock_and_unlock(); }
  void settle() override { expect_next_is_told_if_held(); }
};

TEST(MutexUnderKill, AtTheFirstUseOfAnArena) { kill_everywhere<first_use>(200); }

class first_use_after_a_death : public lock_scene {
 public:
  first_use_after_a_death() {
    // Leaves a record that has to be cleaned, and one that must not be touched since it is referred to.
    shoal::process dead([this] {
      (void)lock(other_);
      ::raise(SIGKILL);
    });
    (void)dead.join();
  }
  void act() override { lock_and_unlock(); }
  void settle() override {
    expect_next_is_told_if_held();
    EXPECT_EQ(lock(other_, after(patience)), lock_status::owner_died);
    other_.consistent();
    other_.unlock();
  }

 private:
  owner_lock other_{slot_kind::mutex};
};

TEST(MutexUnderKill, AtTheFirstUseOfAnArenaThatKnowsADeadOne) { kill_everywhere<first_use_after_a_death>(80); }

class waiting : public lock_scene {
 public:
  waiting() { (void)lock(guard); }
  void prepare() override { EXPECT_FALSE(guard.is_mine()); }
  void act() override { lock_and_unlock(); }
  void meanwhile(const stepped_process& victim) override {
    // The victim sleeps first, so it is the one who will be woken.
    comes_to_rest(victim.id());
    next_ = std::make_unique<bystander>([this] { return lock_as_bystander(); });
    ASSERT_TRUE(next_->falls_asleep());
    guard.unlock();
  }
  void settle() override { expect_goes_on(*next_); }

 private:
  std::unique_ptr<bystander> next_;
};

TEST(MutexUnderKill, WhileItWaitsForAnother) { kill_everywhere<waiting>(); }

class waiting_briefly : public lock_scene {
 public:
  waiting_briefly() { (void)lock(guard); }
  void prepare() override { EXPECT_FALSE(guard.is_mine()); }
  void act() override {
    said->before = true;
    const bool held = is_held(lock(guard, after(std::chrono::milliseconds(1))));
    said->inside = held;
    said->inside = false;
    if (held) {
      guard.unlock();
    }
    said->after = true;
  }
  void meanwhile(const stepped_process& victim) override {
    next_ = std::make_unique<bystander>([this] { return lock_as_bystander(); });
    ASSERT_TRUE(next_->falls_asleep());
    comes_to_rest(victim.id());
    guard.unlock();
  }
  void settle() override { expect_goes_on(*next_); }

 private:
  std::unique_ptr<bystander> next_;
};

TEST(MutexUnderKill, WhileItWaitsWithATimeLimit) { kill_everywhere<waiting_briefly>(); }

class unlocking : public lock_scene {
 public:
  void prepare() override {
    (void)lock(guard);
    held_->store(true);
    // Until both sleep.
    shoal::test::eventually([this] { return go_->load(); });
    said->before = said->inside = true;
  }
  void act() override {
    said->inside = false;
    guard.unlock();
    said->after = true;
  }
  void meanwhile(const stepped_process& /*victim*/) override {
    ASSERT_TRUE(shoal::test::eventually([this] { return held_->load(); }));
    for (auto* other : {&first_, &second_}) {
      *other = std::make_unique<bystander>([this] { return lock_as_bystander(); });
      ASSERT_TRUE((*other)->falls_asleep());
    }
    go_->store(true);
  }
  void settle() override {
    ASSERT_TRUE(first_->ends_by(bound()) && second_->ends_by(bound())) << "sleeps on";
    EXPECT_LE(first_->told() + second_->told(), 1);
    EXPECT_TRUE(first_->told() + second_->told() == 1 || !said->inside) << "nobody was told";
    EXPECT_TRUE(first_->told() + second_->told() == 0 || !said->after) << "told without a reason";
  }

 private:
  shared<std::atomic<bool>> held_;
  shared<std::atomic<bool>> go_;
  std::unique_ptr<bystander> first_;
  std::unique_ptr<bystander> second_;
};

TEST(MutexUnderKill, WhileItUnlocksBeforeSleepers) { kill_everywhere<unlocking>(); }

class taking_over : public lock_scene {
 public:
  taking_over() {
    shoal::process dead([this] {
      (void)lock(guard);
      ::raise(SIGKILL);
    });
    first_dead_ = dead.id();
    (void)dead.join();
  }
  void prepare() override {
    owner_lock other(slot_kind::mutex, known_.location());
    (void)lock(other);
    other.unlock();
  }
  void act() override {
    if (lock(guard) == lock_status::owner_died) {
      said->mended = true;
      guard.consistent();
      guard.unlock();
      said->after = true;
    }
  }
  void settle() override {
    const auto before = guard.holder();
    const auto attempt = guard.lock_until(after(patience));
    EXPECT_EQ(attempt.status, before ? lock_status::owner_died : lock_status::acquired);
    EXPECT_TRUE(attempt.status == lock_status::owner_died || said->mended) << "nobody was told";
    EXPECT_FALSE(attempt.status == lock_status::owner_died && said->after) << "told once more";
    if (attempt.status == lock_status::owner_died) {
      EXPECT_TRUE(attempt.dead.process == first_dead_ || attempt.dead.process == victim());
    }
    guard.consistent();
    guard.unlock();
    EXPECT_EQ(lock(guard, after(patience)), lock_status::acquired);
    guard.unlock();
  }

 private:
  owner_lock known_{slot_kind::mutex};
  pid_t first_dead_ = 0;
};

TEST(MutexUnderKill, WhileItTakesOverFromADeadOne) { kill_everywhere<taking_over>(); }

class taking_over_before_others : public lock_scene {
 public:
  void prepare() override {
    (void)lock(other_);
    other_.unlock();
  }
  void act() override {
    if (lock(guard) == lock_status::owner_died) {  // wakes as the holder dies
      said->mended = true;
      guard.consistent();
    }
    guard.unlock();
    said->after = true;
  }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    next_ = std::make_unique<bystander>([this] { return lock_as_bystander(); });
    ASSERT_TRUE(next_->falls_asleep());
    holder_.kill();
  }
  void settle() override {
    ASSERT_TRUE(next_->ends_by(bound())) << "sleeps on";
    EXPECT_LE(next_->told(), 1);
    const lock_status status = lock(guard, after(patience));
    ASSERT_TRUE(is_held(status));
    EXPECT_TRUE(next_->told() == 1 || status == lock_status::owner_died || said->mended) << "nobody was told";
    EXPECT_FALSE(status == lock_status::owner_died && said->after) << "told without a reason";
    guard.consistent();
    guard.unlock();
  }

 private:
  owner_lock other_{slot_kind::mutex};
  shoal::test::holder holder_{[this] { (void)lock(guard); }, [] {}};
  std::unique_ptr<bystander> next_;
};

TEST(MutexUnderKill, WokenByTheDeathOfAHolderBeforeOthers) { kill_everywhere<taking_over_before_others>(); }

class recursive : public lock_scene {
 public:
  recursive() : lock_scene(slot_kind::recursive_mutex) {}
  void prepare() override {
    (void)lock(guard);
    guard.unlock();
  }
  void act() override {
    said->before = true;
    (void)lock(guard);
    said->inside = true;
    (void)guard.lock_again();
    (void)guard.lock_again();
    guard.unlock();
    guard.unlock();
    said->inside = false;
    guard.unlock();
    said->after = true;
  }
  void settle() override { expect_next_is_told_if_held(); }
};

TEST(RecursiveMutexUnderKill, WhateverItsDepth) { kill_everywhere<recursive>(); }

}  // namespace
