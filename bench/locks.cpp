// What locking, waiting and being told costs, and what the same costs with nothing but the C library and the kernel.
//
//     locks uncontended mutex|robust COUNT    lock and unlock what nobody else uses
//     locks contended mutex|robust COUNT      the same by two processes on two processors, COUNT each
//     locks hand_over condition|futex COUNT   round trips of a turn between two processes, by a condition variable with
//                                             its mutex, or by two futex words and nothing else
//     locks barrier COUNT                     phases of two processes
//     locks create COUNT                      construct and destroy a mutex
//     locks share COUNT                       two processes lock and unlock for COUNT turns altogether: prints the
//                                             smaller share in percent, 50 would be fair
//     locks longest_wait COUNT                the same: prints the longest wait of either, in seconds
//
// robust: a pthread_mutex_t, process-shared and robust, the closest that POSIX has.

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>

#include "processes.hpp"
#include "shoal/barrier.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/mutex.hpp"

namespace {

class robust_mutex {
 public:
  robust_mutex() {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&mutex_, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
  }
  void lock() { ::pthread_mutex_lock(&mutex_); }
  void unlock() { ::pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t& mutex_ = bench::make_shared<pthread_mutex_t>();
};

template <class Mutex>
void lock_and_unlock(Mutex& mutex, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    mutex.lock();
    mutex.unlock();
  }
}

template <class Mutex>
double uncontended(std::size_t count) {
  Mutex mutex;
  lock_and_unlock(mutex, 1000);
  const auto begin = bench::clock::now();
  lock_and_unlock(mutex, count);
  return bench::seconds_since(begin);
}

template <class Mutex>
double contended(std::size_t count) {
  Mutex mutex;
  return bench::seconds_together([&] { lock_and_unlock(mutex, count); }, [&] { lock_and_unlock(mutex, count); });
}

/// Whose turn it is, guarded by a mutex, and told by a condition variable.
class turn_by_condition {
 public:
  void pass(int from, int to) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == from; });
    turn_ = to;
    changed_.notify_one();
  }

 private:
  shoal::mutex mutex_;
  shoal::condition_variable changed_;
  int& turn_ = bench::make_shared<int>();
};

/// The least that can do it: each side sleeps on a word of its own.
class turn_by_futex {
 public:
  turn_by_futex() { shared_[0] = 1; }

  void pass(int from, int to) {
    while (shared_[from].exchange(0) == 0) {
      futex(shared_[from], FUTEX_WAIT, 0);
    }
    shared_[to].store(1);
    futex(shared_[to], FUTEX_WAKE, 1);
  }

 private:
  using word = std::atomic<std::uint32_t>;

  static void futex(word& at, int operation, std::uint32_t value) {
    ::syscall(SYS_futex, &at, operation, value, nullptr, nullptr, 0);
  }

  word* shared_ = &bench::make_shared<std::array<word, 2>>()[0];
};

template <class Turn>
double hand_over(std::size_t count) {
  Turn turn;
  const auto take_part = [&](int me) {
    for (std::size_t i = 0; i < count; ++i) {
      turn.pass(me, 1 - me);
    }
  };
  return bench::seconds_together([&] { take_part(0); }, [&] { take_part(1); });
}

double barrier(std::size_t count) {
  shoal::barrier meeting(2);
  const auto take_part = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      meeting.arrive_and_wait();
    }
  };
  return bench::seconds_together(take_part, take_part);
}

double create(std::size_t count) {
  const auto begin = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    const shoal::mutex made;
  }
  return bench::seconds_since(begin);
}

struct contest {
  std::array<std::uint64_t, 2> turns{};
  std::array<double, 2> longest_wait{};
};

/// Two processes that want a lock all the time, each for as long as some hundred instructions.
contest compete(std::size_t count) {
  struct shared_counts {
    contest counted;
    std::uint64_t left = 0;
  };
  auto& shared = bench::make_shared<shared_counts>();
  shared.left = count;
  shoal::mutex mutex;
  const auto take_part = [&](std::size_t me) {
    for (bool more = true; more;) {
      const auto begin = bench::clock::now();
      const std::scoped_lock lock(mutex);
      shared.counted.longest_wait[me] = std::max(shared.counted.longest_wait[me], bench::seconds_since(begin));
      more = shared.left > 0;
      if (more) {
        --shared.left;
        ++shared.counted.turns[me];
      }
    }
  };
  bench::seconds_together([&] { take_part(0); }, [&] { take_part(1); });
  return shared.counted;
}

double by_name(const std::string& name, std::size_t count) {
  if (name == "uncontended mutex") {
    return uncontended<shoal::mutex>(count);
  }
  if (name == "uncontended robust") {
    return uncontended<robust_mutex>(count);
  }
  if (name == "contended mutex") {
    return contended<shoal::mutex>(count);
  }
  if (name == "contended robust") {
    return contended<robust_mutex>(count);
  }
  if (name == "hand_over condition") {
    return hand_over<turn_by_condition>(count);
  }
  if (name == "hand_over futex") {
    return hand_over<turn_by_futex>(count);
  }
  if (name == "barrier") {
    return barrier(count);
  }
  if (name == "create") {
    return create(count);
  }
  if (name == "share") {
    const contest result = compete(count);
    return 100.0 * static_cast<double>(std::min(result.turns[0], result.turns[1])) / static_cast<double>(count);
  }
  if (name == "longest_wait") {
    const contest result = compete(count);
    return std::max(result.longest_wait[0], result.longest_wait[1]);
  }
  throw std::invalid_argument("expected one of those that are listed in locks.cpp");
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    std::string name;
    for (const std::string_view word : what) {
      name += name.empty() ? "" : " ";
      name += word;
    }
    return by_name(name, count);
  });
}
