// Pools whose workers are started by each method.

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "os/pidfd.hpp"
#include "pool_support.hpp"
#include "shoal/error.hpp"
#include "shoal/queue.hpp"
#include "shoal/shared_value.hpp"
#include "start_method_support.hpp"

extern "C" int shoal_test_answer();  // of a library that this program is linked with

namespace {

using namespace std::chrono_literals;
using shoal::exit_status;
using shoal::memory_limit_exceeded;
using shoal::pool;
using shoal::pool_options;
using shoal::process;
using shoal::queue;
using shoal::shared_value;
using shoal::start_method;
using shoal::task;
using shoal::task_timed_out;
using shoal::worker_died;
using shoal::test::becomes_readable;
using shoal::test::die;
using shoal::test::failure_of;
using shoal::test::get;
using shoal::test::open_descriptors;
using shoal::test::sleep_for_long;
using shoal::test::twice;

class PoolByMethod : public shoal::test::by_each_method {
 protected:
  static pool_options by_method() { return {.method = GetParam()}; }
};
INSTANTIATE_BY_EACH_METHOD(PoolByMethod);

struct multiplier {
  std::string unit;
  int factor;
  [[nodiscard]] std::string times(int number) const { return std::to_string(number * factor) + unit; }
  std::string operator()(int number) const { return times(number); }
};

int self() { return ::getpid(); }

TEST_P(PoolByMethod, FunctionsOfAllKindsAreRun) {
  pool workers(2, by_method());
  EXPECT_EQ(get(workers.submit(twice, 21)), 42);
  EXPECT_EQ(get(workers.submit(&multiplier::times, multiplier{"kg", 3}, 2)), "6kg");
  EXPECT_EQ(get(workers.submit(&multiplier::unit, multiplier{"m", 1})), "m");
  EXPECT_EQ(get(workers.submit(multiplier{"kg", 3}, 2)), "6kg");
  EXPECT_EQ(get(workers.submit(std::plus<>{}, 1, 2)), 3);
  EXPECT_EQ(get(workers.submit([](int (*function)(int), int number) { return function(number); }, twice, 5)), 10);
  EXPECT_EQ(get(workers.submit([] { return &twice; })), &twice) << "a function as a result";
  EXPECT_EQ(get(workers.submit(shoal_test_answer)), 41) << "of a shared library";
}

TEST_P(PoolByMethod, LambdasWithCapturesAreForForks) {
  pool workers(1, by_method());
  const int more = 2;
  const auto add = [more](int number) { return number + more; };
  if (is_fork()) {
    EXPECT_EQ(get(workers.submit(add, 40)), 42);
  } else {
    EXPECT_THROW(workers.submit(add, 40), std::invalid_argument);
    EXPECT_THROW(workers.map(add, std::vector<int>{1}), std::invalid_argument);
  }
}

TEST_P(PoolByMethod, MapsInOrder) {
  pool workers(2, by_method());
  EXPECT_EQ(workers.map(twice, std::vector<int>{3, 1, 2}, 1), (std::vector<int>{6, 2, 4}));
}

std::string database;
void open_database(const std::string& name, int number) { database = name + std::to_string(number); }

TEST_P(PoolByMethod, InitializerRunsInEachWorkerBeforeItsFirstTask) {
  pool_options options = by_method();
  options.initializer = {open_database, "orders", 7};
  pool workers(1, options);
  const auto opened = [] { return database; };
  EXPECT_EQ(get(workers.submit(opened)), "orders7");
  EXPECT_THROW(get(workers.submit(die)), worker_died);
  EXPECT_EQ(get(workers.submit(opened)), "orders7") << "in its replacement";
}

// An initializer's arguments last as long as its worker.
shared_value<int>* counted = nullptr;
void count_in(shared_value<int>& here) { counted = &here; }

queue<int>* reports = nullptr;
void report_to(queue<int>& to) { reports = &to; }

TEST_P(PoolByMethod, InitializerTakesObjectsInSharedMemory) {
  shared_value<int> starts;
  pool_options options = by_method();
  options.initializer = {count_in, std::ref(starts)};
  pool workers(2, options);
  workers.for_each([](int by) { counted->atomic() += by; }, std::vector<int>{1, 2, 3, 4});
  EXPECT_EQ(*starts, 10);
}

TEST_P(PoolByMethod, InitializerThatFailsEndsThePoolAndSaysWhy) {
  pool_options options = by_method();
  options.initializer = [] { throw std::out_of_range("no database"); };
  pool workers(2, options);
  task<int> never_run;
  try {
    never_run = workers.submit(twice, 1);
    get(std::move(never_run));
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_EQ(error.code(), shoal::errc::closed);
    EXPECT_NE(std::string(error.what()).find("failed: std::out_of_range: no database"), std::string::npos)
        << error.what();
  }
}

TEST_P(PoolByMethod, InitializerThatIsKilledEndsThePool) {
  pool_options options = by_method();
  options.initializer = die;
  pool workers(1, options);
  try {
    get(workers.submit(twice, 1));
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_NE(std::string(error.what()).find("8 workers in a row"), std::string::npos) << error.what();
  }
}

TEST_P(PoolByMethod, WorkersAreReplacedAfterSoManyTasks) {
  pool_options options = by_method();
  options.max_tasks_per_worker = 2;
  pool workers(1, options);
  std::map<int, int> tasks;
  for (const int worker : workers.map([](int) { return self(); }, std::vector<int>(6), 1)) {
    ++tasks[worker];
  }
  ASSERT_EQ(tasks.size(), 3U);
  for (const auto& [worker, count] : tasks) {
    EXPECT_EQ(count, 2);
  }
}

TEST_P(PoolByMethod, DeathOfAWorkerFailsItsTaskAlone) {
  pool workers(2, by_method());
  std::vector<task<int>> good;
  std::vector<task<void>> bad;
  for (int i = 0; i < 5; ++i) {
    good.push_back(workers.submit(twice, i));
    bad.push_back(workers.submit(die));
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_EQ(get(std::move(good[i])), 2 * static_cast<int>(i));
    const std::string text = failure_of<worker_died>(std::move(bad[i]));
    EXPECT_EQ(text.substr(0, text.find(" was")), "task " + std::to_string(2 * i + 1));
    EXPECT_NE(text.find("killed by SIGKILL"), std::string::npos) << text;
  }
}

TEST_P(PoolByMethod, TaskThatExitsFailsWithItsCode) {
  pool workers(1, by_method());
  for (const bool by_exit : {true, false}) {
    try {
      get(workers.submit([](bool orderly) { orderly ? std::exit(3) : ::_exit(3); }, by_exit));
      FAIL() << "nothing was thrown";
    } catch (const worker_died& death) {
      EXPECT_EQ(death.status(), exit_status::exited_with(3));
    }
  }
  EXPECT_EQ(get(workers.submit(twice, 1)), 2);
}

TEST_P(PoolByMethod, TaskThatForksIsFinishedOnce) {
  pool workers(1, by_method());
  // Both processes return; only one of them goes on as the worker.
  std::set<int> ids;
  for (int i = 0; i < 20; ++i) {
    get(workers.submit([] { static_cast<void>(::fork()); }));
    ids.insert(get(workers.submit(self)));
  }
  EXPECT_EQ(ids.size(), 1U);
}

TEST_P(PoolByMethod, TaskMayCloseTheStandardStreams) {
  pool workers(1, by_method());
  get(workers.submit([] {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      ::close(fd);
    }
  }));
  EXPECT_EQ(get(workers.submit(twice, 1)), 2);
}

