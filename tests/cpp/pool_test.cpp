#include "shoal/pool.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <istream>
#include <iterator>
#include <list>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/pidfd.hpp"
#include "pool_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::pool;
using shoal::process;
using shoal::remote_error;
using shoal::task;
using shoal::worker_died;
using shoal::test::all_descriptors_but;
using shoal::test::becomes_readable;
using shoal::test::die;
using shoal::test::eventually;
using shoal::test::get;
using shoal::test::has_children;
using shoal::test::open_descriptors;
using shoal::test::shared;
using shoal::test::twice;
using shoal::test::words_of;

template <class R>
shoal::errc code_of(task<R> future) {
  try {
    get(std::move(future));
  } catch (const shoal::error& error) {
    return static_cast<shoal::errc>(error.code().value());
  }
  throw std::runtime_error("nothing was thrown");
}

std::string greet(std::string_view name) { return "hello, " + std::string(name); }

struct multiplier {
  std::string unit;
  int factor;
  std::string operator()(int number) const { return std::to_string(number * factor) + unit; }
};

TEST(Pool, SubmitReturnsTheResult) {
  pool workers(2);
  EXPECT_EQ(get(workers.submit(twice, 21)), 42);
  EXPECT_EQ(get(workers.submit([] { return 1.5; })), 1.5);
  get(workers.submit([] {}));
}

TEST(Pool, TextArrivesAsAString) {
  pool workers(1);
  const std::string_view view = "view";
  EXPECT_EQ(get(workers.submit(greet, "literal")), "hello, literal");
  EXPECT_EQ(get(workers.submit(greet, view)), "hello, view");
  EXPECT_EQ(get(workers.submit(greet, std::string("string"))), "hello, string");
}

TEST(Pool, ContainersAndAggregatesGoThereAndBack) {
  struct point {
    int x;
    std::string name;
    bool operator==(const point&) const = default;
  };
  pool workers(1);
  const auto swap = [](std::map<std::string, std::vector<int>> map, point at) {
    return std::pair(std::move(at), std::move(map));
  };
  const std::map<std::string, std::vector<int>> map{{"a", {1, 2}}, {"b", {}}};
  const auto [at, same] = get(workers.submit(swap, map, point{3, "p"}));
  EXPECT_EQ(at, (point{3, "p"}));
  EXPECT_EQ(same, map);
}

TEST(Pool, TriviallyCopyableClassesGoThereAndBack) {
  pool workers(1);
  const auto later = [](std::chrono::milliseconds time) { return time + 1s; };
  EXPECT_EQ(get(workers.submit(later, 5ms)), 1005ms);
}

TEST(Pool, FunctionsOfAllKindsCanBeSubmitted) {
  pool workers(1);
  int captured = 40;
  EXPECT_EQ(get(workers.submit(&twice, 4)), 8);
  EXPECT_EQ(get(workers.submit([captured](int more) { return captured + more; }, 2)), 42);
  EXPECT_EQ(get(workers.submit(std::plus<int>{}, 1, 2)), 3);
  EXPECT_EQ(get(workers.submit(multiplier{"kg", 3}, 2)), "6kg");
  EXPECT_EQ(get(workers.submit(&multiplier::unit, multiplier{"m", 1})), "m");
  EXPECT_EQ(get(workers.submit([](int (*function)(int), int number) { return function(number); }, twice, 5)), 10);
}

TEST(Pool, WhatCannotCrossIsRefusedByTheCompiler) {
  const auto captures_string = [text = std::string("x")] { return text; };
  static_assert(!shoal::detail::shippable_function<std::decay_t<decltype(captures_string)>>);
  static_assert(!shoal::detail::shippable_function<std::function<int()>>);
  static_assert(!shoal::detail::shippable<int*>);
  static_assert(!shoal::detail::shippable<std::span<int>>);
  static_assert(!shoal::detail::shippable<std::string_view>, "as a result");
  static_assert(!shoal::detail::shippable<std::reference_wrapper<int>>);
}

struct own_error {
  [[maybe_unused]] int code;
};

TEST(Pool, ExceptionOfATaskArrivesWithTypeAndText) {
  pool workers(1);
  try {
    get(workers.submit([]() -> int { throw own_error{1}; }));
    FAIL() << "nothing was thrown";
  } catch (const remote_error& error) {
    EXPECT_EQ(error.type(), "(anonymous namespace)::own_error");
    EXPECT_EQ(error.message(), "");
    EXPECT_STREQ(error.what(), "(anonymous namespace)::own_error in task 0");
  }
  EXPECT_EQ(get(workers.submit(twice, 1)), 2) << "the worker goes on";
}

