#pragma once

#include <linux/aio_abi.h>

#include <cstdint>

namespace shoal::os {

/// Has the kernel raise an eventfd when this process has ended, in whatever way. It may also be raised when the notice
/// is withdrawn. At the end of a process it may take some hundredths of a second. fork: the child has to give its own.
///
/// By asynchronous I/O: a request that is never served, and that the kernel completes, signalling the eventfd, when it
/// takes the process apart (io_submit(2), IOCB_FLAG_RESFD). No thread and no descriptor is needed.
class death_notice {
 public:
  /// Does nothing where the system does not have it or allows no more of it (fs.aio-max-nr), nor for more than 64
  /// eventfds of one process.
  explicit death_notice(int eventfd) noexcept;
  death_notice(const death_notice&) = delete;
  death_notice& operator=(const death_notice&) = delete;
  ~death_notice();

 private:
  iocb request_{};
  std::uint64_t made_at_ = 0;  // the generation; 0: not given
};

/// Whether a process has begun to end: a death_notice comes before its descriptors are closed. False if it is gone.
[[nodiscard]] bool is_dying(int process) noexcept;

}  // namespace shoal::os