TEST_P(PoolByMethod, TaskMayUseAPoolOfItsOwn) {
  pool workers(2, by_method());
  const auto sum_of_doubles = [](int up_to) {
    std::vector<int> numbers;
    for (int i = 1; i <= up_to; ++i) {
      numbers.push_back(i);
    }
    pool inner(2);
    return inner.transform_reduce(numbers, 0, std::plus<>{}, &twice);
  };
  EXPECT_EQ(workers.map(sum_of_doubles, std::vector<int>{1, 2, 3, 4}, 1), (std::vector<int>{2, 6, 12, 20}));
}

TEST_P(PoolByMethod, TaskThatTakesTooLongIsEndedAndNoOther) {
  pool workers(2, by_method());
  task<void> hanging = workers.submit({.timeout = 50ms}, sleep_for_long);
  std::vector<task<int>> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(workers.submit(twice, i));
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(get(std::move(others[static_cast<std::size_t>(i)])), 2 * i);
  }
  EXPECT_EQ(failure_of<task_timed_out>(std::move(hanging)),
            "task 0 ran for longer than its timeout of 0.05 s, so its worker was killed. Other tasks go on; this one "
            "may have done part of its work.");
}

TEST_P(PoolByMethod, TimeoutIsOfTheRunAndNotOfTheWait) {
  pool_options options = by_method();
  options.tasks.timeout = 1s;
  pool workers(1, options);
  std::vector<task<void>> naps;
  for (int i = 0; i < 12; ++i) {
    naps.push_back(workers.submit([] { std::this_thread::sleep_for(100ms); }));
  }
  for (task<void>& nap : naps) {
    EXPECT_NO_THROW(get(std::move(nap)));
  }
}

