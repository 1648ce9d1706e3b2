#include "shoal/byte_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "byte_queue_support.hpp"
#include "memory/segment.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::byte_queue;
using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::test::bytes_of;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;
using shoal::test::text_of;

/// A text whose length and contents follow from `seed`, so that a damaged or mixed-up one is noticed.
std::string sample(unsigned seed, std::size_t longest) {
  std::string text(seed * 2654435761U % longest, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<char>(seed + i);
  }
  return text;
}

TEST(ByteQueue, GivesRecordsBackInOrderWithTheirEncoding) {
  byte_queue queue;
  EXPECT_EQ(queue.push(encoding::msgpack, bytes_of("one"), no_waiting), queue_status::ok);
  EXPECT_EQ(queue.push(encoding::pickle, bytes_of("two"), no_waiting), queue_status::ok);
  record got;
  ASSERT_EQ(queue.pop(got, no_waiting), queue_status::ok);
  EXPECT_EQ(text_of(got), "one");
  EXPECT_EQ(got.tag(), encoding::msgpack);
  ASSERT_EQ(queue.pop(got, no_waiting), queue_status::ok);
  EXPECT_EQ(text_of(got), "two");
  EXPECT_EQ(got.tag(), encoding::pickle);
  EXPECT_EQ(queue.pop(got, no_waiting), queue_status::timed_out);
}

TEST(ByteQueue, JoinsThePartsOfARecord) {
  byte_queue queue;
  const std::string first = "ab";
  const std::string second = "cde";
  const const_bytes parts[] = {bytes_of(first), {}, bytes_of(second)};
  ASSERT_EQ(queue.push(encoding::raw, parts, no_waiting), queue_status::ok);
  EXPECT_EQ(pop(queue), "abcde");
}

TEST(ByteQueue, TakesRecordsOfAnyLength) {
  byte_queue queue;
  const std::size_t chunk = 64 * 1024;
  const std::vector<std::size_t> lengths{0,         1,         7,         8,         9,         4096,    chunk - 9,
                                         chunk - 8, chunk - 7, chunk - 1, chunk,     chunk + 1, 1 << 20, 3,
                                         5 << 20,   2,         chunk / 2, chunk / 2, chunk / 2};
  for (const std::size_t length : lengths) {
    ASSERT_EQ(push(queue, std::string(length, static_cast<char>(length))), queue_status::ok);
  }
  for (const std::size_t length : lengths) {
    EXPECT_EQ(pop(queue), std::string(length, static_cast<char>(length)));
  }
}

TEST(ByteQueue, KeepsOrderThroughManyTurnsOfItsChunks) {
  byte_queue queue;
  unsigned put = 0;
  unsigned got = 0;
  for (unsigned round = 0; round < 400; ++round) {
    for (unsigned i = 0; i < round % 37; ++i) {
      ASSERT_EQ(push(queue, sample(put++, round % 11 == 0 ? 200'000 : 3'000)), queue_status::ok);
    }
    for (unsigned i = 0; i < round % 41 && got < put; ++i, ++got) {
      record taken;
      ASSERT_EQ(queue.pop(taken, no_waiting), queue_status::ok);
      ASSERT_EQ(taken.bytes().size() % 3'000, text_of(taken).size() % 3'000);
      if (!taken.bytes().empty()) {
        ASSERT_EQ(text_of(taken)[0], static_cast<char>(got));
      }
    }
    ASSERT_EQ(queue.size(), put - got);
  }
}

