#include <gtest/gtest.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>

#include "byte_queue_support.hpp"
#include "memory/segment.hpp"
#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::byte_queue;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::test::is_readable;
using shoal::test::pop;
using shoal::test::push;

TEST(ByteQueue, DescriptorIsReadableExactlyWhileThereIsSomething) {
  byte_queue queue;
  const int fd = queue.native_handle();
  EXPECT_FALSE(is_readable(fd));
  push(queue, "1");
  EXPECT_TRUE(is_readable(fd));
  push(queue, "2");
  pop(queue);
  EXPECT_TRUE(is_readable(fd));
  pop(queue);
  EXPECT_FALSE(is_readable(fd));
}

TEST(ByteQueue, DescriptorAskedForLateIsReadableForWhatIsThereAlready) {
  byte_queue queue;
  push(queue, "1");
  EXPECT_TRUE(is_readable(queue.native_handle()));
}

TEST(ByteQueue, DescriptorIsReadableOnceClosed) {
  byte_queue queue;
  const int fd = queue.native_handle();
  queue.close();
  EXPECT_TRUE(is_readable(fd));
}

// So also if it is told that the queue is empty while somebody pushes.
TEST(ByteQueue, DescriptorWakesAnEdgeTriggeredPollerForEveryItem) {
  byte_queue queue;
  constexpr int count = 20'000;
  const shoal::os::file_descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, queue.native_handle(), &event), 0);
  process producer([&] {
    for (int pushed = 0; pushed < count; ++pushed) {
      push(queue, "item");
    }
  });
  record got;
  for (int taken = 0; taken < count;) {
    ASSERT_TRUE(shoal::test::becomes_readable(epoll.get())) << "asleep, with " << queue.size() << " items";
    ASSERT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 1);
    for (queue_status status{}; (status = queue.pop(got, no_waiting)) != queue_status::timed_out;) {
      taken += status == queue_status::ok ? 1 : 0;
    }
  }
  EXPECT_TRUE(producer.join().success());
}

TEST(ByteQueue, DescriptorWakesAPollerInAnotherProcessForEveryItem) {
  byte_queue queue;
  byte_queue acknowledgements;
  constexpr int count = 2'000;
  process poller([&] {
    const int fd = queue.native_handle();
    push(acknowledgements, "ready");
    for (int got = 0; got < count;) {
      if (!shoal::test::becomes_readable(fd)) {
        return 1;
      }
      record item;
      while (queue.pop(item, no_waiting) == queue_status::ok) {
        ++got;
        push(acknowledgements, "got");
      }
    }
    return 0;
  });
  ASSERT_EQ(pop(acknowledgements), "ready");
  for (int i = 0; i < count; ++i) {
    push(queue, "item");
    if (i % 3 == 0) {  // one at a time, so that each is an edge; and in bursts
      ASSERT_EQ(pop(acknowledgements), "got");
    }
  }
  EXPECT_TRUE(poller.join().success());
}

/// Binds this process to the first processor that it may use.
void stay_on_one_processor() {
  cpu_set_t usable;
  ASSERT_EQ(::sched_getaffinity(0, sizeof usable, &usable), 0);
  int first = 0;
  while (!CPU_ISSET(first, &usable)) {
    ++first;
  }
  CPU_ZERO(&usable);
  CPU_SET(first, &usable);
  ASSERT_EQ(::sched_setaffinity(0, sizeof usable, &usable), 0);
}

long times_asleep() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw;
}

// The producer has not come to its COMMIT when it wakes the poller, which keeps the only processor until it sleeps.
TEST(ByteQueue, APollerBeforeWhomTheProducerCannotRunSleepsUntilTheItemIsThere) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "robust_mutex::lock_until does not sleep under ThreadSanitizer";
#endif
  byte_queue queue;
  byte_queue taken;
  const int fd = queue.native_handle();
  constexpr int count = 20;
  constexpr int not_allowed = 77;
  constexpr long most_in_vain = 10'000;
  process poller([&] {
    stay_on_one_processor();
    const sched_param priority{.sched_priority = 1};
    if (::sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
      return not_allowed;
    }
    push(taken, "ready");
    long in_vain = 0;
    const long before = times_asleep();
    for (int got = 0; got < count && in_vain < most_in_vain;) {
      if (!shoal::test::becomes_readable(fd)) {
        return 1;
      }
      record item;
      if (queue.pop(item, no_waiting) == queue_status::ok) {
        ++got;
        push(taken, "taken");
      } else {
        ++in_vain;
      }
    }
    return in_vain <= times_asleep() - before ? 0 : 2;
  });
  process producer([&] {
    stay_on_one_processor();
    bool goes_on = pop(taken) == "ready";
    for (int put = 0; put < count && goes_on; ++put) {
      push(queue, "item");
      goes_on = pop(taken) == "taken";
    }
    return goes_on ? 0 : 1;
  });
  const shoal::exit_status ended = poller.join();
  if (!ended.success()) {
    producer.kill();
  }
  const bool producer_succeeded = producer.join().success();
  if (ended == shoal::exit_status::exited_with(not_allowed)) {
    GTEST_SKIP() << "needs the right to a real-time priority";
  }
  EXPECT_EQ(ended, shoal::exit_status::exited_with(0));
  EXPECT_TRUE(producer_succeeded);
}

TEST(ByteQueue, ReadinessLeftInDoubtByAKillIsPutRightByTheNextLook) {
  byte_queue queue;
  const int fd = queue.native_handle();
  const auto raw = shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
  auto& shared = *raw.at<shoal::queue::control>(shoal::queue::control_offset);
  // As after a kill between the descriptor and the word that says what it is.
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  shared.ready.state.store(shoal::queue::readiness_state::changing);
  ASSERT_TRUE(is_readable(fd));
  record got;
  EXPECT_EQ(queue.pop(got, no_waiting), queue_status::timed_out);
  EXPECT_FALSE(is_readable(fd));
  push(queue, "x");
  EXPECT_TRUE(is_readable(fd));
}

}  // namespace
