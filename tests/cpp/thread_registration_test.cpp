#include "sync/thread_record.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <latch>
#include <memory>
#include <new>
#include <semaphore>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/mutex.hpp"
#include "sync/owner_lock.hpp"
#include "sync/semaphore.hpp"
#include "sync/shared_lock.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::mutex;
using shoal::memory::arena;
using shoal::memory::slot_kind;
using shoal::sync::known_in;
using shoal::sync::lock_status;
using shoal::sync::owner_id;
using shoal::sync::owner_lock;
using shoal::sync::self;
using shoal::sync::self_in;
using shoal::sync::shared_lock;
using shoal::sync::thread_record;
using shoal::sync::thread_table;
using shoal::sync::waiting_mark;
using shoal::test::eventually;
using shoal::test::in_child;
using shoal::test::sleep_at;
using shoal::test::slot_of;

/// A lock in an arena that nobody else has used.
class lonely_lock {
 public:
  lonely_lock() : others_(arena::most_slots) {
    do {
      others_.push_back(std::make_unique<owner_lock>(slot_kind::mutex));
      found_ = others_.back().get();
    } while (&found_->slot().home() == &others_[0]->slot().home());
  }
  owner_lock* operator->() const { return found_; }
  [[nodiscard]] const owner_lock& get() const { return *found_; }
  [[nodiscard]] thread_table threads() const { return thread_table(found_->slot().home()); }

 private:
  struct list : std::vector<std::unique_ptr<owner_lock>> {
    explicit list(std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        push_back(std::make_unique<owner_lock>(slot_kind::mutex));
      }
    }
  };
  list others_;
  owner_lock* found_ = nullptr;
};

/// In a child, since threads that lock here must be new: as if as many threads as there may be used the arena.
class full_arena : public lonely_lock {
 public:
  full_arena() {
    const std::size_t records = sizeof(thread_record) * thread_table::most_threads;
    (*this)->slot().home().populate_threads(0, shoal::memory::page_size + records);
    set_all(1U << 29);  // not the id of any thread
  }
  void make_room() { set_all(0); }

 private:
  void set_all(std::uint32_t word) {
    for (std::uint32_t index = 0; index < thread_table::most_threads; ++index) {
      threads().at(index).alive_word().store(word);
    }
  }
};