TEST(ByteQueue, ReusesItsMemory) {
  byte_queue queue({.max_bytes = 2 << 20});
  for (int i = 0; i < 2'000; ++i) {  // a hundred times what it may grow to
    ASSERT_EQ(push(queue, std::string(100'000, 'x')), queue_status::ok) << i;
    ASSERT_EQ(pop(queue).size(), 100'000U);
  }
}

TEST(ByteQueue, ReusesItsMemoryForRecordsOfVaryingLength) {
  byte_queue queue({.max_bytes = 16 << 20});
  for (unsigned i = 0; i < 4'000; ++i) {
    ASSERT_EQ(push(queue, sample(i, i % 3 == 0 ? 400'000 : 70'000)), queue_status::ok) << i;
    if (i >= 5) {
      ASSERT_EQ(pop(queue), sample(i - 5, (i - 5) % 3 == 0 ? 400'000 : 70'000));
    }
  }
}

TEST(ByteQueue, HoldsNoMoreThanItsCapacity) {
  byte_queue queue({.capacity = 2});
  EXPECT_EQ(push(queue, "1"), queue_status::ok);
  EXPECT_EQ(push(queue, "2"), queue_status::ok);
  EXPECT_EQ(push(queue, "3"), queue_status::timed_out);
  EXPECT_EQ(queue.push(encoding::raw, bytes_of("3"), after(20ms)), queue_status::timed_out);
  EXPECT_EQ(pop(queue), "1");
  EXPECT_EQ(push(queue, "3"), queue_status::ok);
  EXPECT_EQ(queue.size(), 2U);
}

TEST(ByteQueue, CountsExactly) {
  byte_queue queue;
  EXPECT_TRUE(queue.empty());
  for (int i = 0; i < 1000; ++i) {
    push(queue, "x");
    EXPECT_EQ(queue.size(), static_cast<std::size_t>(i + 1));
  }
  pop(queue);
  EXPECT_EQ(queue.size(), 999U);
  EXPECT_EQ(queue.pushed(), 1000U);
  EXPECT_EQ(queue.popped(), 1U);
}

TEST(ByteQueue, WithoutMemoryRefusesAndStaysUsable) {
  byte_queue queue({.max_bytes = 1 << 20});
  const std::string half(300'000, 'x');
  EXPECT_THROW(push(queue, std::string(2 << 20, 'x')), std::bad_alloc);
  int held = 0;
  try {
    for (;;) {
      ASSERT_EQ(push(queue, half), queue_status::ok);
      ++held;
    }
  } catch (const std::bad_alloc&) {
  }
  EXPECT_GE(held, 1);
  EXPECT_EQ(queue.size(), static_cast<std::size_t>(held));
  for (; held > 0; --held) {
    EXPECT_EQ(pop(queue), half);
  }
  EXPECT_EQ(push(queue, half), queue_status::ok);
  EXPECT_EQ(pop(queue), half);
}

TEST(ByteQueue, TooSmallToHoldAnythingIsRefusedAtOnce) {
  EXPECT_THROW(byte_queue({.max_bytes = 1}), std::invalid_argument);
}

TEST(ByteQueue, IsSharedWithAForkedChildBothWays) {
  byte_queue there;
  byte_queue back;
  process child([&] {
    for (std::string text = pop(there); text != "end"; text = pop(there)) {
      push(back, text + "!");
    }
  });
  for (int i = 0; i < 100; ++i) {
    push(there, std::to_string(i));
    EXPECT_EQ(pop(back), std::to_string(i) + "!");
  }
  push(there, "end");
  EXPECT_TRUE(child.join().success());
}

TEST(ByteQueue, ThatWasOverwrittenSaysSoInsteadOfCrashing) {
  byte_queue queue;
  push(queue, "first");
  const auto raw = shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
  std::memset(raw.data() + shoal::queue::first_chunk_offset, 0x5a, shoal::memory::page_size);
  record got;
  try {
    queue.pop(got, no_waiting);
    FAIL() << "popped garbage";
  } catch (const shoal::error& corrupt) {
    EXPECT_EQ(corrupt.code(), shoal::errc::corrupt_record);
    EXPECT_THAT(corrupt.what(), testing::HasSubstr("written over"));
  }
}

TEST(ByteQueue, WakesASleepingConsumer) {
  byte_queue queue;
  process consumer([&] { return pop(queue) == "late" ? 0 : 1; });
  std::this_thread::sleep_for(20ms);  // so that it sleeps, most likely; the test holds either way
  push(queue, "late");
  EXPECT_TRUE(consumer.join().success());
}

TEST(ByteQueue, WakesASleepingProducer) {
  byte_queue queue({.capacity = 1});
  push(queue, "1");
  process producer([&] { return push(queue, "2", after(patience)) == queue_status::ok ? 0 : 1; });
  EXPECT_EQ(pop(queue), "1");
  EXPECT_EQ(pop(queue), "2");
  EXPECT_TRUE(producer.join().success());
}

TEST(ByteQueue, TimesOutAndNotEarly) {
  byte_queue queue;
  record got;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(queue.pop(got, after(50ms)), queue_status::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
}

void do_nothing(int /*signal*/) {}

TEST(ByteQueue, ASignalInterruptsAWait) {
  struct sigaction action {};
  action.sa_handler = do_nothing;
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  byte_queue queue;
  const pthread_t self = ::pthread_self();
  std::atomic<bool> done = false;
  std::thread sender([&] {
    while (!done) {
      ::pthread_kill(self, SIGUSR1);
      std::this_thread::sleep_for(1ms);
    }
  });
  record got;
  EXPECT_EQ(queue.pop(got, after(patience)), queue_status::interrupted);
  done = true;
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST(ByteQueue, ClosedTakesNothingMoreAndDrains) {
  byte_queue queue;
  push(queue, "last");
  queue.close();
  queue.close();
  EXPECT_TRUE(queue.closed());
  EXPECT_EQ(push(queue, "too late"), queue_status::closed);
  EXPECT_EQ(pop(queue), "last");
  record got;
  EXPECT_EQ(queue.pop(got, after(patience)), queue_status::closed);
}

TEST(ByteQueue, CloseWakesAllWhoWait) {
  byte_queue empty;
  byte_queue full({.capacity = 1});
  push(full, "x");
  const auto wait_for_close = [](auto attempt) {
    queue_status status{};
    do {
      status = attempt();
    } while (status == queue_status::interrupted);
    return status == queue_status::closed ? 0 : 1;
  };
  process first([&] {
    record got;
    return wait_for_close([&] { return empty.pop(got, after(patience)); });
  });
  process second([&] {
    record got;
    return wait_for_close([&] { return empty.pop(got, after(patience)); });
  });
  process third([&] { return wait_for_close([&] { return push(full, "y", after(patience)); }); });
  std::this_thread::sleep_for(20ms);  // so that they sleep, most likely
  empty.close();
  full.close();
  EXPECT_TRUE(first.join().success());
  EXPECT_TRUE(second.join().success());
  EXPECT_TRUE(third.join().success());
}

TEST(ByteQueue, ManyProducersAndConsumersLoseAndDoubleNothing) {
  constexpr int producers = 3;
  constexpr int consumers = 3;
  constexpr int each = 20'000;
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{100}}) {
    byte_queue queue({.capacity = capacity});
    byte_queue sums;
    const int items = capacity == 1 ? each / 20 : each;
    std::vector<process> running;
    for (int p = 0; p < producers; ++p) {
      running.emplace_back([&, p] {
        for (int i = 0; i < items; ++i) {
          if (push(queue, std::to_string(p) + " " + std::to_string(i), after(patience)) != queue_status::ok) {
            return 1;
          }
        }
        return 0;
      });
    }
    for (int c = 0; c < consumers; ++c) {
      running.emplace_back([&] {
        std::vector<int> last(producers, -1);
        long count = 0;
        long sum = 0;
        for (std::string text = pop(queue); text != "end"; text = pop(queue)) {
          int producer = 0;
          int number = 0;
          if (std::sscanf(text.c_str(), "%d %d", &producer, &number) != 2 || number <= last[producer]) {
            return 1;  // nothing came, or a producer's records out of order
          }
          last[producer] = number;
          ++count;
          sum += number;
        }
        push(sums, std::to_string(count) + " " + std::to_string(sum));
        return 0;
      });
    }
    for (int p = 0; p < producers; ++p) {
      EXPECT_TRUE(running[p].join().success());
    }
    for (int c = 0; c < consumers; ++c) {
      ASSERT_EQ(push(queue, "end", after(patience)), queue_status::ok);
    }
    long count = 0;
    long sum = 0;
    for (int c = 0; c < consumers; ++c) {
      EXPECT_TRUE(running[producers + c].join().success());
      long one_count = 0;
      long one_sum = 0;
      ASSERT_EQ(std::sscanf(pop(sums).c_str(), "%ld %ld", &one_count, &one_sum), 2);
      count += one_count;
      sum += one_sum;
    }
    EXPECT_EQ(count, long{producers} * items);
    EXPECT_EQ(sum, long{producers} * items * (items - 1) / 2);
  }
}

TEST(ByteQueue, ThreadsOfOneProcessMayShareAHandle) {
  byte_queue queue({.capacity = 50});
  constexpr int each = 20'000;
  std::atomic<long> sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        EXPECT_EQ(push(queue, std::to_string(i), after(patience)), queue_status::ok);
      }
    });
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        sum += std::stol(pop(queue));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(sum, long{2} * each * (each - 1) / 2);
  EXPECT_TRUE(queue.empty());
}

TEST(ByteQueue, ClaimSaysWhatAConsumerTook) {
  byte_queue queue;
  std::atomic<std::uint64_t> claim = 0;
  record got;
  EXPECT_EQ(queue.pop(got, claim, no_waiting), queue_status::timed_out);
  EXPECT_EQ(claim, 0U);
  push(queue, "0");
  push(queue, "1");
  pop(queue);
  ASSERT_EQ(queue.pop(got, claim, no_waiting), queue_status::ok);
  EXPECT_EQ(claim, 2U);
  EXPECT_EQ(queue.popped(), 2U);
}

TEST(ByteQueue, AWakeUpThatIsNotMadeUseOfIsPassedOn) {
  // Of two sleeping consumers one is woken, finds its lock taken until its deadline, and gives up: the other must not
  // sleep on.
  byte_queue queue;
  byte_queue results;
  const auto raw = shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
  auto& shared = *raw.at<shoal::queue::control>(shoal::queue::control_offset);
  process impatient([&] {
    record got;
    const shoal::deadline until = after(300ms);
    while (queue.pop(got, until) == queue_status::interrupted) {
    }
  });
  ASSERT_TRUE(eventually([&] { return shared.items.has_sleepers(); }));
  process patient([&] { push(results, pop(queue)); });
  // Both asleep, the impatient one first in line. (Were the other not asleep yet, it would find the item at once.)
  std::this_thread::sleep_for(100ms);
  ASSERT_EQ(shared.head.lock.lock_until(after(patience)), shoal::sync::lock_result::acquired);
  ASSERT_EQ(push(queue, "item"), queue_status::ok);
  EXPECT_TRUE(impatient.join().success());
  shared.head.lock.unlock();
  EXPECT_EQ(pop(results), "item");
  EXPECT_TRUE(patient.join().success());
}

TEST(ByteQueue, ThatIsBusySaysSoAtOnceToThoseWhoDoNotWait) {
  byte_queue queue;
  push(queue, "x");
  const auto raw = shoal::memory::segment::attach(queue.descriptors().segment, shoal::memory::segment_kind::queue);
  auto& shared = *raw.at<shoal::queue::control>(shoal::queue::control_offset);
  ASSERT_EQ(shared.head.lock.try_lock(), shoal::sync::lock_result::acquired);
  ASSERT_EQ(shared.tail.lock.try_lock(), shoal::sync::lock_result::acquired);
  process other([&] {
    record got;
    const bool right = queue.pop(got, no_waiting) == queue_status::busy &&
                       queue.push(encoding::raw, bytes_of("y"), no_waiting) == queue_status::busy &&
                       queue.pop(got, after(20ms)) == queue_status::timed_out &&
                       queue.close(after(20ms)) == queue_status::timed_out;
    return right ? 0 : 1;
  });
  EXPECT_TRUE(other.join().success());
  shared.tail.lock.unlock();
  shared.head.lock.unlock();
  EXPECT_EQ(pop(queue), "x");
}

}  // namespace
