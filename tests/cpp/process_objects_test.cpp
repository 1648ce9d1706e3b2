// Objects in shared memory as arguments of processes, whatever the start method.

#include <gtest/gtest.h>

#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

#include "process_support.hpp"
#include "shoal/barrier.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/condition_variable.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/event.hpp"
#include "shoal/latch.hpp"
#include "shoal/mutex.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"
#include "shoal/recursive_mutex.hpp"
#include "shoal/shared_array.hpp"
#include "shoal/shared_mutex.hpp"
#include "shoal/shared_value.hpp"
#include "shoal/stop_token.hpp"

namespace {

using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using shoal::start_method;
using shoal::test::open_descriptors;
using shoal::test::patience;

class ProcessObjects : public testing::TestWithParam<start_method> {
 protected:
  /// Starts what is to end soon and well.
  template <class... Call>
  static process start(Call&&... call) {
    return process(process_options{.method = GetParam()}, std::forward<Call>(call)...);
  }

  static void join(process child) {
    const std::optional<exit_status> status = child.join_for(patience);
    if (!status) {
      child.kill();
      child.join();
    }
    EXPECT_EQ(status, exit_status::exited_with(0));
  }
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessObjects,
                         testing::Values(start_method::fork, start_method::spawn, start_method::forkserver));

TEST_P(ProcessObjects, QueueByReference) {
  shoal::queue<std::string> words;
  join(start([](shoal::queue<std::string>& there, const std::string& word) { there.push(word); }, std::ref(words),
             "hello"));
  EXPECT_EQ(words.try_pop(), "hello");
}

TEST_P(ProcessObjects, QueueWhoseHandleIsTheFunctionsOwn) {
  shoal::queue<int> numbers;
  join(start([](shoal::queue<int> there) { there.push(7); }, std::ref(numbers)));
  EXPECT_EQ(numbers.try_pop(), 7);
}

TEST_P(ProcessObjects, QueueThatIsMovedThere) {
  shoal::queue<int> numbers;
  shoal::queue<int> theirs = shoal::queue<int>::attach(numbers.descriptors());
  join(start([](shoal::queue<int> there) { there.push(8); }, std::move(theirs)));
  EXPECT_EQ(numbers.try_pop(), 8);
}

TEST_P(ProcessObjects, SeveralQueuesAndValuesInTheirOrder) {
  shoal::queue<int> in;
  shoal::queue<int> out;
  process child = start(
      [](shoal::queue<int>& from, int factor, shoal::queue<int>& to) { to.push(from.wait_pop().value_or(0) * factor); },
      std::ref(in), 6, std::ref(out));
  in.push(7);
  join(std::move(child));
  EXPECT_EQ(out.try_pop(), 42);
}

TEST_P(ProcessObjects, ByteQueue) {
  shoal::byte_queue bytes;
  join(start([](const shoal::byte_queue& there) { return there.empty() ? 0 : 1; }, std::ref(bytes)));
}

TEST_P(ProcessObjects, Event) {
  shoal::event asked;
  shoal::event answered;
  process child = start(
      [](shoal::event& question, shoal::event& answer) {
        question.wait();
        answer.set();
      },
      std::ref(asked), std::ref(answered));
  asked.set();
  EXPECT_TRUE(answered.wait_for(patience));
  join(std::move(child));
}

template <class Mutex>
int try_locks(Mutex& mutex) {
  const std::unique_lock lock(mutex, std::try_to_lock);
  return lock.owns_lock() ? 1 : 0;
}

TEST_P(ProcessObjects, Mutex) {
  shoal::mutex mutex;
  const std::scoped_lock lock(mutex);
  join(start(try_locks<shoal::mutex>, std::ref(mutex)));
}

TEST_P(ProcessObjects, RecursiveMutex) {
  shoal::recursive_mutex mutex;
  const std::scoped_lock lock(mutex);
  join(start(try_locks<shoal::recursive_mutex>, std::ref(mutex)));
}

TEST_P(ProcessObjects, SharedMutex) {
  shoal::shared_mutex mutex;
  const std::shared_lock lock(mutex);
  join(start(
      [](shoal::shared_mutex& there) {
        const bool excluded = !there.try_lock();
        const std::shared_lock also(there, std::try_to_lock);
        return excluded && also.owns_lock() ? 0 : 1;
      },
      std::ref(mutex)));
}

TEST_P(ProcessObjects, CountingSemaphore) {
  shoal::counting_semaphore units(1);
  join(start([](shoal::counting_semaphore& there) { there.release(2); }, std::ref(units)));
  EXPECT_TRUE(units.try_acquire());
  EXPECT_TRUE(units.try_acquire());
  EXPECT_TRUE(units.try_acquire());
  EXPECT_FALSE(units.try_acquire());
}

TEST_P(ProcessObjects, ConditionVariableWithItsMutexAndValue) {
  shoal::mutex mutex;
  shoal::condition_variable changed;
  shoal::shared_value<int> turn(0);
  process child = start(
      [](shoal::mutex& guard, shoal::condition_variable& condition, shoal::shared_value<int>& value) {
        {
          const std::scoped_lock lock(guard);
          *value = 1;
        }
        condition.notify_one();
      },
      std::ref(mutex), std::ref(changed), std::ref(turn));
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, patience, [&] { return *turn == 1; }));
  }
  join(std::move(child));
}

