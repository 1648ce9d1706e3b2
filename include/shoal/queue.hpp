#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/byte_queue.hpp"
#include "shoal/codec.hpp"
#include "shoal/deadline.hpp"
#include "shoal/detail/outgoing_values.hpp"
#include "shoal/detail/scratch.hpp"
#include "shoal/error.hpp"
#include "shoal/in_place.hpp"

namespace shoal {

/// Format of a queue: a class of yours that is trivially copyable, and that you gave neither `field_names` nor a
/// `codec`, travels as its bytes; everything else as MessagePack. Fastest, but such a class reaches Python as `bytes`,
/// and both ends must have been built from the same definition of it.
struct native {};

/// Format of a queue: everything travels as MessagePack, so that programs in Python, or with another definition of T,
/// can read it.
struct portable {};

namespace detail {

template <class T>
inline constexpr bool is_view = std::is_pointer_v<T> || std::is_same_v<T, std::string_view>;
template <class Item, std::size_t Extent>
inline constexpr bool is_view<std::span<Item, Extent>> = true;
template <class Target>
inline constexpr bool is_view<std::reference_wrapper<Target>> = true;

// A codec that is there because somebody wrote it for this type, not because any aggregate has one.
template <class T>
concept has_own_codec = has_encode<T> && !std::is_base_of_v<codec_of_aggregate, codec<T>>;

template <class T, class Format>
concept travels_raw = std::is_same_v<Format, native> &&
                      (std::is_class_v<T> || std::is_union_v<T>)&&std::is_trivially_copyable_v<T> &&
                      !has_field_names<T> && !has_own_codec<T>;

template <class T, class Format>
consteval bool can_travel() {
  if constexpr (is_view<T>) {
    return false;
  } else if constexpr (travels_raw<T, Format>) {
    return true;  // not asked whether it is encodable: its members may be what no codec can name, such as bit-fields
  } else {
    return encodable<T>;
  }
}

template <class T>
consteval bool holds_pointer() {
  if constexpr (std::is_class_v<T> && std::is_aggregate_v<T>) {
    return has_pointer_member<T>();
  } else {
    return false;
  }
}

[[noreturn]] void throw_push_to_closed_queue();
[[noreturn]] void throw_pop_from_closed_queue();
[[noreturn]] void throw_no_raw_object(encoding tag, std::size_t size, std::string_view wanted_type,
                                      std::size_t wanted_size);

}  // namespace detail

/// A first-in first-out queue of T between processes, for any number of producers and consumers: `byte_queue` with
/// values for bytes and the manners of the standard library (names as in ISO P0260).
///
///     shoal::queue<std::string> lines(1000);                     // at most 1000 at a time; queue<std::string> lines;
///     has no bound
///     ...                                                        // in one process:  lines.push("hello");
///     lines.close(); for (const std::string& line : lines) { ... }              // in another: ends when it is closed
///     and drained
///
/// T is any `encodable` type or, with Format `native`, a trivially copyable class. It must not hold pointers, of any
/// kind: they mean nothing in another process, and only those that are direct members of an aggregate are found at
/// compile time.
///
/// A waiting call goes on after a signal was handled, with the deadline it had. A value that is not a T (the queue may
/// be attached to by other programs) is taken out of the queue by the call that throws.
///
/// Threads: all members but the destructor may be called concurrently. fork: the child shares the queue. exec: pass
/// `descriptors()` and `attach`. Kill-safety: at any instruction, in any process; see `byte_queue`.
template <class T, class Format = native>
class queue {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "shoal::queue<T>: T must be a plain value type");
  static_assert(std::is_same_v<Format, native> || std::is_same_v<Format, portable>,
                "shoal::queue<T, Format>: Format must be shoal::native or shoal::portable");
  static_assert(detail::can_travel<T, Format>(),
                "shoal::queue<T>: T, or something it holds, can neither be encoded (see shoal::codec) nor is it a "
                "trivially copyable "
                "class. Pointers and views (std::string_view, std::span) cannot travel between processes at all.");
  static_assert(
      !detail::travels_raw<T, Format> || !detail::holds_pointer<T>(),
      "shoal::queue<T>: a member of T is a pointer, which means nothing in another process. Send what it points to.");

 public:
  using value_type = T;

