#include "shoal/queue.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "shoal/error.hpp"

namespace queue_test {

struct sample {
  std::uint32_t sensor;
  double values[4];  // a C array: no codec, but trivially copyable
};

struct flags {
  unsigned ready : 1;
  unsigned level : 7;
};

class counter {  // neither an aggregate nor default constructible
 public:
  explicit counter(int value) : value_(value) {}
  int value() const { return value_; }

 private:
  int value_;
};

struct point {
  double x, y;
  bool operator==(const point&) const = default;
};

struct order {
  int id;
  std::string text;
  bool operator==(const order&) const = default;
};

struct labelled {
  int x;
  bool operator==(const labelled&) const = default;
};

struct holder {
  int n;
  const char* text;
};

struct relay {  // decoding it uses a queue itself
  int value;
  bool operator==(const relay&) const = default;
};

}  // namespace queue_test

template <>
inline constexpr auto shoal::field_names<queue_test::labelled> = std::array{"x"};

namespace {

using namespace std::chrono_literals;
using shoal::encoding;
using shoal::errc;
using shoal::queue;

constexpr auto patience = 20s;  // far more than anything here takes; a test that needs it has failed

shoal::queue<int>* relay_queue = nullptr;

}  // namespace

template <>
struct shoal::codec<queue_test::relay> {
  static void encode(encoder& out, const queue_test::relay& value) {
    if (relay_queue != nullptr) {
      relay_queue->push(value.value);
    }
    out.integer(value.value);
  }
  static queue_test::relay decode(decoder& in) {
    const int value = static_cast<int>(in.integer());
    if (relay_queue != nullptr) {
      EXPECT_EQ(relay_queue->pop(), value);
    }
    return {value};
  }
};