TEST(Pool, LargeArgumentsAndResultsCross) {
  pool workers(1);
  std::string large;
  large.resize(20'000'000, 'x');
  const auto twofold = [](const std::string& text) { return text + text; };
  EXPECT_EQ(get(workers.submit(twofold, large)).size(), 2 * large.size());
}

TEST(Pool, TasksRunInAsManyProcessesAsAskedFor) {
  const shared<std::atomic<int>> arrived;
  pool workers(3);
  // Each waits for the others, so that no worker gets two. The address is the same in a fork.
  const auto meet = [there = &*arrived] {
    ++*there;
    if (!eventually([&] { return *there >= 3; })) {
      throw std::runtime_error("alone");
    }
    return ::getpid();
  };
  std::vector<task<pid_t>> ids;
  ids.reserve(3);
  for (int i = 0; i < 3; ++i) {
    ids.push_back(workers.submit(meet));
  }
  std::set<pid_t> distinct{::getpid()};
  for (auto& id : ids) {
    distinct.insert(get(std::move(id)));
  }
  EXPECT_EQ(distinct.size(), 4U);
  EXPECT_EQ(workers.size(), 3U);
}

TEST(Pool, HasAWorkerForEachUsableProcessorUnlessTold) {
  const pool workers;
  EXPECT_GE(workers.size(), 1U);
  EXPECT_LE(workers.size(), static_cast<std::size_t>(::sysconf(_SC_NPROCESSORS_ONLN)));
  EXPECT_THROW(pool(0), std::invalid_argument);
}

TEST(Pool, MapReturnsResultsInOrder) {
  pool workers(2);
  std::vector<int> numbers(10'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (const std::size_t chunk_size : {0U, 1U, 7U, 20'000U}) {
    const std::vector<int> doubled = workers.map(twice, numbers, chunk_size);
    ASSERT_EQ(doubled.size(), numbers.size());
    for (std::size_t i = 0; i < doubled.size(); ++i) {
      ASSERT_EQ(doubled[i], 2 * numbers[i]);
    }
  }
}

TEST(Pool, MapTakesAnyRange) {
  pool workers(2);
  std::istringstream text("one two three");
  EXPECT_EQ(workers.map(greet, words_of{text}), (std::vector<std::string>{"hello, one", "hello, two", "hello, three"}));
  const char* const names[] = {"a", "b"};
  EXPECT_EQ(workers.map(greet, names), (std::vector<std::string>{"hello, a", "hello, b"}));
  EXPECT_EQ(workers.map(twice, std::list<int>{1, 2}), (std::vector<int>{2, 4}));
  EXPECT_EQ(workers.map(std::logical_not<bool>{}, std::vector<bool>{true, false}), (std::vector<bool>{false, true}));
  EXPECT_TRUE(workers.map(twice, std::vector<int>{}).empty());
}

TEST(Pool, MapOfAFunctionWithoutResultRunsItForEachItem) {
  const shared<std::atomic<int>> sum;
  pool workers(2);
  workers.map([to = &*sum](int number) { *to += number; }, std::vector<int>{1, 2, 3, 4});
  EXPECT_EQ(*sum, 10);
}

TEST(Pool, MapThrowsTheFirstFailureAfterAllChunksAreDone) {
  const shared<std::atomic<int>> ran;
  pool workers(2);
  const auto fail_some = [count = &*ran](int number) {
    ++*count;
    if (number == 2 || number == 5) {
      throw std::runtime_error("number " + std::to_string(number));
    }
    return number;
  };
  std::vector<int> numbers(8);
  std::iota(numbers.begin(), numbers.end(), 0);
  try {
    static_cast<void>(workers.map(fail_some, numbers, 1));
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "number 2");
  }
  EXPECT_EQ(*ran, 8);
}

TEST(Pool, WorkerThatIsKilledFailsItsTaskAndNoOther) {
  pool workers(2);
  std::vector<task<int>> good;
  std::vector<task<void>> bad;
  for (int i = 0; i < 20; ++i) {
    good.push_back(workers.submit(twice, i));
    bad.push_back(workers.submit(die));
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(get(std::move(good[static_cast<std::size_t>(i)])), 2 * i);
    EXPECT_THROW(get(std::move(bad[static_cast<std::size_t>(i)])), worker_died);
  }
}

