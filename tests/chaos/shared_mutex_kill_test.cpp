// A process is killed at every instruction of reading and writing under a shared mutex. Readers are forgotten; writers
// are told of if they held it, to readers too.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "kill_scene.hpp"
#include "shoal/deadline.hpp"
#include "sync/owner_lock.hpp"
#include "sync/shared_lock.hpp"

namespace {

using shoal::after;
using shoal::forever;
using shoal::sync::lock_status;
using shoal::sync::shared_lock;
using shoal::test::bystander;
using shoal::test::comes_to_rest;
using shoal::test::eventually;
using shoal::test::kill_everywhere;
using shoal::test::kill_scene;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::stepped_process;

bool is_held(lock_status status) { return status == lock_status::acquired || status == lock_status::owner_died; }

class shared_scene : public kill_scene {
 protected:
  enum news { nothing, of_a_death, refused };

  template <class Attempt>
  static lock_status finish(Attempt attempt) {
    lock_status status{};
    do {
      status = attempt();
    } while (status == lock_status::interrupted);
    return status;
  }
  lock_status write() {
    return finish([this] { return guard.lock_until(forever).status; });
  }
  lock_status read() {
    return finish([this] { return guard.lock_shared_until(forever).status; });
  }
  static int news_of(lock_status status) {
    return !is_held(status) ? refused : status == lock_status::owner_died ? of_a_death : nothing;
  }

  std::unique_ptr<bystander> writer() {
    auto other = std::make_unique<bystander>([this] {
      const lock_status status = write();
      guard.writer().consistent();
      (void)guard.unlock();
      return news_of(status);
    });
    EXPECT_TRUE(other->falls_asleep());
    return other;
  }
  std::unique_ptr<bystander> reader() {
    auto other = std::make_unique<bystander>([this] {
      const lock_status status = read();
      (void)guard.unlock_shared();
      return news_of(status);
    });
    EXPECT_TRUE(other->falls_asleep());
    return other;
  }
  void expect_free() {
    const lock_status first = finish([this] { return guard.lock_until(after(patience)).status; });
    ASSERT_TRUE(is_held(first));
    EXPECT_TRUE(first == lock_status::acquired || writes_->load()) << "told without a reason";
    EXPECT_TRUE(first == lock_status::owner_died || !wrote_->load()) << "nobody was told";
    guard.writer().consistent();
    EXPECT_TRUE(guard.unlock());
    EXPECT_EQ(finish([this] { return guard.lock_shared_until(after(patience)).status; }), lock_status::acquired);
    EXPECT_TRUE(guard.unlock_shared());
  }
  void make_known() {
    (void)read();
    (void)guard.unlock_shared();
  }

  shared_lock guard;
  shared<std::atomic<bool>> writes_;  // the victim is about to lock to write, and has not unlocked since
  shared<std::atomic<bool>> wrote_;   // it has locked, and not begun to unlock
};

class reading : public shared_scene {
 public:
  void prepare() override { make_known(); }
  void act() override {
    (void)read();
    (void)guard.unlock_shared();
  }
  void settle() override { expect_free(); }
};

TEST(SharedMutexUnderKill, WhileItReads) { kill_everywhere<reading>(); }

class leaving_before_a_writer : public shared_scene {
 public:
  void prepare() override {
    (void)read();
    reads_->store(true);
    eventually([this] { return go_->load(); });
  }
  void act() override { (void)guard.unlock_shared(); }
  void meanwhile(const stepped_process& /*victim*/) override {
    ASSERT_TRUE(eventually([this] { return reads_->load(); }));
    writer_ = writer();
    reader_ = reader();  // waits for the writer
    go_->store(true);
  }
  void settle() override {
    EXPECT_TRUE(writer_->ends_by(bound())) << "the writer waits for ever";
    EXPECT_TRUE(reader_->ends_by(bound())) << "the reader behind it waits for ever";
    EXPECT_EQ(writer_->told(), nothing);
    EXPECT_EQ(reader_->told(), nothing);
    expect_free();
  }

