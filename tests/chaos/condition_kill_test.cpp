// A process is killed at every instruction of waiting for a condition and of notifying. No notification is lost.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>

#include "kill_scene.hpp"
#include "shoal/deadline.hpp"
#include "sync/owner_lock.hpp"
#include "sync/wait_line.hpp"

namespace {

using shoal::after;
using shoal::forever;
using shoal::memory::slot_kind;
using shoal::sync::lock_status;
using shoal::sync::owner_lock;
using shoal::sync::wait_line;
using shoal::sync::wait_result;
using shoal::test::bystander;
using shoal::test::comes_to_rest;
using shoal::test::eventually;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::shared;
using shoal::test::stepped_process;

constexpr std::uint32_t everybody = std::numeric_limits<std::uint32_t>::max();

class condition_scene : public kill_scene {
 protected:
  lock_status lock() {
    lock_status status{};
    do {
      status = guard.lock_until(forever).status;
    } while (status == lock_status::interrupted);
    guard.consistent();
    return status;
  }

  /// As condition_variable waits. @return whether it was notified.
  bool wait(shoal::deadline until = forever) {
    wait_line::place mine(line);
    guard.unlock();
    wait_result result{};
    do {
      result = mine.wait_until(until);
    } while (result == wait_result::interrupted);
    (void)lock();
    return result == wait_result::done;
  }

  /// Waits once, and tells so.
  std::unique_ptr<bystander> admit() {
    auto guest = std::make_unique<bystander>([this] {
      (void)lock();
      (void)wait();
      guard.unlock();
      return 0;
    });
    EXPECT_TRUE(guest->falls_asleep());
    return guest;
  }

  owner_lock guard{slot_kind::mutex};
  wait_line line;
};

/// The victim waits and is notified while another waits behind it.
class waiting : public condition_scene {
 public:
  void prepare() override {
    (void)lock();
    guard.unlock();
  }
  void act() override {
    (void)lock();
    (void)wait();
    guard.unlock();
  }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    next_ = admit();
    line.notify(1);
  }
  void settle() override {
    line.notify(1);  // two for two: whoever lives has one
    EXPECT_TRUE(next_->ends_by(bound())) << "a notification was lost";
    EXPECT_EQ(line.size(), 0U);
    (void)lock();
    guard.unlock();
    // And nothing is left over for who comes later, unless it was passed on.
    next_ = admit();
    line.notify(1);
    count_from_now();
    EXPECT_TRUE(next_->ends_by(bound())) << "a later notification was lost";
  }

 private:
  std::unique_ptr<bystander> next_;
};

TEST(ConditionUnderKill, WhileItWaitsBeforeAnother) { kill_everywhere<waiting>(); }

/// The victim has been notified, and is killed while it takes the lock again and leaves.
class relocking : public condition_scene {
 public:
  void prepare() override {
    (void)lock();
    place_ = new wait_line::place(line);  // the victim dies, or ends without destructors
    guard.unlock();
    entered_->store(true);
    while (place_->wait_until(forever) == wait_result::interrupted) {
    }
  }
  void act() override {
    (void)lock();
    used_->store(true);  // from here on it has the lock, and may have made use of the notification
    place_->~place();
    guard.unlock();
  }
  void meanwhile(const stepped_process& victim) override {
    ASSERT_TRUE(eventually([this] { return entered_->load(); }));
    comes_to_rest(victim.id());
    next_ = admit();
    line.notify(1);
  }
  void settle() override {
    if (used_->load()) {
      line.notify(1);
    }
    EXPECT_TRUE(next_->ends_by(bound())) << "a notification was lost";
    EXPECT_EQ(line.size(), 0U);
  }

 private:
  shared<std::atomic<bool>> entered_;
  shared<std::atomic<bool>> used_;
  wait_line::place* place_ = nullptr;
  std::unique_ptr<bystander> next_;
};

TEST(ConditionUnderKill, WhenItWasNotifiedAndTakesTheLockAgain) { kill_everywhere<relocking>(); }