template <class Call>
bool finds_no_memory(Call call) {
  try {
    call();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

/// Whether the calling thread, and no other, has a record where the lock lies.
bool is_known(const owner_lock& lock) {
  const self me = known_in(lock.slot());
  return me.record != nullptr && thread_table::is_alive(*me.record) && me.record->thread == ::gettid();
}

TEST(ThreadRegistration, ThatCouldNotBeMadeIsMadeLater) {
  EXPECT_TRUE(in_child([] {
    full_arena arena;
    std::binary_semaphore has_failed{0};
    std::binary_semaphore may_go_on{0};
    bool failed = false;
    bool locked = false;
    std::thread unlucky([&] {
      failed = finds_no_memory([&] { (void)arena->try_lock(); });
      has_failed.release();
      may_go_on.acquire();
      locked = arena->try_lock().status == lock_status::acquired && is_known(arena.get()) && arena->unlock();
    });
    has_failed.acquire();
    arena.make_room();
    // Many that come and go meanwhile, so that what is kept of threads that have ended is thrown away.
    for (int i = 0; i < 40; ++i) {
      std::thread([&] {
        if (arena->try_lock().status == lock_status::acquired) {
          (void)arena->unlock();
        }
      }).join();
    }
    may_go_on.release();
    unlucky.join();
    return failed && locked;
  }));
}

TEST(ThreadRegistration, IsNotNeededByWhoHoldsNothing) {
  EXPECT_TRUE(in_child([] {
    const full_arena arena;
    shared_lock sharable;
    constexpr owner_id somebody = owner_id{1} << 32 | 1 << 8;
    arena->state().word = somebody;
    bool right = false;
    // Neither do they throw, nor does it end the process where they may not.
    std::thread([&] {
      arena->consistent();
      right = !arena->unlock() && !arena->lock_again() && !arena->is_mine() && arena->count() == 0 &&
              !sharable.unlock_shared();
    }).join();
    return right && finds_no_memory([&] { (void)arena->try_lock(); });
  }));
}

TEST(ThreadRegistration, IsNotMadeByWhoOnlyAsksOrDoesNotWait) {
  owner_lock lock(slot_kind::mutex);
  shared_lock sharable;
  shoal::sync::semaphore units(0, 1);
  ASSERT_EQ(lock.try_lock().status, lock_status::acquired);
  std::thread([&] {
    (void)lock.unlock();
    (void)lock.is_mine();
    (void)lock.look();
    (void)sharable.unlock_shared();
    (void)units.acquire_until(shoal::no_waiting);
    EXPECT_EQ(known_in(lock.slot()).record, nullptr);
    EXPECT_EQ(known_in(sharable.writer().slot()).record, nullptr);
    EXPECT_EQ(known_in(units.slot()).record, nullptr);
  }).join();
}

TEST(ThreadRegistration, OfAThreadThatHasEndedIsUsedAgainHoweverManyCameAtOnce) {
  constexpr int many = 200;
  mutex guard;
  const auto slot = slot_of(guard, slot_kind::mutex);
  int entered = 0;
  const auto all_lock_at_once = [&] {
    std::latch all_have_locked(many);
    std::vector<std::thread> threads;
    for (int i = 0; i < many; ++i) {
      threads.emplace_back([&] {
        guard.lock();
        ++entered;
        guard.unlock();
        all_have_locked.arrive_and_wait();
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return thread_table(slot.home()).used();
  };
  const std::uint32_t used = all_lock_at_once();
  EXPECT_GE(used, std::uint32_t{many});
  EXPECT_EQ(all_lock_at_once(), used);
  EXPECT_EQ(entered, 2 * many);
}

TEST(ThreadRegistration, IsLeftAsItIsByThoseWhoLookForAnother) {
  // A thread that locks for the first time passes the records of all who live.
  owner_lock lock(slot_kind::mutex);
  thread_record& mine = *self_in(lock.slot()).record;
  const int kind = mine.alive.__data.__kind;
  mine.alive.__data.__kind = 0x7f;  // as nobody would write it
  std::thread([&] { (void)lock.try_lock(); }).join();
  EXPECT_EQ(mine.alive.__data.__kind, 0x7f);
  mine.alive.__data.__kind = kind;
}

TEST(ThreadRegistration, HasMemoryForItsTextWhereverThatLies) {
  const std::shared_ptr<arena> empty = arena::create(shoal::memory::arena_slot::size, arena::most_slots);
  const thread_table threads(*empty);
  const auto is_allocated = [&](std::size_t offset) {
    constexpr std::size_t page = shoal::memory::page_size;
    unsigned char in_memory = 0;
    EXPECT_EQ(::mincore(empty->threads() + offset / page * page, page, &in_memory), 0);
    return (in_memory & 1) != 0;
  };
  constexpr std::size_t far = std::size_t{20} << 20;
  ASSERT_FALSE(is_allocated(far));
  empty->populate_threads(far + shoal::memory::page_size / 2, shoal::memory::page_size / 2);
  EXPECT_TRUE(is_allocated(far));
  EXPECT_FALSE(is_allocated(far + shoal::memory::page_size));
  empty->populate_threads(far + shoal::memory::page_size * 3 / 2, shoal::memory::page_size);
  EXPECT_TRUE(is_allocated(far + shoal::memory::page_size));
  EXPECT_TRUE(is_allocated(far + shoal::memory::page_size * 2));
}

TEST(ThreadRegistration, SaysWhenAWaitBeganAlsoWhereThatIsContinued) {
  const owner_lock lock(slot_kind::mutex);
  const owner_lock other(slot_kind::mutex);
  thread_record& mine = *self_in(lock.slot()).record;
  constexpr std::int64_t long_ago = 1;
  const waiting_mark whole(mine, lock.slot());
  mine.waits_since = long_ago;
  {
    const waiting_mark part(mine, lock.slot());
    EXPECT_EQ(mine.waits_since, long_ago);
    {
      const waiting_mark in_a_signal_handler(mine, other.slot());
      EXPECT_NE(mine.waits_since, long_ago);
      EXPECT_EQ(mine.waits_for, other.slot().index() + 1);
    }
    EXPECT_EQ(mine.waits_since, long_ago);
    EXPECT_EQ(mine.waits_for, lock.slot().index() + 1);
  }
  EXPECT_EQ(mine.waits_since, long_ago);
  EXPECT_EQ(mine.waits_for, lock.slot().index() + 1);
}

/// What handles SIGUSR2 meanwhile, and counts it.
class signal_counter {
 public:
  signal_counter() {
    count = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { ++count; };
    ::sigaction(SIGUSR2, &action, &former_);
  }
  signal_counter(const signal_counter&) = delete;
  signal_counter& operator=(const signal_counter&) = delete;
  ~signal_counter() { ::sigaction(SIGUSR2, &former_, nullptr); }

  static inline std::atomic<int> count;

 private:
  struct sigaction former_ {};
};

/// Interrupts a thread that waits for what lies in `slot`. @return whether it says as before since when it does.
bool keeps_its_begin(std::thread& waiting, const shoal::memory::arena_slot& slot) {
  const thread_table threads(slot.home());
  thread_record* record = nullptr;
  for (std::uint32_t index = 0; index < threads.used(); ++index) {
    if (threads.at(index).waits_for == slot.index() + 1 && thread_table::is_alive(threads.at(index))) {
      record = &threads.at(index);
    }
  }
  if (record == nullptr) {
    return false;
  }
  const std::int64_t since = record->waits_since;
  const signal_counter signals;
  if (!eventually([&] { return shoal::sync::coarse_now() != since; })) {
    return false;
  }
  ::pthread_kill(waiting.native_handle(), SIGUSR2);
  return eventually([] { return signal_counter::count == 1; }) && sleep_at(slot, 1) && record->waits_since == since;
}

TEST(ThreadRegistration, SaysWhenAWaitForAMutexBeganAlsoWhereSignalsInterruptIt) {
  mutex guard;
  const auto slot = slot_of(guard, slot_kind::mutex);
  guard.lock();
  std::thread waiting([&] {
    guard.lock();
    guard.unlock();
  });
  EXPECT_TRUE(sleep_at(slot, 1));
  EXPECT_TRUE(keeps_its_begin(waiting, slot));
  guard.unlock();
  waiting.join();
}

}  // namespace
