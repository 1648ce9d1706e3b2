#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "lock_support.hpp"
#include "shoal/mutex.hpp"
#include "shoal/shared_mutex.hpp"

// Locks at the end of threads and programs. A thread lives, and holds what it has locked, until the kernel says that it
// has ended: destructors of its thread_local objects and, in the thread that calls exit, those of static ones may
// unlock.
namespace {

using shoal::mutex;
using shoal::owner_died;
using shoal::process;
using shoal::shared_mutex;
using shoal::memory::slot_kind;
using shoal::sync::thread_table;
using shoal::test::code_of;
using shoal::test::dead_told_by;
using shoal::test::in_child;
using shoal::test::slot_of;
using shoal::test::succeeds;

/// Calls something when it is destroyed.
class at_destruction {
 public:
  explicit at_destruction(std::function<void()> call) : call_(std::move(call)) {}
  at_destruction(const at_destruction&) = delete;
  at_destruction& operator=(const at_destruction&) = delete;
  ~at_destruction() { call_(); }

 private:
  std::function<void()> call_;
};

/// In a child: fails, also where nobody would see a returned value.
void require(bool condition) {
  if (!condition) {
    std::_Exit(1);
  }
}

/// Whether a child succeeds that calls `call` and then std::exit, so that destructors of static objects run there.
template <class Call>
bool exits_well(Call call) {
  process child([&] {
    call();
    std::exit(0);
  });
  return succeeds(child);
}

/// Whether somebody who tries to lock is told that a living thread holds it.
bool is_held_for_others(mutex& guard) {
  bool held = false;
  std::thread([&] {
    try {
      held = !guard.try_lock();
    } catch (const owner_died&) {
      held = false;
    }
  }).join();
  return held;
}

/// Two mutexes of different arenas, and what lies between them.
struct far_apart {
  far_apart() : mutexes(1000) { require(first().native_handle().arena != second().native_handle().arena); }
  mutex& first() { return mutexes.front(); }
  mutex& second() { return mutexes.back(); }

