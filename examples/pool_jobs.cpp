// What a pool does for jobs that take long, fail, hang and crash.
//
//     pool_jobs [fork|spawn|forkserver]      (default: fork)

#include <chrono>
#include <coroutine>
#include <csignal>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <iterator>
#include <shoal/pool.hpp>
#include <shoal/register_exception.hpp>
#include <shoal/runtime.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

// An exception of this program, which arrives as what it is.
struct no_number : std::runtime_error {
  using std::runtime_error::runtime_error;
};
const bool registered = shoal::register_exception<no_number>();

// What each worker has for its tasks, made by the initializer.
int modulus = 0;
void set_modulus(int value) { modulus = value; }

int parse(const std::string& text) {
  if (text.find_first_not_of("0123456789") != std::string::npos) {
    throw no_number("'" + text + "' is no number");
  }
  return std::stoi(text) % modulus;
}

std::uint64_t square(std::uint64_t number) { return number * number; }

void crash() { std::raise(SIGSEGV); }
void hang() { std::this_thread::sleep_for(1h); }

// 1, 2, 3, ...
struct natural_numbers {
  struct iterator {
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::uint64_t;
    using difference_type = std::ptrdiff_t;
    std::uint64_t operator*() const { return number; }
    iterator& operator++() {
      ++number;
      return *this;
    }
    void operator++(int) { ++number; }
    bool operator==(std::default_sentinel_t /*end*/) const { return false; }
    std::uint64_t number = 1;
  };
  static iterator begin() { return {}; }
  static std::default_sentinel_t end() { return {}; }
};

template <class T>
void show(const char* what, shoal::task<T> job) {
  std::cout << what << ": ";
  try {
    job.get();
    std::cout << "done\n";
  } catch (const shoal::worker_died& death) {
    std::cout << "its worker " << to_string(death.status().value()) << '\n';
  } catch (const std::exception& failure) {
    std::cout << failure.what() << '\n';
  }
}

// A coroutine that begins at once, and for whose end nobody waits.
struct detached {
  struct promise_type {
    static detached get_return_object() { return {}; }
    static std::suspend_never initial_suspend() noexcept { return {}; }
    static std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    static void unhandled_exception() { std::terminate(); }
  };
};

// No thread is blocked while the workers are at it. For coroutines of Asio there is <shoal/asio.hpp>.
detached square_twice(shoal::pool& pool, std::uint64_t number, std::promise<std::uint64_t>& result) {
  const std::uint64_t once = co_await pool.submit(square, number);
  result.set_value(co_await pool.submit(square, once));
}

void run(shoal::start_method method) {
  shoal::pool pool(2, {.method = method, .initializer = {set_modulus, 100}});

  // Many at once, and one result of many.
  const std::vector<std::string> texts{"1234", "98", "500"};
  for (const int rest : pool.map(parse, texts)) {
    std::cout << rest << ' ';
  }
  std::cout << "- sum " << pool.transform_reduce(texts, 0, std::plus<>{}, parse) << '\n';

  // Of a range without end, as far as it is wanted.
  for (const std::uint64_t each : pool.map_lazily(square, natural_numbers{})) {
    if (each > 10'000) {
      std::cout << "the first square above 10000: " << each << '\n';
      break;
    }
  }

  // None of these harms any other task.
  show("text", pool.submit(parse, "x1"));
  show("a crash", pool.submit(crash));
  show("no end", pool.submit({.timeout = 50ms}, hang));
  shoal::task<void> unwanted = pool.submit(hang);
  unwanted.cancel();
  show("unwanted", std::move(unwanted));

  show("and then",
       pool.submit(square, 12).then([](shoal::task<std::uint64_t> done) { std::cout << done.get() << ", "; }));
  std::promise<std::uint64_t> result;
  std::future<std::uint64_t> fourth_power = result.get_future();
  square_twice(pool, 7, result);
  std::cout << "7 to the fourth: " << fourth_power.get() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  const shoal::runtime runtime;  // for workers that are no forks
  try {
    const std::string_view method = argc > 1 ? argv[1] : "fork";
    run(method == "spawn"        ? shoal::start_method::spawn
        : method == "forkserver" ? shoal::start_method::forkserver
                                 : shoal::start_method::fork);
  } catch (const std::exception& failure) {
    std::cerr << "pool_jobs: " << failure.what() << '\n';
    return 1;
  }
}