 private:
  shared<std::atomic<bool>> reads_;
  shared<std::atomic<bool>> go_;
  std::unique_ptr<bystander> writer_;
  std::unique_ptr<bystander> reader_;
};

TEST(SharedMutexUnderKill, WhileAWriterWaitsForItToLeave) { kill_everywhere<leaving_before_a_writer>(); }

class reading_after_a_writer : public shared_scene {
 public:
  reading_after_a_writer() { (void)write(); }
  void prepare() override { (void)guard.unlock_shared(); }  // shares nothing; so that the arena knows the thread
  void act() override {
    (void)read();
    (void)guard.unlock_shared();
  }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    next_ = reader();
    (void)guard.unlock();
  }
  void settle() override {
    EXPECT_TRUE(next_->ends_by(bound())) << "the other reader waits for ever";
    EXPECT_EQ(next_->told(), nothing);
    expect_free();
  }

 private:
  std::unique_ptr<bystander> next_;
};

TEST(SharedMutexUnderKill, WhileItWaitsForAWriter) { kill_everywhere<reading_after_a_writer>(); }

class writing : public shared_scene {
 public:
  void prepare() override { make_known(); }
  void act() override {
    writes_->store(true);
    (void)write();
    wrote_->store(true);
    wrote_->store(false);
    (void)guard.unlock();
    writes_->store(false);
  }
  void settle() override { expect_free(); }
};

TEST(SharedMutexUnderKill, WhileItWrites) { kill_everywhere<writing>(); }

class writing_after_readers : public writing {
 public:
  writing_after_readers() { (void)read(); }
  void meanwhile(const stepped_process& victim) override {
    comes_to_rest(victim.id());
    // If the victim waits, this one waits behind it; if it is dead already, it may read, and may be told.
    next_ = std::make_unique<bystander>([this] {
      const lock_status status = read();
      (void)guard.unlock_shared();
      return news_of(status);
    });
    (void)guard.unlock_shared();
  }
  void settle() override {
    EXPECT_TRUE(next_->ends_by(bound())) << "the reader behind it waits for ever";
    EXPECT_NE(next_->told(), refused);
    EXPECT_TRUE(next_->told() == nothing || writes_->load()) << "told without a reason";
    expect_free();
  }

 private:
  std::unique_ptr<bystander> next_;
};

TEST(SharedMutexUnderKill, WhileItWaitsForReadersToLeave) { kill_everywhere<writing_after_readers>(); }

class unlocking_before_many : public shared_scene {
 public:
  void prepare() override {
    writes_->store(true);
    (void)write();
    wrote_->store(true);
    eventually([this] { return go_->load(); });
  }
  void act() override {
    wrote_->store(false);
    (void)guard.unlock();
    writes_->store(false);
  }
  void meanwhile(const stepped_process& /*victim*/) override {
    ASSERT_TRUE(eventually([this] { return wrote_->load(); }));
    first_ = reader();
    second_ = reader();
    writer_ = writer();
    go_->store(true);
  }
  void settle() override {
    EXPECT_TRUE(first_->ends_by(bound()) && second_->ends_by(bound())) << "a reader waits for ever";
    EXPECT_TRUE(writer_->ends_by(bound())) << "a writer waits for ever";
    EXPECT_NE(writer_->told(), refused);
    EXPECT_TRUE(writer_->told() == of_a_death || !wrote_->load()) << "nobody was told";
    EXPECT_TRUE(writer_->told() == nothing || writes_->load()) << "told without a reason";
    wrote_->store(false);
    expect_free();
  }

 private:
  shared<std::atomic<bool>> go_;
  std::unique_ptr<bystander> first_;
  std::unique_ptr<bystander> second_;
  std::unique_ptr<bystander> writer_;
};

TEST(SharedMutexUnderKill, WhileItUnlocksBeforeMany) { kill_everywhere<unlocking_before_many>(); }

}  // namespace
