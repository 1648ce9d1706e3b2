#include "queue/holder.hpp"

#include <fcntl.h>
#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "os/descriptor_limit.hpp"
#include "os/forks.hpp"

namespace shoal::queue {
namespace {

// Behind anything a file can have, so that nobody who locks parts of files by habit comes here.
constexpr std::uint64_t lock_area = std::uint64_t{1} << 62;

struct flock lock_on(std::uint64_t number) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(lock_area + number);
  lock.l_len = 1;
  return lock;
}

os::file_descriptor reopen(int segment) {
  const std::string path = "/proc/thread-self/fd/" + std::to_string(segment);  // also where the first thread has ended
  return os::file_descriptor(
      os::new_descriptor("reopening a queue", [&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); }));
}

}  // namespace

/// The holders that end in a child: it closes their descriptors before fork returns there.
class holder::registry {
 public:
  static registry& instance() {
    static auto* const only = new registry();
    return *only;
  }

  // Under one lock: a fork in between would leave the child a descriptor that nobody closes there.
  void open(holder* made, int segment) {
    const std::scoped_lock lock(mutex_);
    holders_.push_back(made);
    try {
      made->description_ = reopen(segment);
    } catch (...) {
      holders_.pop_back();
      throw;
    }
  }
  void close(holder* ended) noexcept {
    const std::scoped_lock lock(mutex_);
    std::erase(holders_, ended);
    ended->description_.reset();
  }

 private:
  registry() {
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] {
                       for (holder* const inherited : instance().holders_) {
                         inherited->description_.reset();
                       }
                       instance().mutex_.unlock();
                     });
  }

  std::mutex mutex_;
  std::vector<holder*> holders_;
};

holder::holder(int segment, std::uint64_t number, in_child fate) : number_(number), fate_(fate), made_at_(os::forks()) {
  if (fate_ == in_child::ends) {
    registry::instance().open(this, segment);
  } else {
    description_ = reopen(segment);
  }
  struct flock lock = lock_on(number);
  if (::fcntl(description_.get(), F_OFD_SETLK, &lock) != 0) {
    const int code = errno;
    close();
    os::throw_errno("locking a byte of a queue", code);
  }
}

holder::~holder() { close(); }

void holder::close() noexcept {
  if (fate_ == in_child::ends) {
    registry::instance().close(this);
  }
}

// Before anybody can fork while it is being made.
const holder::registry& holder::made_early = holder::registry::instance();

bool holder::is_exclusive() const noexcept {
  return fate_ == in_child::ends ? static_cast<bool>(description_) : made_at_ == os::forks();
}

bool holder::is_alive(int segment, std::uint64_t number) noexcept {
  struct flock lock = lock_on(number);
  // Whoever cannot tell must not take anything away.
  return ::fcntl(segment, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace shoal::queue