class giving_up : public condition_scene {
 public:
  void prepare() override {
    (void)lock();
    guard.unlock();
  }
  void act() override {
    (void)lock();
    (void)wait(after(std::chrono::milliseconds(1)));
    guard.unlock();
  }
  void settle() override {
    (void)lock();
    guard.unlock();
    const auto next = admit();
    line.notify(1);
    count_from_now();
    EXPECT_TRUE(next->ends_by(bound())) << "a notification was lost";
    EXPECT_EQ(line.size(), 0U);
  }
};

TEST(ConditionUnderKill, WhileItWaitsWithATimeLimit) { kill_everywhere<giving_up>(); }

/// The victim notifies one of two, or all.
template <std::uint32_t Count>
class notifying : public condition_scene {
 public:
  notifying() : first_(admit()), second_(admit()) {}
  void prepare() override {
    (void)lock();
    guard.unlock();
  }
  void act() override { line.notify(Count); }
  void settle() override {
    // Those who were notified wake though nobody may have woken them.
    const std::uint32_t waiting = line.size();
    EXPECT_TRUE(!completed() || waiting == (Count == everybody ? 0 : 1));
    ASSERT_LE(waiting, 2U);
    EXPECT_TRUE(Count == everybody || waiting >= 1);
    if (waiting == 1 && Count == everybody) {
      EXPECT_TRUE(one_ends()) << "a notification was lost";  // whoever, for all are notified in no order
    } else if (waiting < 2) {
      EXPECT_TRUE(first_->ends_by(bound())) << "a notification was lost";
    }
    if (waiting == 0) {
      EXPECT_TRUE(second_->ends_by(bound())) << "a notification was lost";
    }
    EXPECT_EQ(line.size(), waiting);
    line.notify(Count == everybody ? Count : waiting);
    count_from_now();
    EXPECT_TRUE(first_->ends_by(bound()) && second_->ends_by(bound())) << "sleeps on";
    EXPECT_EQ(line.size(), 0U);
  }

 private:
  bool one_ends() {
    for (const auto until = bound(); std::chrono::steady_clock::now() < until;) {
      const auto soon = after(std::chrono::milliseconds(5));
      if (first_->ends_by(soon) || second_->ends_by(soon)) {
        return true;
      }
    }
    return false;
  }

  std::unique_ptr<bystander> first_;
  std::unique_ptr<bystander> second_;
};

TEST(ConditionUnderKill, WhileItNotifiesOne) { kill_everywhere<notifying<1>>(); }
TEST(ConditionUnderKill, WhileItNotifiesAll) { kill_everywhere<notifying<everybody>>(); }

/// The victim notifies, and so has to pass on what a dead one was notified of.
class passing_on : public condition_scene {
 public:
  passing_on() {
    auto notified = std::make_unique<bystander>([this] {
      (void)other_.lock_until(forever);  // so that its record is not given to the next one, who would pass it on
      (void)lock();
      (void)wait();
      return 0;
    });
    EXPECT_TRUE(notified->falls_asleep());
    first_ = admit();
    second_ = admit();
    (void)lock();
    line.notify(1);
    notified.reset();  // is killed without having had the lock
    guard.unlock();
  }
  void prepare() override {
    (void)lock();
    guard.unlock();
  }
  void act() override { line.notify(1); }
  void settle() override {
    // One notification is the dead one's, which is not lost whatever the victim did.
    EXPECT_TRUE(first_->ends_by(bound())) << "a notification was lost";
    line.notify(1);
    count_from_now();
    EXPECT_TRUE(second_->ends_by(bound())) << "the next notification was lost";
  }

 private:
  owner_lock other_{slot_kind::mutex};
  std::unique_ptr<bystander> first_;
  std::unique_ptr<bystander> second_;
};

TEST(ConditionUnderKill, WhileItPassesOnWhatADeadOneWasNotifiedOf) { kill_everywhere<passing_on>(); }

}  // namespace