  /// A new queue that holds at most `capacity` values; 0: no bound but memory.
  /// @throws std::system_error  no descriptor, memory or address space left.
  explicit queue(std::size_t capacity = 0) : queue(queue_options{.capacity = capacity}) {}
  explicit queue(const queue_options& options) : bytes_(options) {}

  /// Joins the queue behind descriptors that were inherited or received; they are duplicated, not consumed.
  /// @throws shoal::error  not a queue of this layout (says what was found). What its values are shows when one is
  /// popped.
  static queue attach(queue_descriptors descriptors) { return queue(byte_queue::attach(descriptors)); }

  /// Appends a value, waiting while the queue is full.
  /// @throws shoal::error    errc::closed: the queue is closed. So do all forms of push.
  /// @throws std::bad_alloc  no memory for it; the queue is as before. So do all forms of push.
  void push(const T& value) { push_before(value, deadline::max()); }

  /// @return false if the queue was full.
  [[nodiscard]] bool try_push(const T& value) { return push_before(value, no_waiting); }

  /// @return false if the queue stayed full.
  template <class Rep, class Period>
  [[nodiscard]] bool push_for(const T& value, std::chrono::duration<Rep, Period> timeout) {
    return push_before(value, after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool push_until(const T& value, std::chrono::time_point<Clock, Duration> until) {
    return push_before(value, on_steady_clock(until));
  }

  /// Appends all values of a range, under one lock and with one wake-up for as many as there is room for at a time.
  /// @throws shoal::error  errc::closed, as push; the values before were appended. So do all forms of push_many.
  template <std::ranges::input_range Range>
  void push_many(Range&& values) {
    (void)push_many_before(values, deadline::max());
  }
  /// @return how many values, from the beginning of the range, there was room for.
  template <std::ranges::input_range Range>
  [[nodiscard]] std::size_t try_push_many(Range&& values) {
    return push_many_before(values, no_waiting);
  }
  template <std::ranges::input_range Range, class Rep, class Period>
  [[nodiscard]] std::size_t push_many_for(Range&& values, std::chrono::duration<Rep, Period> timeout) {
    return push_many_before(values, after(timeout));
  }

  /// Room for a large value in shared memory: fill it in place, then push it. Only for a T that travels as its bytes.
  /// @throws std::bad_alloc  no memory for it. @throws shoal::error  errc::closed.
  [[nodiscard]] reserved<T> reserve() {
    static_assert(is_in_place,
                  "shoal::queue<T>::reserve: T must be a trivially copyable class that travels as its bytes");
    reserved_record room;
    if (without_interruption([&](deadline limit) { return bytes_.reserve(room, sizeof(T), limit); }, deadline::max()) ==
        queue_status::closed) {
      detail::throw_push_to_closed_queue();
    }
    return reserved<T>(std::move(room));
  }

  /// Appends a value that was filled in place, waiting while the queue is full.
  void push(reserved<T>&& value) {
    const auto attempt = [&](deadline limit) { return bytes_.push(encoding::raw, value.record_, limit); };
    if (without_interruption(attempt, deadline::max()) == queue_status::closed) {
      detail::throw_push_to_closed_queue();
    }
  }

  /// Takes the oldest value, waiting while the queue is empty.
  /// @throws shoal::error  errc::closed: the queue is closed and drained.
  /// @throws shoal::error  errc::wrong_type or errc::corrupt_record: what was taken is not a T. So do all forms of pop.
  [[nodiscard]] T pop() {
    std::optional<T> value = wait_pop();
    if (!value.has_value()) {
      detail::throw_pop_from_closed_queue();
    }
    return *std::move(value);
  }

  /// As `pop`, but returns nothing once the queue is closed and drained: `while (auto value = queue.wait_pop())`.
  [[nodiscard]] std::optional<T> wait_pop() { return pop_before(deadline::max()); }

  /// @return nothing if the queue was empty.
  [[nodiscard]] std::optional<T> try_pop() { return pop_before(no_waiting); }

  /// @return nothing if the queue stayed empty, or is closed and drained; `closed()` tells which.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> pop_for(std::chrono::duration<Rep, Period> timeout) {
    return pop_before(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<T> pop_until(std::chrono::time_point<Clock, Duration> until) {
    return pop_before(on_steady_clock(until));
  }

  /// Takes up to `most` values that are there, waiting only for the first, under one lock. Empty once the queue is
  /// closed and drained.
  [[nodiscard]] std::vector<T> pop_many(std::size_t most) { return pop_many_before(most, deadline::max()); }
  /// @return nothing if the queue was empty.
  [[nodiscard]] std::vector<T> try_pop_many(std::size_t most) { return pop_many_before(most, no_waiting); }
  /// @return nothing if the queue stayed empty.
  template <class Rep, class Period>
  [[nodiscard]] std::vector<T> pop_many_for(std::size_t most, std::chrono::duration<Rep, Period> timeout) {
    return pop_many_before(most, after(timeout));
  }

  /// As `wait_pop`, but a large value stays where it is, in shared memory. Only for a T that travels as its bytes.
  [[nodiscard]] std::optional<borrowed<T>> borrow() {
    static_assert(is_in_place,
                  "shoal::queue<T>::borrow: T must be a trivially copyable class that travels as its bytes");
    borrowed_record taken;
    if (without_interruption([&](deadline limit) { return bytes_.borrow(taken, limit); }, deadline::max()) !=
        queue_status::ok) {
      return std::nullopt;
    }
    check_raw(taken.tag(), taken.bytes().size());
    // A copy is in memory that the record itself owns.
    auto* const object = const_cast<std::byte*>(taken.bytes().data());
    return borrowed<T>(std::move(taken), std::launder(reinterpret_cast<T*>(object)));
  }

  /// As `wait_pop`, on lease: the value comes back unless it is acknowledged.
  [[nodiscard]] std::optional<leased<T>> pop_lease() { return pop_lease_before(deadline::max()); }
  /// @return nothing if the queue was empty.
  [[nodiscard]] std::optional<leased<T>> try_pop_lease() { return pop_lease_before(no_waiting); }
  /// @return nothing if the queue stayed empty, or is closed and drained.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<leased<T>> pop_lease_for(std::chrono::duration<Rep, Period> timeout) {
    return pop_lease_before(after(timeout));
  }

  /// Takes values out of a queue, one at each step; equal to the end when it is closed and drained.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    [[nodiscard]] T* operator->() const noexcept { return &*value_; }
    iterator& operator++() {
      value_ = from_->wait_pop();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& position, std::default_sentinel_t) noexcept {
      return !position.value_.has_value();
    }

   private:
    friend class queue;
    explicit iterator(queue& from) : from_(&from), value_(from.wait_pop()) {}

    queue* from_;
    mutable std::optional<T>
        value_;  // mutable: dereferencing a const input iterator gives the value, which may be moved from
  };

  /// Waits for the first value and takes it.
  [[nodiscard]] iterator begin() { return iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// No push succeeds from now on, in any process; pops drain what is there. Idempotent.
  void close() { bytes_.close(); }
  [[nodiscard]] bool closed() const noexcept { return bytes_.closed(); }

  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }  ///< exact at some instant of the call
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] bool full() const noexcept { return bytes_.full(); }
  [[nodiscard]] std::size_t leased_count() const noexcept { return bytes_.leased(); }  ///< values out on lease
  [[nodiscard]] std::size_t capacity() const noexcept { return bytes_.capacity(); }    ///< 0: unbounded

