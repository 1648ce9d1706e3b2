// A producer that was stopped in the middle of a push, and a holder of leases that has half ended: neither stops the
// others.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <thread>
#include <utility>

#include "byte_queue_support.hpp"
#include "memory/segment.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::byte_queue;
using shoal::deadline;
using shoal::lease;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::reserved_record;
using shoal::test::becomes_readable;
using shoal::test::eventually;
using shoal::test::is_readable;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

/// A process that was stopped while it held a lock, until this object ends: then it is killed.
class stopped_holder {
 public:
  stopped_holder(byte_queue& queue, shoal::sync::robust_mutex& (*lock_of)(shoal::queue::control&))
      : memory_(shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue)),
        process_([this, lock_of] {
          auto& shared = *memory_.at<shoal::queue::control>(shoal::queue::control_offset);
          if (lock_of(shared).lock_until(after(patience)) == shoal::sync::lock_result::acquired) {
            push(ready_, "stopped");
            pop(never_);
          }
        }) {
    EXPECT_EQ(pop(ready_), "stopped");
  }
  stopped_holder(const stopped_holder&) = delete;
  stopped_holder& operator=(const stopped_holder&) = delete;
  ~stopped_holder() {
    process_.kill();
    EXPECT_TRUE(process_.join().signaled());
  }

 private:
  byte_queue ready_;
  byte_queue never_;
  shoal::memory::segment memory_;
  process process_;
};

/// One that was stopped while it pushed.
class stopped_producer : public stopped_holder {
 public:
  explicit stopped_producer(byte_queue& queue)
      : stopped_holder(
            queue, [](shoal::queue::control & of) -> auto& { return of.tail.lock; }) {}
};

/// One that was stopped while it popped.
class stopped_consumer : public stopped_holder {
 public:
  explicit stopped_consumer(byte_queue& queue)
      : stopped_holder(
            queue, [](shoal::queue::control & of) -> auto& { return of.head.lock; }) {}
};

/// How often one of two threads that attempt something again and again, one of them a hundred times, finds the lock of
/// their end of the queue taken.
template <class Attempt>
int times_locked_out(Attempt attempt) {
  std::atomic<int> locked_out = 0;
  std::atomic<bool> enough = false;
  const auto try_once = [&] {
    if (attempt() == queue_status::busy) {
      ++locked_out;
      std::this_thread::sleep_for(1ms);
    }
  };
  std::thread other([&] {
    while (!enough) {
      try_once();
    }
  });
  for (int i = 0; i < 100; ++i) {
    try_once();
  }
  enough = true;
  other.join();
  return locked_out;
}

/// Whether it is mostly so. On a busy machine one that has the lock may not run for long: so a few times.
template <class Attempt>
bool locks_others_out(Attempt attempt) {
  constexpr int few = 50;
  for (int round = 0; round < 10; ++round) {
    if (times_locked_out(attempt) < few) {
      return false;
    }
  }
  return true;
}

/// Calls `f` in another thread, and takes records without waiting, as long as there are any, until it has returned.
/// @return how many could not be taken at once.
template <class F>
int refused_during(byte_queue& queue, F f) {
  std::atomic<bool> has_ended = false;
  std::thread other([&] {
    f();
    has_ended = true;
  });
  record got;
  int refused = 0;
  while (!has_ended) {
    refused += queue.size() > 1 && queue.pop(got, no_waiting) != queue_status::ok ? 1 : 0;
    std::this_thread::sleep_for(1ms);
  }
  other.join();
  return refused;
}

/// Calls `f(until)` until it says something else than that it is to be called again.
template <class F>
queue_status patiently(F f, std::chrono::milliseconds limit) {
  const deadline until = after(limit);
  queue_status status{};
  do {
    status = f(until);
  } while (status == queue_status::interrupted);
  return status;
}

lease take_one_of(byte_queue& queue, int count) {
  push(queue, "leased");
  for (int i = 1; i < count; ++i) {
    push(queue, "x");
  }
  lease taken;
  EXPECT_EQ(queue.pop(taken, no_waiting), queue_status::ok);
  return taken;
}

