// Processes by all start methods.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "process_support.hpp"
#include "shoal/barrier.hpp"
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
#include "start_method_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::exit_status;
using shoal::process;
using shoal::process_options;
using shoal::remote_error;
using shoal::start_method;
using shoal::test::open_descriptors;
using shoal::test::patience;
using shoal::test::text_of;

class ProcessStart : public shoal::test::by_each_method {};

INSTANTIATE_BY_EACH_METHOD(ProcessStart);

// --- Functions and arguments

int add(int left, const std::string& right) { return left + std::stoi(right); }

TEST_P(ProcessStart, RunsAFunctionWithItsArguments) { EXPECT_EQ(run(add, 40, "2"), exit_status::exited_with(42)); }

TEST_P(ProcessStart, RunsALambdaWithoutCaptures) {
  EXPECT_EQ(run([](const std::vector<std::string>& words) { return static_cast<int>(words.size()); },
                std::vector<std::string>{"one", "two"}),
            exit_status::exited_with(2));
}

struct multiplier {
  int factor;
  int operator()(int value) const { return factor * value; }
};
struct named_multiplier {
  std::string name;
  std::vector<int> factors;
  int operator()(int value) const { return factors.at(1) * value + static_cast<int>(name.size()); }
};

TEST_P(ProcessStart, RunsAFunctionObjectWithItsMembers) {
  EXPECT_EQ(run(multiplier{3}, 4).code(), 12);
  EXPECT_EQ(run(named_multiplier{"four", {1, 2}}, 4).code(), 12);
}

struct shape {
  int sides;
  shape() : sides(0) {}
  explicit shape(int count) : sides(count) {}
  virtual ~shape() = default;
  shape(const shape&) = default;
  shape& operator=(const shape&) = default;
  [[nodiscard]] int plain() const { return sides; }
  [[nodiscard]] virtual int overridden() const { return -1; }
};
struct square : shape {
  square() : shape(4) {}
  [[nodiscard]] int overridden() const override { return 16; }
};

}  // namespace

template <>
struct shoal::codec<square> {
  static void encode(encoder& out, const square& /*value*/) { out.nil(); }
  static square decode(decoder& in) {
    in.nil();
    return {};
  }
};