  /// In programs that use Asio: `pop` and `push` that do not block. Defined in shoal/asio.hpp, which says more.
  template <class CompletionToken>
  auto async_pop(CompletionToken&& token);
  template <class CompletionToken>
  auto async_push(T value, CompletionToken&& token);

  /// A descriptor for poll, epoll or an event loop; see `byte_queue::native_handle`.
  [[nodiscard]] int native_handle() { return bytes_.native_handle(); }
  /// The same for producers; see `byte_queue::room_handle`.
  [[nodiscard]] int room_handle() { return bytes_.room_handle(); }

  [[nodiscard]] queue_descriptors descriptors() const { return bytes_.descriptors(); }

 private:
  explicit queue(byte_queue&& bytes) noexcept : bytes_(std::move(bytes)) {}

  template <class Clock, class Duration>
  static deadline on_steady_clock(std::chrono::time_point<Clock, Duration> until) {
    return after(until - Clock::now());
  }

  // A T lies behind one word at the beginning of a page.
  static constexpr bool is_in_place = detail::travels_raw<T, Format> && alignof(T) <= alignof(std::uint64_t);

  bool push_before(const T& value, deadline until) {
    if constexpr (detail::travels_raw<T, Format>) {
      return push_record(encoding::raw, std::as_bytes(std::span<const T, 1>(&value, 1)), until);
    } else {
      detail::scratch<encoder> out;
      out->clear();
      encode(*out, value);
      return push_record(encoding::msgpack, out->bytes(), until);
    }
  }