TEST_P(PoolByMethod, RunningTaskIsCancelledByItsWorkersDeath) {
  queue<int> started;
  pool_options options = by_method();
  options.initializer = {report_to, std::ref(started)};
  pool workers(1, options);
  task<void> running = workers.submit([] {
    reports->push(::getpid());
    sleep_for_long();
  });
  task<int> pending = workers.submit(twice, 1);
  const shoal::os::pidfd worker = shoal::os::pidfd::open(started.pop());
  EXPECT_TRUE(running.cancel());
  EXPECT_TRUE(running.ready());
  EXPECT_FALSE(running.cancel());
  EXPECT_EQ(failure_of<shoal::task_cancelled>(std::move(running)), "task 0 was cancelled.");
  EXPECT_TRUE(becomes_readable(worker.get()));
  EXPECT_EQ(get(std::move(pending)), 2);
}

std::string once_in_vain(const std::string& file) {
  if (std::ifstream(file).good()) {
    return "done";
  }
  std::ofstream(file).put('x');
  die();
  return "";
}

TEST_P(PoolByMethod, RetriedTaskSurvivesItsWorker) {
  pool workers(1, by_method());
  const std::string file = testing::TempDir() + "pool_retry_" + std::to_string(::getpid());
  EXPECT_EQ(get(workers.submit({.retries = 1}, once_in_vain, file)), "done");
  EXPECT_EQ(::unlink(file.c_str()), 0);
  EXPECT_THROW(get(workers.submit({.retries = 3}, die)), worker_died);
}

TEST_P(PoolByMethod, MemoryOfWorkersIsLimited) {
  pool_options options = by_method();
  options.max_memory = std::size_t{256} << 20;
  pool workers(1, options);
  const auto allocate = [](std::size_t megabytes) { return std::vector<char>(megabytes << 20, 'x').size(); };
  EXPECT_EQ(failure_of<memory_limit_exceeded>(workers.submit(allocate, 1000)),
            "task 0 needed more memory than the 268435456 bytes that a worker of its pool may have "
            "(pool_options::max_memory).");
  EXPECT_EQ(get(workers.submit(allocate, 1)), 1U << 20);
}

TEST_P(PoolByMethod, WorkersAreAsTheOptionsSay) {
  cpu_set_t usable;
  ASSERT_EQ(::sched_getaffinity(0, sizeof usable, &usable), 0);
  std::vector<std::vector<int>> each;
  for (int cpu = 0; cpu < CPU_SETSIZE && each.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &usable)) {
      each.push_back({cpu});
    }
  }
  pool_options options = by_method();
  options.cpu_affinity = each;
  options.nice = ::getpriority(PRIO_PROCESS, 0) + 1;
  options.name = "crunch";
  pool workers(1, options);
  EXPECT_EQ(get(workers.submit([] { return ::sched_getcpu(); })), each[0][0]);
  EXPECT_EQ(get(workers.submit([] { return ::getpriority(PRIO_PROCESS, 0); })), *options.nice);
  std::ifstream comm("/proc/" + std::to_string(get(workers.submit(self))) + "/comm");
  std::string name;
  std::getline(comm, name);
  EXPECT_EQ(name, "crunch-0");
}