TEST(Pool, DeathOfAWorkerIsTold) {
  pool workers(1);
  const pid_t first = get(workers.submit([] { return ::getpid(); }));
  try {
    get(workers.submit(die));
    FAIL() << "nothing was thrown";
  } catch (const worker_died& death) {
    EXPECT_EQ(death.task(), 1U);
    EXPECT_EQ(death.worker(), first);
    EXPECT_EQ(death.status(), shoal::exit_status::killed_by(SIGKILL));
    const std::string start =
        "task 1 was running in worker process " + std::to_string(first) + " when that was killed by SIGKILL";
    EXPECT_EQ(std::string(death.what()).substr(0, start.size()), start);
  }
}

TEST(Pool, TaskThatExitsFailsWithTheExitCode) {
  pool workers(1);
  try {
    get(workers.submit([] { std::_Exit(3); }));
    FAIL() << "nothing was thrown";
  } catch (const worker_died& death) {
    EXPECT_EQ(death.status(), shoal::exit_status::exited_with(3));
  }
  EXPECT_EQ(get(workers.submit(twice, 1)), 2);
}

TEST(Pool, IdleWorkerThatIsKilledIsReplaced) {
  pool workers(1);
  const pid_t first = get(workers.submit([] { return ::getpid(); }));
  const shoal::os::pidfd watched = shoal::os::pidfd::open(first);
  watched.send_signal(SIGKILL);
  EXPECT_TRUE(becomes_readable(watched.get()));
  EXPECT_NE(get(workers.submit([] { return ::getpid(); })), first);
}

TEST(Pool, WorkersThatDieAtTheirStartEndThePoolInsteadOfLooping) {
  // In a process of its own, since the handler stays for good.
  process program([] {
    static bool children_die = false;
    ::pthread_atfork(nullptr, nullptr, [] {
      if (children_die) {
        std::raise(SIGKILL);
      }
    });
    pool workers(2);
    children_die = true;
    auto deaths = std::pair(workers.submit(die), workers.submit(die));
    task<int> never_run = workers.submit(twice, 1);
    try {
      get(std::move(never_run));
      return 1;
    } catch (const shoal::error& error) {
      if (std::string(error.what()).find("30 workers in a row ended as soon as they had been started") ==
          std::string::npos) {
        return 2;
      }
    }
    try {
      workers.submit(twice, 1);
      return 3;
    } catch (const shoal::error& error) {
      return error.code() == shoal::errc::closed ? 0 : 4;
    }
  });
  EXPECT_EQ(program.join(), shoal::exit_status::exited_with(0));
}

TEST(Pool, WorksInAProgramThatIgnoresSigchld) {
  process program([] {
    std::signal(SIGCHLD, SIG_IGN);
    pool workers(2);
    try {
      get(workers.submit(die));
      return 1;
    } catch (const worker_died& death) {
      return !death.status() && get(workers.submit(twice, 2)) == 4 ? 0 : 2;
    }
  });
  EXPECT_EQ(program.join(), shoal::exit_status::exited_with(0));
}

TEST(Pool, WorkersHaveTheSignalMaskOfTheirMaker) {
  const auto blocks = [](int signal) {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, signal) == 1;
  };
  pool workers(1);
  EXPECT_FALSE(get(workers.submit(blocks, SIGUSR1)));
  EXPECT_THROW(get(workers.submit(die)), worker_died);
  EXPECT_FALSE(get(workers.submit(blocks, SIGUSR1))) << "in a replacement";
}

TEST(Pool, DestructionWaitsForTheTasks) {
  const shared<std::atomic<int>> done;
  {
    pool workers(2);
    for (int i = 0; i < 20; ++i) {
      workers.submit([count = &*done] {
        std::this_thread::sleep_for(1ms);
        ++*count;
      });
    }
  }
  EXPECT_EQ(*done, 20);
}

TEST(Pool, DestructionWaitsForTasksEvenIfWorkersDie) {
  const shared<std::atomic<int>> done;
  {
    pool workers(2);
    for (int i = 0; i < 20; ++i) {
      workers.submit(die);
      workers.submit([count = &*done] { ++*count; });
    }
  }
  EXPECT_EQ(*done, 20);
}

TEST(Pool, WaitReturnsWhenEveryTaskHasAnOutcome) {
  pool workers(2);
  std::vector<task<int>> results;
  results.reserve(100);
  for (int i = 0; i < 100; ++i) {
    results.push_back(workers.submit(twice, i));
  }
  workers.wait();
  for (auto& result : results) {
    EXPECT_EQ(result.wait_for(0s), std::future_status::ready);
  }
}

TEST(Pool, ClosedPoolFinishesItsTasksAndTakesNoMore) {
  pool workers(1);
  task<int> result = workers.submit(twice, 3);
  workers.close();
  workers.close();
  EXPECT_EQ(get(std::move(result)), 6);
  try {
    workers.submit(twice, 4);
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_EQ(error.code(), shoal::errc::closed);
    EXPECT_STREQ(error.what(), "the pool was closed, so it takes no more tasks.");
  }
}