TEST_P(ProcessObjects, Barrier) {
  shoal::barrier<> meeting(2);
  process child = start([](shoal::barrier<>& there) { there.arrive_and_wait(); }, std::ref(meeting));
  EXPECT_TRUE(meeting.arrive_and_wait_for(patience));
  join(std::move(child));
}

TEST_P(ProcessObjects, Latch) {
  shoal::latch done(1);
  process child = start([](shoal::latch& there) { there.count_down(); }, std::ref(done));
  EXPECT_TRUE(done.wait_for(patience));
  join(std::move(child));
}

TEST_P(ProcessObjects, SharedArray) {
  shoal::shared_array<double> numbers(1000);
  join(start(
      [](shoal::shared_array<double>& there) {
        for (double& number : there) {
          number = 0.5;
        }
      },
      std::ref(numbers)));
  for (const double number : numbers) {
    ASSERT_EQ(number, 0.5);
  }
}

TEST_P(ProcessObjects, StopToken) {
  shoal::stop_source source;
  process child =
      start([](const shoal::stop_token& token) { return token.wait_for(patience) ? 0 : 1; }, source.get_token());
  source.request_stop();
  join(std::move(child));
}

TEST_P(ProcessObjects, OneObjectUnderTwoNamesIsOne) {
  shoal::event event;
  join(start(
      [](shoal::event& one, shoal::event& other) {
        one.set();
        return other.is_set() ? 0 : 1;
      },
      std::ref(event), std::ref(event)));
}

TEST_P(ProcessObjects, MoreDescriptorsThanAMessageHolds) {
  std::vector<shoal::queue<int>> queues;
  for (int i = 0; i < 8; ++i) {
    queues.emplace_back();
  }
  const auto fill = [](shoal::queue<int>& a, shoal::queue<int>& b, shoal::queue<int>& c, shoal::queue<int>& d,
                       shoal::queue<int>& e, shoal::queue<int>& f, shoal::queue<int>& g, shoal::queue<int>& h) {
    for (shoal::queue<int>* each : {&a, &b, &c, &d, &e, &f, &g, &h}) {
      each->push(1);
    }
  };
  join(start(fill, std::ref(queues[0]), std::ref(queues[1]), std::ref(queues[2]), std::ref(queues[3]),
             std::ref(queues[4]), std::ref(queues[5]), std::ref(queues[6]), std::ref(queues[7])));
  for (shoal::queue<int>& queue : queues) {
    EXPECT_EQ(queue.try_pop(), 1);
  }
}

TEST_P(ProcessObjects, NoDescriptorIsLeftBehind) {
  shoal::queue<int> numbers;
  shoal::event event;
  const auto start_one = [&] {
    join(start([](shoal::queue<int>& there, shoal::event& happened) { there.push(1), happened.set(); },
               std::ref(numbers), std::ref(event)));
  };
  start_one();
  const std::ptrdiff_t before = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    start_one();
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