TEST_P(PoolByMethod, OptionThatCannotBeAppliedIsRefused) {
  pool_options options = by_method();
  options.cpu_affinity = {{CPU_SETSIZE - 1}};
  EXPECT_THROW(pool(2, options), std::system_error);
}

/// A process with a pool that is in the middle of a map, and the workers of that.
class mapping_process {
 public:
  explicit mapping_process(start_method method)
      : child_(shoal::process_options{.method = start_method::fork}, map_for_ever, std::ref(ids_), method) {
    for (int id = ids_.pop(); id != 0; id = ids_.pop()) {
      workers_.push_back(shoal::os::pidfd::open(id));
    }
  }

  [[nodiscard]] process& child() { return child_; }
  [[nodiscard]] const std::vector<shoal::os::pidfd>& workers() const { return workers_; }

 private:
  static void map_for_ever(queue<int>& ids, start_method method) {
    std::signal(SIGINT, SIG_DFL);
    pool workers(2, {.method = method});
    for (int i = 0; i < 2; ++i) {
      ids.push(workers.submit(self).get());
    }
    ids.push(0);
    workers.for_each([](int) { sleep_for_long(); }, std::vector<int>(4), {.chunk_size = 1});
  }

  queue<int> ids_;
  process child_;
  std::vector<shoal::os::pidfd> workers_;
};

TEST_P(PoolByMethod, WorkersDieWithAParentThatIsKilled) {
  mapping_process parent(GetParam());
  parent.child().kill();
  for (const shoal::os::pidfd& worker : parent.workers()) {
    EXPECT_TRUE(becomes_readable(worker.get()));
  }
  EXPECT_EQ(join_soon(parent.child()), exit_status::killed_by(SIGKILL));
}

TEST_P(PoolByMethod, InterruptDuringAMapEndsAll) {
  mapping_process parent(GetParam());
  parent.child().interrupt();
  for (const shoal::os::pidfd& worker : parent.workers()) {
    EXPECT_TRUE(becomes_readable(worker.get()));
  }
  EXPECT_EQ(join_soon(parent.child()), exit_status::killed_by(SIGINT));
}

TEST_P(PoolByMethod, PoolOfATaskEndsWithItsWorker) {
  queue<int> ids;
  pool_options options = by_method();
  options.initializer = {report_to, std::ref(ids)};
  pool workers(1, options);
  task<void> outer = workers.submit([] {
    pool inner(1);
    reports->push(inner.submit(self).get());
    inner.submit(sleep_for_long).get();
  });
  const shoal::os::pidfd inner_worker = shoal::os::pidfd::open(ids.pop());
  EXPECT_TRUE(outer.cancel());
  EXPECT_TRUE(becomes_readable(inner_worker.get()));
}

TEST_P(PoolByMethod, TerminationDuringHeavyTrafficEndsAll) {
  for (int round = 0; round < 5; ++round) {
    pool workers(2, by_method());
    std::vector<task<int>> tasks;
    tasks.reserve(2000);
    for (int i = 0; i < 2000; ++i) {
      tasks.push_back(workers.submit(twice, i));
    }
    workers.terminate();
    for (task<int>& each : tasks) {
      ASSERT_TRUE(each.ready());
    }
  }
}

TEST_P(PoolByMethod, NothingIsLeftBehind) {
  // The fork server, for one, stays.
  get(pool(1, by_method()).submit(twice, 1));
  const std::ptrdiff_t before = open_descriptors();
  for (int i = 0; i < 3; ++i) {
    pool workers(2, by_method());
    EXPECT_EQ(get(workers.submit(twice, 1)), 2);
    EXPECT_THROW(get(workers.submit(die)), worker_died);
    EXPECT_THROW(get(workers.submit({.timeout = 1ms}, sleep_for_long)), task_timed_out);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