namespace {

TEST_P(ProcessStart, RunsAMemberFunction) {
  EXPECT_EQ(run(&shape::plain, square()).code(), 4);
  EXPECT_EQ(run(&shape::overridden, square()).code(), 16);
}

int apply_to(int (*function)(int, const std::string&), int value) { return function(value, "5"); }

TEST_P(ProcessStart, SendsFunctionPointersAsArguments) { EXPECT_EQ(run(apply_to, add, 6).code(), 11); }

TEST_P(ProcessStart, SendsMuch) {
  const std::string much(3'000'000, 'x');
  EXPECT_EQ(run([](const std::string& text) { return text.find_first_not_of('x') == std::string::npos ? 7 : 1; }, much)
                .code(),
            7);
}

TEST_P(ProcessStart, ExceptionArrivesWithTypeAndText) {
  process child(
      by_method(), [](int row) { throw std::out_of_range("no row " + std::to_string(row)); }, 7);
  try {
    join_soon(child);
    FAIL() << "nothing was thrown";
  } catch (const remote_error& error) {
    EXPECT_EQ(error.type(), "std::out_of_range");
    EXPECT_EQ(error.message(), "no row 7");
  }
}

TEST_P(ProcessStart, SignalThatKilledTheChildIsReported) {
  EXPECT_EQ(run([] { ::raise(SIGKILL); }), exit_status::killed_by(SIGKILL));
}

TEST_P(ProcessStart, ChildStartsChildrenOfItsOwn) {
  EXPECT_EQ(run(
                [](int method) {
                  process child(process_options{.method = static_cast<start_method>(method)}, add, 1, "2");
                  return child.join().code();
                },
                static_cast<int>(GetParam()))
                .code(),
            3);
}

TEST_P(ProcessStart, LeavesNoDescriptorBehind) {
  run([] {});  // a fork server stays
  const auto before = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    run(add, 1, "1");
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(ProcessStart, HasNoDescriptorsButTheStandardOnes) {
  if (is_fork()) {
    GTEST_SKIP() << "a fork has all";
  }
  const int leaked = ::fcntl(STDERR_FILENO, F_DUPFD, 30);
  EXPECT_EQ(run([] { return static_cast<int>(open_descriptors()); }).code(), 3);
  ::close(leaked);
}

TEST_P(ProcessStart, IsSentWhatItsFunctionRefersTo) {
  int local = 1;
  if (is_fork()) {
    EXPECT_EQ(run([&local] { return local; }).code(), 1);
    return;
  }
  try {
    process child(by_method(), [&local] { return local; });
    FAIL() << "started";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("lambda with captures"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(text_of(GetParam())), std::string::npos) << error.what();
  }
  try {
    process child(
        by_method(), [](const int& value) { return value; }, std::ref(local));
    FAIL() << "started";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("argument"), std::string::npos) << error.what();
  }
}

// --- Objects in shared memory

void work(shoal::queue<int>& tasks, shoal::queue<std::string> results) {
  for (const int task : tasks) {
    results.push(std::to_string(2 * task));
  }
}

TEST_P(ProcessStart, QueuesArriveByReferenceAndByValue) {
  shoal::queue<int> tasks;
  shoal::queue<std::string> results(10);
  process child(by_method(), work, std::ref(tasks), std::ref(results));
  tasks.push(21);
  tasks.close();
  EXPECT_EQ(join_soon(child), exit_status::exited_with(0));
  EXPECT_EQ(results.pop(), "42");
}

TEST_P(ProcessStart, QueueIsGivenAway) {
  shoal::queue<int> tasks;
  tasks.push(9);
  EXPECT_EQ(run([](shoal::queue<int> given) { return given.pop(); }, std::move(tasks)).code(), 9);
}

int count_under_lock(shoal::mutex& mutex, shoal::shared_value<int>& value, shoal::shared_array<long> array,
                     const shoal::byte_queue& bytes) {
  const std::lock_guard lock(mutex);
  ++*value;
  array[1] = 5;
  return static_cast<int>(bytes.size());
}

TEST_P(ProcessStart, LocksAndSharedMemoryArrive) {
  shoal::mutex mutex;
  shoal::shared_value<int> value(41);
  shoal::shared_array<long> array(3);
  const shoal::byte_queue bytes;
  EXPECT_EQ(run(count_under_lock, std::ref(mutex), std::ref(value), std::ref(array), std::cref(bytes)).code(), 0);
  EXPECT_EQ(*value, 42);
  EXPECT_EQ(array[1], 5);
}

int use_all(shoal::event event, shoal::latch latch, shoal::counting_semaphore semaphore,
            shoal::recursive_mutex recursive, shoal::shared_mutex shared, shoal::condition_variable condition,
            shoal::barrier<>& barrier) {
  const std::scoped_lock lock(recursive, shared);
  condition.notify_all();
  semaphore.release();
  latch.count_down();
  event.set();
  barrier.arrive_and_wait();
  return 17;
}

TEST_P(ProcessStart, AllKindsOfSharedObjectsArrive) {
  shoal::event event;
  shoal::latch latch(1);
  shoal::counting_semaphore semaphore(0);
  shoal::recursive_mutex recursive;
  shoal::shared_mutex shared;
  shoal::condition_variable condition;
  shoal::barrier<> barrier(2);
  process child(by_method(), use_all, std::ref(event), std::ref(latch), std::ref(semaphore), std::ref(recursive),
                std::ref(shared), std::ref(condition), std::ref(barrier));
  barrier.arrive_and_wait();
  EXPECT_EQ(join_soon(child).code(), 17);
  EXPECT_TRUE(event.is_set());
  EXPECT_TRUE(latch.try_wait());
  EXPECT_TRUE(semaphore.try_acquire());
}

}  // namespace
