#pragma once

namespace shoal::detail {

/// A descriptor that polls readable while another one does, now this and now that, or whatever happens.
///
/// It exists from the first native_handle() on; before, all else does nothing. Threads: by one at a time.
class relay {
 public:
  relay() noexcept = default;
  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;
  ~relay();

  [[nodiscard]] bool is_used() const noexcept { return epoll_ >= 0; }

  /// @throws std::system_error  no descriptor left.
  int native_handle();

  /// From now on it does as `followed`, which must be open until it follows nothing, or another one.
  /// @throws std::system_error  no descriptor or memory left.
  void follow(int followed);
  void follow_nothing() noexcept;
  void be_readable() { follow(always_); }

 private:
  int epoll_ = -1;   // an epoll instance that has followed_ alone
  int always_ = -1;  // an eventfd that is readable
  int followed_ = -1;
};

}  // namespace shoal::detail
