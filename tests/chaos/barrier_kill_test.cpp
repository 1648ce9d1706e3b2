// A process is killed at every instruction at a barrier. The barrier is broken then, or the phase has ended; nobody is
// left waiting, and all are told the same.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

#include "kill_scene.hpp"
#include "lock_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/error.hpp"
#include "sync/barrier_core.hpp"
#include "sync/owner_lock.hpp"

namespace {

using shoal::sync::barrier_core;
using shoal::sync::barrier_result;
using shoal::test::bystander;
using shoal::test::comes_to_rest;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::stepped_process;

constexpr std::uint32_t parties = 3;

class barrier_scene : public kill_scene {
 protected:
  /// As barrier arrives and waits. @return how that ended.
  barrier_result meet() {
    barrier_core::party mine(meeting);
    barrier_result result{};
    do {
      result = mine.arrive_until(shoal::forever);
    } while (result == barrier_result::interrupted);
    if (result != barrier_result::done) {
      return result;
    }
    if (mine.is_last()) {
      return mine.complete();
    }
    do {
      result = mine.wait_until(shoal::forever);
    } while (result == barrier_result::interrupted);
    return result;
  }

  void admit() {
    guests.push_back(std::make_unique<bystander>([this] { return static_cast<int>(meet()); }));
  }

  /// Expects that all who wait are let go, or told that the barrier is broken: all the same.
  void expect_all_go_on() {
    // A victim that has not said that it was about to arrive is missed by nobody: somebody else has to come.
    const bool is_missed = shoal::test::died_in_line(victim(), meeting.slot()) || meeting.look().broken;
    const auto now = meeting.look();
    if (!completed() && !is_missed && now.phase == 0 && now.arrived < parties) {
      for (std::uint32_t i = now.arrived; i < parties; ++i) {
        admit();
      }
    }
    count_from_now();
    for (const auto& guest : guests) {
      ASSERT_TRUE(guest->ends_by(bound())) << "waits for ever; " << guests.size() << " are there";
      EXPECT_EQ(guest->told(), guests.front()->told());
    }
    if (completed()) {
      EXPECT_EQ(guests.front()->told(), static_cast<int>(barrier_result::done));
    }
  }

  void expect_as_new_after_a_reset() {
    meeting.reset();
    EXPECT_FALSE(meeting.look().broken);
    guests.clear();
    for (std::uint32_t i = 0; i < meeting.look().parties; ++i) {
      admit();
    }
    count_from_now();
    for (const auto& guest : guests) {
      ASSERT_TRUE(guest->ends_by(bound())) << "waits for ever after a reset";
      EXPECT_EQ(guest->told(), static_cast<int>(barrier_result::done));
    }
  }

  barrier_core meeting{parties};
  std::vector<std::unique_ptr<bystander>> guests;
};

/// The victim comes to two who wait already.
class last_to_arrive : public barrier_scene {
 public:
  last_to_arrive() {
    admit();
    admit();
    for (const auto& guest : guests) {
      EXPECT_TRUE(guest->falls_asleep());
    }
  }
  void act() override { (void)meet(); }
  void settle() override {
    expect_all_go_on();
    expect_as_new_after_a_reset();
  }
};

TEST(BarrierUnderKill, AsTheLastToArrive) { kill_everywhere<last_to_arrive>(100); }

class last_to_arrive_known : public last_to_arrive {
 public:
  void prepare() override { const barrier_core::party known(meeting); }
};

TEST(BarrierUnderKill, AsTheLastToArriveWhomTheArenaKnows) { kill_everywhere<last_to_arrive_known>(); }

/// The victim comes to one who waits, and waits with it.
class waiting : public barrier_scene {
 public:
  waiting() {
    admit();
    EXPECT_TRUE(guests.front()->falls_asleep());
  }
  void prepare() override { const barrier_core::party known(meeting); }
  void act() override { (void)meet(); }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    admit();
  }
  void settle() override {
    expect_all_go_on();
    expect_as_new_after_a_reset();
  }
};

TEST(BarrierUnderKill, WhileItWaits) { kill_everywhere<waiting>(); }

/// The victim comes to one who waits and one who has died there, and finds that out as the last to arrive.
class finding_a_dead_one : public barrier_scene {
 public:
  finding_a_dead_one() {
    admit();
    EXPECT_TRUE(guests.front()->falls_asleep());
    bystander dead([this] {
      (void)other_.lock_until(shoal::forever);  // so that its record is not given to the next one, who would find out
      return static_cast<int>(meet());
    });
    EXPECT_TRUE(dead.falls_asleep());
  }
  void prepare() override { const barrier_core::party known(meeting); }
  void act() override { (void)meet(); }
  void settle() override {
    ASSERT_TRUE(guests.front()->ends_by(bound())) << "waits for ever";
    EXPECT_EQ(guests.front()->told(), static_cast<int>(barrier_result::broken));
    expect_as_new_after_a_reset();
  }

 private:
  shoal::sync::owner_lock other_{shoal::memory::slot_kind::mutex};
};

TEST(BarrierUnderKill, WhileItFindsThatAnotherHasDied) { kill_everywhere<finding_a_dead_one>(); }

/// The victim comes, and will not come again.
class dropping : public barrier_scene {
 public:
  dropping() {
    admit();
    EXPECT_TRUE(guests.front()->falls_asleep());
  }
  void prepare() override { const barrier_core::party known(meeting); }
  void act() override {
    barrier_core::party mine(meeting);
    (void)mine.arrive_and_drop_until(shoal::forever);
    if (mine.is_last()) {
      (void)mine.complete();
    }
  }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    admit();
  }
  void settle() override {
    expect_all_go_on();
    expect_as_new_after_a_reset();
  }
};

TEST(BarrierUnderKill, WhileItDropsOut) { kill_everywhere<dropping>(); }

class aborting : public barrier_scene {
 public:
  aborting() {
    admit();
    EXPECT_TRUE(guests.front()->falls_asleep());
  }
  void act() override { meeting.abort(); }
  void settle() override {
    if (!meeting.look().broken) {
      EXPECT_FALSE(completed());
      meeting.abort();
    }
    ASSERT_TRUE(guests.front()->ends_by(bound())) << "waits for ever";
    EXPECT_EQ(guests.front()->told(), static_cast<int>(barrier_result::broken));
    expect_as_new_after_a_reset();
  }
};

TEST(BarrierUnderKill, WhileItBreaksIt) { kill_everywhere<aborting>(); }

class resetting : public barrier_scene {
 public:
  resetting() {
    admit();
    EXPECT_TRUE(guests.front()->falls_asleep());
  }
  void act() override { meeting.reset(); }
  void settle() override {
    if (meeting.look().phase == 0) {
      EXPECT_FALSE(completed());
      meeting.reset();
    }
    ASSERT_TRUE(guests.front()->ends_by(bound())) << "waits for ever";
    EXPECT_EQ(guests.front()->told(), static_cast<int>(barrier_result::broken));
    expect_as_new_after_a_reset();
  }
};

TEST(BarrierUnderKill, WhileItResetsIt) { kill_everywhere<resetting>(); }

}  // namespace