TEST(ByteQueueStopped, AProducerDoesNotStopConsumersWhileALeaseIsGivenBack) {
  byte_queue queue;
  lease taken = take_one_of(queue, 2'000);
  {
    const stopped_producer producer(queue);
    const auto give_back = [&](deadline until) { return taken.give_back(until); };
    EXPECT_EQ(refused_during(queue, [&] { EXPECT_EQ(patiently(give_back, 300ms), queue_status::timed_out); }), 0);
    EXPECT_TRUE(taken.active());
  }
  EXPECT_EQ(patiently([&](deadline until) { return taken.give_back(until); }, patience), queue_status::ok);
  EXPECT_EQ(pop(queue), "leased");
}

TEST(ByteQueueStopped, AProducerDoesNotStopConsumersWhileALeaseEndsNorItsEnd) {
  byte_queue queue;
  lease taken = take_one_of(queue, 4'000);
  {
    const stopped_producer producer(queue);
    EXPECT_EQ(refused_during(queue, [&] { const lease ended = std::move(taken); }), 0);
    record got;
    while (queue.pop(got, no_waiting) == queue_status::ok) {
      EXPECT_EQ(shoal::test::text_of(got), "x");
    }
  }
  EXPECT_EQ(pop(queue), "leased");
  EXPECT_EQ(queue.leased(), 0U);
}

TEST(ByteQueueStopped, AProducerDoesNotStopConsumersWhileTheQueueIsClosedClearedOrPolled) {
  byte_queue queue;
  lease taken = take_one_of(queue, 2'000);
  const stopped_producer producer(queue);
  std::size_t dropped = 0;
  const auto close = [&](deadline until) { return queue.close(until); };
  const auto clear = [&](deadline until) { return queue.clear(dropped, until); };
  const auto poll = [&](deadline until) { return queue.start_polling(until); };
  EXPECT_EQ(refused_during(queue, [&] { EXPECT_EQ(patiently(close, 120ms), queue_status::timed_out); }), 0);
  EXPECT_EQ(refused_during(queue, [&] { EXPECT_EQ(patiently(clear, 120ms), queue_status::timed_out); }), 0);
  EXPECT_EQ(refused_during(queue, [&] { EXPECT_EQ(patiently(poll, 120ms), queue_status::timed_out); }), 0);
  EXPECT_EQ(dropped, 0U);
  EXPECT_FALSE(queue.closed());
  EXPECT_TRUE(taken.acknowledge());
}

// Else both ends could wait for each other: one that found the queue empty, and one that finds it full since.
TEST(ByteQueueStopped, AConsumerThatFindsNothingHoldsNoLockWhileItWaitsForAProducer) {
  byte_queue queue;
  const int fd = queue.native_handle();
  push(queue, "x");
  const stopped_producer producer(queue);
  EXPECT_EQ(pop(queue), "x");
  EXPECT_TRUE(is_readable(fd));
  EXPECT_FALSE(locks_others_out([&] {
    record got;
    return queue.pop(got, no_waiting);
  }));
}

TEST(ByteQueueStopped, AProducerThatFindsNoRoomHoldsNoLockWhileItWaitsForAConsumer) {
  byte_queue queue({.capacity = 1});
  const int fd = queue.room_handle();
  push(queue, "x");
  EXPECT_TRUE(is_readable(fd));
  const stopped_consumer consumer(queue);
  EXPECT_FALSE(locks_others_out([&] { return queue.push(shoal::encoding::raw, shoal::const_bytes{}, no_waiting); }));
}

TEST(ByteQueueStopped, AProducerMakesAReservationGiveUpAtItsDeadline) {
  byte_queue queue;
  const stopped_producer producer(queue);
  reserved_record room;
  EXPECT_EQ(queue.reserve(room, 100'000, no_waiting), queue_status::busy);
  EXPECT_EQ(queue.reserve(room, 100'000, after(20ms)), queue_status::timed_out);
}

/// It is what /proc tells of a process.
bool first_thread_has_ended(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  return std::string(std::istreambuf_iterator<char>(file), {}).find(") Z ") != std::string::npos;
}

TEST(ByteQueueStopped, ALeaseHolderWhoseFirstThreadHasEndedDoesNotKeepAnEmptyQueueReadable) {
  byte_queue queue;
  byte_queue ready;
  const int fd = queue.native_handle();
  push(queue, "leased");
  const pid_t holder = ::fork();
  ASSERT_GE(holder, 0);
  if (holder == 0) {
    std::promise<void> took;
    std::thread([&] {
      lease taken;
      (void)queue.pop(taken, after(patience));
      took.set_value();
      push(ready, "has it");
      ::pause();
    }).detach();
    took.get_future().wait();
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  EXPECT_EQ(pop(ready), "has it");
  EXPECT_TRUE(eventually([&] { return first_thread_has_ended(holder); }));
  EXPECT_FALSE(is_readable(fd));
  for (int i = 0; i < 10; ++i) {
    push(queue, "x");
    EXPECT_TRUE(is_readable(fd));
    EXPECT_EQ(pop(queue), "x");
    EXPECT_FALSE(is_readable(fd));
  }
  ::kill(holder, SIGKILL);
  EXPECT_TRUE(becomes_readable(fd));
  EXPECT_EQ(::waitpid(holder, nullptr, 0), holder);
  EXPECT_EQ(pop(queue), "leased");
}

TEST(ByteQueueStopped, AProcessWhoseFirstThreadHasEndedCanTakeALease) {
  byte_queue queue;
  byte_queue ready;
  push(queue, "leased");
  const pid_t holder = ::fork();
  ASSERT_GE(holder, 0);
  if (holder == 0) {
    std::thread([&] {
      lease taken;
      const bool is_right = eventually([] { return first_thread_has_ended(::getpid()); }) &&
                            queue.pop(taken, after(patience)) == queue_status::ok && taken.acknowledge();
      push(ready, is_right ? "took it" : "could not");
      ::_exit(0);
    }).detach();
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  EXPECT_EQ(pop(ready), "took it");
  EXPECT_EQ(::waitpid(holder, nullptr, 0), holder);
  EXPECT_EQ(queue.leased(), 0U);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