namespace {

template <class Call>
std::string failure(errc expected, Call call) {
  try {
    call();
  } catch (const shoal::error& e) {
    EXPECT_EQ(e.code(), shoal::make_error_code(expected)) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no shoal::error was thrown";
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define EXPECT_CONTAINS(text, part) EXPECT_PRED2(contains, text, part)

// --- types ----------------------------------------------------------------------------------------------------------

template <class T, class Format = shoal::native>
constexpr bool is_raw = shoal::detail::travels_raw<T, Format>;

static_assert(is_raw<queue_test::sample> && is_raw<queue_test::flags> && is_raw<queue_test::counter> &&
              is_raw<queue_test::point>);
static_assert(is_raw<std::chrono::nanoseconds>);
static_assert(!is_raw<queue_test::point, shoal::portable> && !is_raw<queue_test::labelled> &&
              !is_raw<queue_test::relay>);
static_assert(!is_raw<int> && !is_raw<std::optional<int>> && !is_raw<std::array<int, 4>> && !is_raw<queue_test::order>);
static_assert(!shoal::detail::can_travel<std::string_view, shoal::native>());
static_assert(!shoal::detail::can_travel<int*, shoal::native>());
static_assert(!shoal::detail::can_travel<std::span<int>, shoal::native>());
static_assert(shoal::detail::holds_pointer<queue_test::holder>() &&
              !shoal::detail::holds_pointer<queue_test::sample>());

static_assert(std::input_iterator<queue<int>::iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, queue<int>::iterator>);
static_assert(std::is_nothrow_move_constructible_v<queue<int>> && !std::is_copy_constructible_v<queue<int>>);

// What a reader in another language would get.
template <class T, class Format>
encoding encoding_of_next(queue<T, Format>& from) {
  shoal::record record;
  EXPECT_EQ(shoal::byte_queue::attach(from.descriptors()).pop(record, shoal::no_waiting), shoal::queue_status::ok);
  return record.tag();
}

TEST(Queue, TriviallyCopyableClassesTravelRawAndEverythingElseAsMessagePack) {
  queue<queue_test::point> raw;
  raw.push({1, 2});
  EXPECT_EQ(encoding_of_next(raw), encoding::raw);
  queue<int> numbers;
  numbers.push(1);
  EXPECT_EQ(encoding_of_next(numbers), encoding::msgpack);
  queue<queue_test::point, shoal::portable> points;
  points.push({1, 2});
  EXPECT_EQ(encoding_of_next(points), encoding::msgpack);
}

TEST(Queue, ValuesOfEveryKindOfTypeComeOutAsTheyWentIn) {
  queue<queue_test::sample> samples;
  samples.push({7, {1, 2, 3, 4}});
  const queue_test::sample sample = samples.pop();
  EXPECT_EQ(sample.sensor, 7u);
  EXPECT_EQ(sample.values[3], 4);

  queue<queue_test::flags> flags;
  flags.push({1, 100});
  EXPECT_EQ(flags.pop().level, 100u);

  queue<queue_test::counter> counters;
  counters.push(queue_test::counter(5));
  EXPECT_EQ(counters.pop().value(), 5);

  queue<queue_test::order> orders;
  orders.push({1, "text"});
  EXPECT_EQ(orders.pop(), (queue_test::order{1, "text"}));

  queue<std::vector<std::map<std::string, double>>> nested;
  nested.push({{{"a", 1}}, {}});
  EXPECT_EQ(nested.pop(), (std::vector<std::map<std::string, double>>{{{"a", 1}}, {}}));

  queue<queue_test::point, shoal::portable> points;
  points.push({1, 2});
  EXPECT_EQ(points.pop(), (queue_test::point{1, 2}));
}

TEST(Queue, ValuesFarLargerThanAChunkComeOutWhole) {
  queue<std::string> texts;
  std::string large = "x";
  large.resize(20'000'000, 'y');
  texts.push(large);
  texts.push("small");
  EXPECT_TRUE(texts.pop() == large);
  EXPECT_EQ(texts.pop(), "small");
}

TEST(Queue, ACodecMayItselfUseAQueue) {
  queue<int> inner;
  queue<queue_test::relay> outer;
  relay_queue = &inner;
  outer.push({42});
  EXPECT_EQ(outer.pop(), queue_test::relay{42});
  relay_queue = nullptr;
}

// --- waiting, being full, being closed

TEST(Queue, ValuesLeaveInTheOrderTheyCame) {
  queue<int> numbers;
  for (int i = 0; i < 100000; ++i) {
    numbers.push(i);
  }
  EXPECT_EQ(numbers.size(), 100000u);
  for (int i = 0; i < 100000; ++i) {
    ASSERT_EQ(numbers.pop(), i);
  }
  EXPECT_TRUE(numbers.empty());
}

TEST(Queue, AFullQueueRefusesUntilSomethingIsPopped) {
  queue<int> numbers(2);
  EXPECT_EQ(numbers.capacity(), 2u);
  EXPECT_TRUE(numbers.try_push(1));
  EXPECT_TRUE(numbers.push_for(2, 0s));
  EXPECT_FALSE(numbers.try_push(3));
  EXPECT_FALSE(numbers.push_for(3, 1ms));
  EXPECT_FALSE(numbers.push_until(3, std::chrono::system_clock::now() + 1ms));
  EXPECT_EQ(numbers.pop(), 1);
  EXPECT_TRUE(numbers.try_push(3));
}

TEST(Queue, AnEmptyQueueGivesNothing) {
  queue<int> numbers;
  EXPECT_EQ(numbers.try_pop(), std::nullopt);
  EXPECT_EQ(numbers.pop_for(1ms), std::nullopt);
  EXPECT_EQ(numbers.pop_until(std::chrono::steady_clock::now() + 1ms), std::nullopt);
}

TEST(Queue, ATimeoutIsWaitedForAndNotMuchLonger) {
  queue<int> numbers;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(numbers.pop_for(30ms), std::nullopt);
  const auto waited = std::chrono::steady_clock::now() - start;
  EXPECT_GE(waited, 30ms);
  EXPECT_LT(waited, patience);
}

TEST(Queue, AClosedQueueIsDrainedAndThenEnds) {
  queue<int> numbers;
  numbers.push(1);
  numbers.push(2);
  numbers.close();
  numbers.close();
  EXPECT_TRUE(numbers.closed());
  EXPECT_CONTAINS(failure(errc::closed, [&] { numbers.push(3); }), "push to a closed queue");
  failure(errc::closed, [&] { static_cast<void>(numbers.try_push(3)); });
  EXPECT_EQ(numbers.pop(), 1);
  EXPECT_EQ(numbers.wait_pop(), 2);
  EXPECT_EQ(numbers.wait_pop(), std::nullopt);
  EXPECT_EQ(numbers.pop_for(patience), std::nullopt);
  EXPECT_CONTAINS(failure(errc::closed, [&] { static_cast<void>(numbers.pop()); }), "closed and drained");
}

TEST(Queue, RangeForEndsWhenTheQueueIsClosedAndDrained) {
  queue<int> numbers;
  numbers.push(1);
  numbers.push(2);
  numbers.close();
  std::vector<int> seen;
  for (const int number : numbers) {
    seen.push_back(number);
  }
  EXPECT_EQ(seen, (std::vector<int>{1, 2}));
}

TEST(Queue, ClosingWakesEveryWaitingConsumer) {
  queue<int> numbers;
  std::vector<std::thread> consumers;
  consumers.reserve(4);
  std::atomic<int> ended = 0;
  for (int i = 0; i < 4; ++i) {
    consumers.emplace_back([&] {
      if (!numbers.pop_for(patience).has_value() && numbers.closed()) {
        ++ended;
      }
    });
  }
  numbers.close();
  for (std::thread& consumer : consumers) {
    consumer.join();
  }
  EXPECT_EQ(ended, 4);
}

TEST(Queue, AWaitThatASignalInterruptsGoesOn) {
  struct sigaction counting = {}, before = {};
  static std::atomic<int> handled = 0;
  counting.sa_handler = [](int) { ++handled; };  // without SA_RESTART: system calls end with EINTR
  ::sigaction(SIGUSR1, &counting, &before);

  queue<int> numbers;
  std::optional<int> received;
  std::thread consumer([&] { received = numbers.pop_for(patience); });
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (handled < 100 && std::chrono::steady_clock::now() < give_up) {
    ::pthread_kill(consumer.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  numbers.push(5);
  consumer.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  EXPECT_GE(handled, 100);
  EXPECT_EQ(received, 5);
}

TEST(Queue, ItsDescriptorPollsReadableWhileThereIsSomethingToPop) {
  queue<int> numbers;
  pollfd readable{numbers.native_handle(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
  numbers.push(1);
  EXPECT_EQ(::poll(&readable, 1, 0), 1);
  EXPECT_EQ(numbers.pop(), 1);
  EXPECT_EQ(numbers.try_pop(), std::nullopt);
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
}

// --- records of others

template <class T, class Format>
void push_record(queue<T, Format>& to, encoding tag, std::size_t size) {
  const std::vector<std::byte> bytes(size, std::byte{0xc1});
  EXPECT_EQ(shoal::byte_queue::attach(to.descriptors()).push(tag, shoal::const_bytes(bytes)), shoal::queue_status::ok);
}

TEST(Queue, ARecordOfAnotherKindIsAnErrorThatSaysWhatToDo) {
  queue<queue_test::point> points;
  push_record(points, encoding::raw, 15);
  EXPECT_CONTAINS(failure(errc::wrong_type, [&] { static_cast<void>(points.pop()); }),
                  "expected the 16 bytes of a raw queue_test::point, found 15 bytes of a raw object");
  push_record(points, encoding::msgpack, 3);
  EXPECT_CONTAINS(failure(errc::wrong_type, [&] { static_cast<void>(points.pop()); }), "shoal::portable");
  push_record(points, encoding::pickle, 3);
  EXPECT_CONTAINS(failure(errc::wrong_type, [&] { static_cast<void>(points.pop()); }), "a Python pickle of 3 bytes");

  queue<int> numbers;
  push_record(numbers, encoding::pickle, 3);
  EXPECT_CONTAINS(failure(errc::wrong_type, [&] { static_cast<void>(numbers.pop()); }), "a Python pickle of 3 bytes");
  push_record(numbers, encoding::raw, 3);
  EXPECT_CONTAINS(failure(errc::wrong_type, [&] { static_cast<void>(numbers.pop()); }), "a raw C++ object of 3 bytes");
  push_record(numbers, encoding::msgpack, 3);
  failure(errc::corrupt_record, [&] { static_cast<void>(numbers.pop()); });
}

TEST(Queue, ARecordThatIsRefusedIsGoneAndTheNextOneIsRead) {
  queue<int> numbers;
  push_record(numbers, encoding::pickle, 3);
  numbers.push(7);
  failure(errc::wrong_type, [&] { static_cast<void>(numbers.pop()); });
  EXPECT_EQ(numbers.pop(), 7);
}

TEST(Queue, AttachingToSomethingElseIsAnError) {
  std::array<int, 2> pipe = {};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  EXPECT_ANY_THROW(static_cast<void>(queue<int>::attach({pipe[0], pipe[1]})));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(Queue, AnAttachedQueueIsTheSameQueue) {
  queue<int> numbers(3);
  queue<int> same = queue<int>::attach(numbers.descriptors());
  numbers.push(1);
  EXPECT_EQ(same.pop(), 1);
  EXPECT_EQ(same.capacity(), 3u);
  same.close();
  EXPECT_TRUE(numbers.closed());
}

}  // namespace