  template <class Range>
  std::size_t push_many_before(Range&& values, deadline until) {
    constexpr std::size_t at_once = 256;  // so that a range may be endless
    std::size_t pushed = 0;
    detail::outgoing_values<T, detail::travels_raw<T, Format>> batch;
    for (auto at = std::ranges::begin(values); at != std::ranges::end(values);) {
      batch.clear();
      for (; batch.size() < at_once && at != std::ranges::end(values); ++at) {
        batch.add(*at);
      }
      const std::span<const outgoing_record> records = batch.records();
      std::size_t done = 0;
      const auto attempt = [&](deadline limit) { return bytes_.push_many(records.subspan(done), done, limit); };
      const queue_status status = without_interruption(attempt, until);
      pushed += done;
      if (status == queue_status::closed) {
        detail::throw_push_to_closed_queue();
      }
      if (status != queue_status::ok) {
        break;
      }
    }
    return pushed;
  }

  /// Waits go on after a signal. A call that is not to wait gives another process a tenth of a second to finish what it
  /// is doing at this end of the queue, which takes less than a microsecond unless the record is huge or the process
  /// was stopped.
  template <class Attempt>
  static queue_status without_interruption(Attempt attempt, deadline until) {
    queue_status status = attempt(until);
    if (status == queue_status::busy) {
      until = after(std::chrono::milliseconds(100));
      status = attempt(until);
    }
    while (status == queue_status::interrupted) {
      status = attempt(until);
    }
    return status;
  }

  bool push_record(encoding tag, const_bytes bytes, deadline until) {
    const queue_status status =
        without_interruption([&](deadline limit) { return bytes_.push(tag, bytes, limit); }, until);
    if (status == queue_status::closed) {
      detail::throw_push_to_closed_queue();
    }
    return status == queue_status::ok;
  }

  std::optional<T> pop_before(deadline until) {
    detail::scratch<record> taken;
    const queue_status status = without_interruption([&](deadline limit) { return bytes_.pop(*taken, limit); }, until);
    if (status != queue_status::ok) {
      return std::nullopt;
    }
    return read(taken->tag(), taken->bytes());
  }

  std::vector<T> pop_many_before(std::size_t most, deadline until) {
    record_batch taken;
    std::vector<T> values;
    if (without_interruption([&](deadline limit) { return bytes_.pop_many(taken, most, limit); }, until) ==
        queue_status::ok) {
      values.reserve(taken.size());
      for (std::size_t i = 0; i < taken.size(); ++i) {
        values.push_back(read(taken[i].tag, taken[i].bytes));
      }
    }
    return values;
  }

  std::optional<leased<T>> pop_lease_before(deadline until) {
    lease taken;
    if (without_interruption([&](deadline limit) { return bytes_.pop(taken, limit); }, until) != queue_status::ok) {
      return std::nullopt;
    }
    try {
      T value = read(taken.tag(), taken.bytes());
      return leased<T>(std::move(taken), std::move(value));
    } catch (const error&) {
      taken.acknowledge();  // as pop does: what is no T would come back for ever
      throw;
    }
  }

  static void check_raw(encoding tag, std::size_t size) {
    if (tag != encoding::raw || size != sizeof(T)) {
      detail::throw_no_raw_object(tag, size, detail::type_name<T>(), sizeof(T));
    }
  }

  static T read(encoding tag, const_bytes bytes) {
    if constexpr (detail::travels_raw<T, Format>) {
      check_raw(tag, bytes.size());
      // A union makes a T without constructing one, which T may not allow, and without a copy besides this one.
      union uninitialized {
        uninitialized() noexcept : nothing() {}
        std::byte nothing;
        T object;
      } made;
      std::memcpy(static_cast<void*>(&made.object), bytes.data(), sizeof(T));
      return made.object;
    } else {
      return decode<T>(tag, bytes);
    }
  }

  byte_queue bytes_;
};

}  // namespace shoal