  std::vector<mutex> mutexes;
};

TEST(LockAtExit, IsHeldUntilAStaticDestructorUnlocksIt) {
  EXPECT_TRUE(exits_well([] {
    static mutex guard;
    static const at_destruction last([] {
      require(is_held_for_others(guard));
      guard.unlock();
      require(!is_held_for_others(guard));
    });
    guard.lock();
  }));
}

TEST(LockAtExit, IsSharedUntilAStaticDestructorUnlocksIt) {
  EXPECT_TRUE(exits_well([] {
    static shared_mutex guard;
    static const at_destruction last([] {
      std::thread([] { require(!guard.try_lock()); }).join();
      guard.unlock_shared();
      std::thread([] { require(guard.try_lock()); }).join();
    });
    guard.lock_shared();
  }));
}

TEST(LockAtExit, IsHeldUntilAStaticDestructorUnlocksItAlsoWhereAnotherThreadLeaves) {
  EXPECT_TRUE(exits_well([] {
    static mutex guard;
    static const at_destruction last([] {
      require(is_held_for_others(guard));
      guard.unlock();
    });
    std::thread([] {
      guard.lock();
      std::exit(0);
    }).join();
  }));
}

TEST(LockAtExit, IsHeldUntilAnExitHandlerUnlocksIt) {
  EXPECT_TRUE(exits_well([] {
    static mutex guard;
    require(std::atexit([] {
              require(is_held_for_others(guard));
              guard.unlock();
            }) == 0);
    guard.lock();
  }));
}

TEST(LockAtExit, TwoOfDifferentArenasAreLockedTogetherByAStaticDestructor) {
  EXPECT_TRUE(exits_well([] {
    static far_apart both;
    static const at_destruction last([] {
      both.first().lock();
      both.second().lock();
      require(is_held_for_others(both.first()));
      both.second().unlock();
      both.first().unlock();
    });
    both.first().lock();
    both.first().unlock();
  }));
}

TEST(LockAtExit, HoweverOftenStaticDestructorsLockTheirThreadIsKnownOnce) {
  EXPECT_TRUE(exits_well([] {
    static far_apart both;
    static auto first = slot_of(both.first(), slot_kind::mutex);
    static auto second = slot_of(both.second(), slot_kind::mutex);
    const auto lock_each_in_turn = [](int times) {
      for (int i = 0; i < times; ++i) {
        both.first().lock();
        both.first().unlock();
        both.second().lock();
        both.second().unlock();
      }
    };
    static const at_destruction last([lock_each_in_turn] {
      lock_each_in_turn(1);
      const auto used = std::pair(thread_table(first.home()).used(), thread_table(second.home()).used());
      lock_each_in_turn(20);
      require(used == std::pair(thread_table(first.home()).used(), thread_table(second.home()).used()));
    });
    lock_each_in_turn(1);
  }));
}

TEST(LockAtExit, IsLockedForTheFirstTimeByAStaticDestructor) {
  EXPECT_TRUE(exits_well([] {
    static far_apart both;
    static const at_destruction last([] {
      both.second().lock();
      require(is_held_for_others(both.second()));
      both.second().unlock();
    });
  }));
}

TEST(LockAtExit, OfAProcessThatEndsWithItIsToldOf) {
  static mutex guard;
  process child([] {
    static const at_destruction last([] { guard.lock(); });
    guard.lock();
    guard.unlock();
    std::exit(0);
  });
  const pid_t id = child.id();
  EXPECT_TRUE(succeeds(child));
  EXPECT_EQ(dead_told_by([] { guard.lock(); }).process, id);
  guard.consistent();
  guard.unlock();
}

TEST(LockAtExit, IsNoHindranceToAForkInAStaticDestructor) {
  EXPECT_TRUE(exits_well([] {
    static mutex guard;
    static const at_destruction last([] {
      // What was freed before has other contents now.
      std::vector<std::vector<unsigned char>> filling;
      for (std::size_t size = 16; size <= 128; size += 16) {
        for (int i = 0; i < 64; ++i) {
          filling.emplace_back(size, 0x41);
        }
      }
      require(in_child([] {
        // The child holds nothing of it, and locks as any other.
        mutex own;
        own.lock();
        own.unlock();
        return !guard.try_lock() && code_of([] { guard.unlock(); }) == std::errc::operation_not_permitted;
      }));
      require(is_held_for_others(guard));
      guard.unlock();
    });
    guard.lock();
  }));
}

TEST(LockAtExit, IsNoHindranceToAForkInAnExitHandler) {
  EXPECT_TRUE(exits_well([] {
    static mutex guard;
    require(std::atexit([] {
              require(in_child([] {
                guard.lock();
                guard.unlock();
                return true;
              }));
              guard.lock();
              guard.unlock();
            }) == 0);
    guard.lock();
    guard.unlock();
  }));
}

TEST(LockAtThreadEnd, IsHeldUntilADestructorOfAThreadLocalUnlocksIt) {
  EXPECT_TRUE(in_child([] {
    mutex guard;
    std::thread([&] {
      thread_local const at_destruction last([&] {
        require(is_held_for_others(guard));
        guard.unlock();
      });
      guard.lock();
    }).join();
    return guard.try_lock();
  }));
}

TEST(LockAtThreadEnd, IsLockedForTheFirstTimeByADestructorOfAThreadLocal) {
  EXPECT_TRUE(in_child([] {
    mutex guard;
    bool held = false;
    std::thread([&] {
      thread_local const at_destruction last([&] {
        guard.lock();
        held = is_held_for_others(guard);
        guard.unlock();
      });
    }).join();
    return held && guard.try_lock();
  }));
}

TEST(LockAtThreadEnd, TwoOfDifferentArenasAreLockedTogetherByADestructorOfAThreadLocal) {
  EXPECT_TRUE(in_child([] {
    far_apart both;
    std::thread([&] {
      thread_local const at_destruction last([&] {
        both.first().lock();
        both.second().lock();
        both.second().unlock();
        both.first().unlock();
      });
      both.first().lock();
      both.first().unlock();
    }).join();
    return both.first().try_lock() && both.second().try_lock();
  }));
}

TEST(LockAtThreadEnd, IsHeldUntilADestructorOfThreadSpecificDataUnlocksIt) {
  // Those run after all of thread_local objects.
  EXPECT_TRUE(in_child([] {
    mutex guard;
    pthread_key_t key{};
    require(::pthread_key_create(&key, [](void* data) {
              auto& held = *static_cast<mutex*>(data);
              require(is_held_for_others(held));
              held.unlock();
            }) == 0);
    std::thread([&] {
      require(::pthread_setspecific(key, &guard) == 0);
      guard.lock();
    }).join();
    return guard.try_lock();
  }));
}

TEST(LockAtThreadEnd, IsNoHindranceToAForkInADestructorOfAThreadLocal) {
  EXPECT_TRUE(in_child([] {
    mutex guard;
    std::thread([&] {
      thread_local const at_destruction last([&] {
        require(in_child([&] { return !guard.try_lock(); }));
        guard.unlock();
      });
      guard.lock();
    }).join();
    return guard.try_lock();
  }));
}

TEST(LockAtThreadEnd, OfAThreadThatEndsWithItIsToldOfOnceItHasEnded) {
  mutex guard;
  pid_t id = 0;
  std::thread([&] {
    id = ::gettid();
    guard.lock();
  }).join();
  EXPECT_EQ(dead_told_by([&] { guard.lock(); }).thread, id);
  guard.unlock();
}

}  // namespace
