#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "shoal/deadline.hpp"
#include "shoal/detail/timeouts.hpp"
#include "shoal/waitable.hpp"

namespace shoal {

namespace detail {

template <class... Objects>
concept all_waitable = sizeof...(Objects) > 0 && (std::is_convertible_v<Objects, waitable> && ...);

template <class Range>
concept waitable_range = !std::is_convertible_v<Range, waitable> && std::ranges::input_range<Range> &&
                         std::is_convertible_v<std::ranges::range_reference_t<Range>, waitable>;

std::vector<std::size_t> wait_any_before(std::span<const waitable> objects, deadline until);

template <waitable_range Range>
std::vector<waitable> waitables_in(Range&& objects) {
  std::vector<waitable> all;
  if constexpr (std::ranges::sized_range<Range>) {
    all.reserve(std::ranges::size(objects));
  }
  for (auto&& object : objects) {
    all.push_back(std::forward<decltype(object)>(object));
  }
  return all;
}

template <class Clock, class Duration>
std::vector<std::size_t> wait_any_until(const std::chrono::time_point<Clock, Duration>& until,
                                        std::span<const waitable> objects) {
  std::vector<std::size_t> ready;
  (void)attempt_until(until, [&](deadline limit) {
    ready = wait_any_before(objects, limit);
    return !ready.empty();
  });
  return ready;
}

}  // namespace detail

/// Waits until at least one of several objects is ready, of whatever kinds: processes, queues, room in queues, events,
/// descriptors. `waitable` tells what ready means for each.
///
///     for (std::size_t place : shoal::wait_any(child, results, cancelled)) ...
///
/// Returns the places of all that are ready, the first object's being 0, in the order in which they were given. None
/// hides another: whoever looks after all that are returned is fair to all. Of what many wait for, such as an item,
/// somebody else may be faster: take it with a call that does not wait. An object may be given twice.
///
/// Interrupted by no signal. Creates no thread, and no descriptor but that of an object which is waited for the first
/// time. One system call, which costs the more the more objects there are; for hundreds of them, again and again, there
/// is `wait_set`. Threads: may be called concurrently, also for the same objects.
///
/// @throws std::system_error  EBADF: a descriptor is not open (says which); EINVAL: more objects than this process may
///     have descriptors.
template <class... Objects>
requires detail::all_waitable<Objects...>
[[nodiscard]] std::vector<std::size_t> wait_any(Objects&&... objects) {
  return detail::wait_any_before(std::array<waitable, sizeof...(Objects)>{waitable(objects)...}, deadline::max());
}

/// The same for a range of objects, or of `waitable` where they are of several kinds.
template <detail::waitable_range Range>
[[nodiscard]] std::vector<std::size_t> wait_any(Range&& objects) {
  return detail::wait_any_before(detail::waitables_in(objects), deadline::max());
}

/// The same; returns nothing if none was ready until then.
template <class Clock, class Duration, class... Objects>
requires detail::all_waitable<Objects...>
[[nodiscard]] std::vector<std::size_t> wait_any_until(const std::chrono::time_point<Clock, Duration>& until,
                                                      Objects&&... objects) {
  return detail::wait_any_until(until, std::array<waitable, sizeof...(Objects)>{waitable(objects)...});
}
template <class Clock, class Duration, detail::waitable_range Range>
[[nodiscard]] std::vector<std::size_t> wait_any_until(const std::chrono::time_point<Clock, Duration>& until,
                                                      Range&& objects) {
  return detail::wait_any_until(until, detail::waitables_in(objects));
}

/// The same; returns nothing if none was ready within `timeout`.
template <class Rep, class Period, class... Objects>
requires detail::all_waitable<Objects...>
[[nodiscard]] std::vector<std::size_t> wait_any_for(const std::chrono::duration<Rep, Period>& timeout,
                                                    Objects&&... objects) {
  return shoal::wait_any_until(after(timeout), objects...);
}
template <class Rep, class Period, detail::waitable_range Range>
[[nodiscard]] std::vector<std::size_t> wait_any_for(const std::chrono::duration<Rep, Period>& timeout,
                                                    Range&& objects) {
  return shoal::wait_any_until(after(timeout), objects);
}

}  // namespace shoal