TEST(Pool, TerminationFailsEveryTaskWithoutAnOutcome) {
  pool workers(1);
  task<void> running = workers.submit([] { std::this_thread::sleep_for(1h); });
  task<int> pending = workers.submit(twice, 1);
  workers.terminate();
  workers.terminate();
  EXPECT_EQ(running.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(code_of(std::move(running)), shoal::errc::closed);
  try {
    pending.get();
    FAIL() << "nothing was thrown";
  } catch (const shoal::error& error) {
    EXPECT_STREQ(error.what(), "the pool was terminated before task 1 was finished.");
  }
}

TEST(Pool, UsingThePoolInOneOfItsTasksIsAnError) {
  pool workers(1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(get(workers.submit([same = &workers] { same->submit(twice, 1); })), std::logic_error);
    EXPECT_THROW(get(workers.submit(die)), worker_died);  // its replacement is another kind of fork
  }
}

TEST(Pool, ThreadsMaySubmitConcurrently) {
  pool workers(2);
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::atomic<int> correct = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        correct += get(workers.submit(twice, 1000 * t + i)) == 2 * (1000 * t + i);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(correct, 800);
}

TEST(Pool, FunctionOfALibraryLoadedAfterTheWorkersIsFound) {
  pool workers(1);
  EXPECT_EQ(get(workers.submit(twice, 1)), 2);
  void* const library = ::dlopen("libBrokenLocale.so.1", RTLD_NOW | RTLD_LOCAL);  // of the C library, and seldom loaded
  if (library == nullptr) {
    GTEST_SKIP() << ::dlerror();
  }
  auto* const function = reinterpret_cast<std::size_t (*)()>(::dlsym(library, "__ctype_get_mb_cur_max"));
  ASSERT_NE(function, nullptr);
  EXPECT_EQ(get(workers.submit(function)), function());
  ::dlclose(library);
}

TEST(Pool, NullFunctionIsRefusedAtTheCall) {
  pool workers(1);
  int (*const none)(int) = nullptr;
  EXPECT_THROW(workers.submit(none, 1), shoal::error);
}

TEST(Pool, WorkersDieWithAParentThatIsKilled) {
  const shared<std::array<std::atomic<pid_t>, 2>> ids;
  process parent([&] {
    const shared<std::atomic<int>> arrived;
    pool workers(2);
    for (int i = 0; i < 2; ++i) {
      workers.submit([to = &*ids, there = &*arrived] {
        (*to)[static_cast<std::size_t>((*there)++)] = ::getpid();
        std::this_thread::sleep_for(1h);
      });
    }
    workers.wait();
  });
  std::vector<shoal::os::pidfd> watched;
  for (std::atomic<pid_t>& id : *ids) {
    ASSERT_TRUE(eventually([&] { return id != 0; }));
    watched.push_back(shoal::os::pidfd::open(id));
  }
  parent.kill();
  for (const shoal::os::pidfd& worker : watched) {
    EXPECT_TRUE(becomes_readable(worker.get()));
  }
  parent.join();
}

TEST(Pool, NothingIsLeftBehind) {
  const std::ptrdiff_t before = open_descriptors();
  const bool had_children = has_children();  // such as a fork server
  for (int i = 0; i < 5; ++i) {
    pool workers(2);
    EXPECT_EQ(get(workers.submit(twice, 1)), 2);
    EXPECT_THROW(get(workers.submit(die)), worker_died);
    if (i % 2 == 0) {
      workers.submit([] { std::this_thread::sleep_for(1h); });
      workers.terminate();
    }
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(has_children(), had_children);
}

TEST(Pool, NothingIsLeftBehindWhenItCannotBeMade) {
  process program([] {
    const rlimit descriptors{.rlim_cur = 256, .rlim_max = 256};
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
    const std::ptrdiff_t before = open_descriptors();
    for (std::size_t left = 0;; ++left) {
      try {
        const auto taken = all_descriptors_but(left);
        pool workers(4);
        return get(workers.submit(twice, 2)) == 4 && left > 5 ? 0 : 1;
      } catch (const std::system_error& error) {
        if (error.code() != std::errc::too_many_files_open) {
          return 2;
        }
      }
      if (open_descriptors() != before || has_children()) {
        return 3;
      }
    }
  });
  EXPECT_EQ(program.join(), shoal::exit_status::exited_with(0));
}

}  // namespace
