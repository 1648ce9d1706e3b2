#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

#include "shoal/process.hpp"
#include "shoal/stop_token.hpp"

namespace shoal {

/// A process that is asked to stop and waited for when this ends, as std::jthread is for std::thread.
///
///     shoal::jprocess worker([](shoal::stop_token stop, shoal::queue<int>& tasks) {
///       while (!stop.stop_requested()) { ... }
///     }, std::ref(tasks));
///
/// A function that takes a stop_token first is given one. One that does not, or does not look at it, is waited for
/// until it ends by itself. All else is as with process.
class jprocess : private process {
 public:
  jprocess() noexcept = default;

  /// As process(f, args...) and process(options, f, args...); throws the same.
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, jprocess> &&
           !std::same_as<std::remove_cvref_t<F>, process_options>) explicit jprocess(F&& f, Args&&... args)
      : jprocess(process_options{}, std::forward<F>(f), std::forward<Args>(args)...) {}
  template <class F, class... Args>
  jprocess(const process_options& options, F&& f, Args&&... args) {
    using function = std::decay_t<F>;
    constexpr bool takes_token = std::is_invocable_v<function, stop_token, std::decay_t<Args>...> ||
                                 !std::is_void_v<detail::parameters_t<function, stop_token, std::decay_t<Args>...>>;
    if constexpr (takes_token) {
      stop_.emplace();
      process::operator=(process(options, std::forward<F>(f), stop_->get_token(), std::forward<Args>(args)...));
    } else {
      process::operator=(process(options, std::forward<F>(f), std::forward<Args>(args)...));
    }
  }

  jprocess(jprocess&& other) noexcept = default;
  jprocess& operator=(jprocess&& other) noexcept;  ///< stops and joins what this was
  jprocess(const jprocess&) = delete;
  jprocess& operator=(const jprocess&) = delete;

  /// Requests the stop and joins. How the process ended is not told here; call join() to know.
  ~jprocess() { stop_and_join(); }

  /// @return false if it was requested before, or the function takes no stop_token.
  bool request_stop() const noexcept { return stop_ && stop_->request_stop(); }
  [[nodiscard]] stop_token get_stop_token() const noexcept { return stop_ ? stop_->get_token() : stop_token(); }

  using process::id;
  using process::interrupt;
  using process::join;
  using process::join_for;
  using process::join_until;
  using process::joinable;
  using process::kill;
  using process::name;
  using process::native_handle;
  using process::terminate;

 private:
  void stop_and_join() noexcept;

  std::optional<stop_source> stop_;
};

}  // namespace shoal
