// Records of 1 MB written and read where they are, in shared memory, beside memcpy.
//
//     queue_1mb touched COUNT       the producer writes all bytes of a record, the consumer reads all of them
//     queue_1mb handed_over COUNT   the producer writes the first word of a record, the consumer reads that
//     queue_1mb copied COUNT        the producer pushes a copy of a record of its own, the consumer reads all bytes
//     queue_1mb bare COUNT          as touched, but without a queue: places in shared memory, and two counts to watch
//     queue_1mb memcpy COUNT        one process copies so much, into memory that it has used before

#include <algorithm>
#include <cstring>
#include <numeric>

#include "processes.hpp"
#include "shoal/byte_queue.hpp"

namespace {

constexpr std::size_t record_size = std::size_t{1} << 20;
// As many records as this may be on their way: all memory is used again and again, and fits the processors' caches as
// well, or as badly, as the memory that memcpy is given.
constexpr std::size_t places = 4;

using word = std::uint64_t;
constexpr std::size_t words = record_size / sizeof(word);

// Bytes of a record are words in all of this: 8 at once, which the compiler makes 32 or 64.
void write_all(std::span<std::byte> bytes, word value) {
  auto* const first = new (bytes.data()) word[words];
  std::fill_n(first, words, value);
}

word read_all(shoal::const_bytes bytes) {
  const auto* const first = reinterpret_cast<const word*>(bytes.data());
  return std::accumulate(first, first + words, word{0});
}

void expect(bool right, const char* what) {
  if (!right) {
    throw std::runtime_error(what);
  }
}

void expect_ok(shoal::queue_status status) {
  // Nobody sends signals here, and there is no deadline.
  expect(status == shoal::queue_status::ok, "a call on the queue did not succeed");
}

/// `produce(i, queue)` pushes record i, `consume(i, bytes)` sees it.
template <class Produce, class Consume>
double pass(std::size_t count, Produce produce, Consume consume) {
  shoal::byte_queue queue({.capacity = places});
  const auto ours = [&] {
    shoal::borrowed_record found;
    for (std::size_t i = 0; i < count; ++i) {
      expect_ok(queue.borrow(found));
      expect(found.in_place() && found.bytes().size() == record_size, "the record was not left where it is");
      consume(i, found.bytes());
      found.reset();
    }
  };
  const auto theirs = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      produce(i, queue);
    }
  };
  return bench::seconds_together(ours, theirs);
}

template <class Write, class Read>
double in_place(std::size_t count, Write write, Read read) {
  shoal::reserved_record room;
  const auto produce = [&](std::size_t i, shoal::byte_queue& queue) {
    expect_ok(queue.reserve(room, record_size));
    write(i, room.bytes());
    expect_ok(queue.push(shoal::encoding::raw, room));
  };
  return pass(count, produce, read);
}

void check_sum(std::size_t i, shoal::const_bytes bytes) {
  expect(read_all(bytes) == i * words, "a record has wrong contents");
}

double touched(std::size_t count) {
  return in_place(
      count, [](std::size_t i, std::span<std::byte> bytes) { write_all(bytes, i); }, check_sum);
}

double handed_over(std::size_t count) {
  const auto write = [](std::size_t i, std::span<std::byte> bytes) { std::memcpy(bytes.data(), &i, sizeof i); };
  const auto read = [](std::size_t i, shoal::const_bytes bytes) {
    expect(std::memcmp(bytes.data(), &i, sizeof i) == 0, "a record has wrong contents");
  };
  return in_place(count, write, read);
}

double copied(std::size_t count) {
  std::vector<std::vector<std::byte>> own(places, std::vector<std::byte>(record_size));
  for (std::size_t i = 0; i < places; ++i) {
    write_all(own[i], i);
  }
  const auto produce = [&own](std::size_t i, shoal::byte_queue& queue) {
    expect_ok(queue.push(shoal::encoding::raw, shoal::const_bytes(own[i % places])));
  };
  return pass(count, produce, [](std::size_t i, shoal::const_bytes bytes) { check_sum(i % places, bytes); });
}

// What the machine itself takes to move what one processor has written to another one that reads it.
double without_queue(std::size_t count) {
  struct counts {
    alignas(64) std::atomic<std::size_t> written;
    alignas(64) std::atomic<std::size_t> read;
  };
  auto& shared = bench::make_shared<counts>();
  auto* const memory = static_cast<std::byte*>(bench::map_shared(places * record_size));
  const auto place = [memory](std::size_t i) { return std::span(memory + i % places * record_size, record_size); };
  const auto consume = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      while (shared.written.load(std::memory_order_acquire) == i) {
      }
      check_sum(i, place(i));
      shared.read.store(i + 1, std::memory_order_release);
    }
  };
  const auto produce = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      while (shared.read.load(std::memory_order_acquire) + places == i) {
      }
      write_all(place(i), i);
      shared.written.store(i + 1, std::memory_order_release);
    }
  };
  return bench::seconds_together(consume, produce);
}

double with_memcpy(std::size_t count) {
  bench::stay_on(0);
  std::vector<std::vector<std::byte>> from(places, std::vector<std::byte>(record_size));
  std::vector<std::vector<std::byte>> to = from;
  const auto begin = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(to[i % places].data(), from[i % places].data(), record_size);
    // Or a compiler might notice that nobody reads it.
    asm volatile("" : : "r"(to[i % places].data()) : "memory");
  }
  return bench::seconds_since(begin);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what[0] == "touched") {
      return touched(count);
    }
    if (what[0] == "handed_over") {
      return handed_over(count);
    }
    if (what[0] == "copied") {
      return copied(count);
    }
    if (what[0] == "bare") {
      return without_queue(count);
    }
    if (what[0] == "memcpy") {
      return with_memcpy(count);
    }
    throw std::invalid_argument("expected touched, handed_over, copied, bare or memcpy");
  });
}
