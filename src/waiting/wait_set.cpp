#include "shoal/wait_set.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "os/error.hpp"
#include "os/file_descriptor.hpp"
#include "os/forks.hpp"

namespace shoal {
namespace {

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI);

os::file_descriptor new_epoll() {
  return os::file_descriptor(os::new_descriptor("creating a wait_set", [] { return ::epoll_create1(EPOLL_CLOEXEC); }));
}

int milliseconds_left(deadline until) {
  using std::chrono::milliseconds;
  if (until == forever) {
    return -1;
  }
  const auto now = std::chrono::steady_clock::now();
  const milliseconds left = until <= now ? milliseconds(0) : std::chrono::ceil<milliseconds>(until - now);
  return static_cast<int>(std::min<milliseconds::rep>(left.count(), std::numeric_limits<int>::max()));
}

}  // namespace

/// The kernel keeps a descriptor in an epoll instance until the last copy of it is closed, which may be in a child.
/// Then it goes on reporting one that cannot be removed any more, for that takes the descriptor. So once an id is
/// reported that is not in the set, the instance is replaced.
class wait_set::state {
 public:
  state() : epoll_(new_epoll()), generation_(os::generation()) {}

  id add(const waitable& object) {
    check_process();
    const std::scoped_lock lock(mutex_);
    const id added = last_id_ + 1;
    const auto place = members_.emplace(added, object).first;
    try {
      control(EPOLL_CTL_ADD, epoll_.get(), added, object);
      // If one had this number before, that was closed, which has removed it.
      const auto [known, is_new] = by_descriptor_.try_emplace(object.descriptor(), added);
      if (!is_new) {
        members_.erase(std::exchange(known->second, added));
      }
    } catch (...) {
      members_.erase(place);
      throw;
    }
    return last_id_ = added;
  }

  bool remove(id which) {
    check_process();
    const std::scoped_lock lock(mutex_);
    const auto found = members_.find(which);
    if (found == members_.end()) {
      return false;
    }
    const int descriptor = found->second.descriptor();
    // Fails if it was closed: see above.
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
    by_descriptor_.erase(descriptor);
    members_.erase(found);
    return true;
  }

  int native_handle() {
    check_process();
    const std::scoped_lock lock(mutex_);
    if (!stable_) {
      os::file_descriptor made = new_epoll();
      watch(made.get());
      stable_ = std::move(made);
    }
    return stable_.get();
  }

  [[nodiscard]] std::size_t size() {
    check_process();
    const std::scoped_lock lock(mutex_);
    return members_.size();
  }

  std::vector<id> wait(deadline until) {
    check_process();
    std::vector<id> ready;
    do {
      std::array<epoll_event, 64> few;
      int count = poll(few, until);
      if (count < static_cast<int>(few.size())) {
        collect(std::span(few).first(static_cast<std::size_t>(count)), ready);
      } else {
        std::vector<epoll_event> all(std::max(size(), few.size()));
        count = poll(all, no_waiting);
        collect(std::span(all).first(static_cast<std::size_t>(count)), ready);
      }
      if (count == 0 && std::chrono::steady_clock::now() >= until) {
        break;
      }
    } while (ready.empty());
    return ready;
  }

 private:
  void check_process() const {
    if (os::generation() != generation_) {
      throw std::logic_error(
          "a wait_set that was made before this process was forked is its parent's, and would be changed there: make "
          "one of its own");
    }
  }

  static void control(int operation, int epoll, id which, const waitable& object) {
    epoll_event wanted{.events = static_cast<std::uint32_t>(object.events()), .data = {.u64 = which}};
    if (::epoll_ctl(epoll, operation, object.descriptor(), &wanted) == 0) {
      return;
    }
    const std::string descriptor = "descriptor " + std::to_string(object.descriptor());
    if (errno == EEXIST) {
      throw std::invalid_argument(descriptor + " is in the wait_set already");
    }
    os::throw_errno("adding " + descriptor + " to a wait_set");
  }

  /// @return how many were ready; 0 also if a signal handler ran.
  int poll(std::span<epoll_event> room, deadline until) {
    const int count = ::epoll_wait(epoll_.get(), room.data(), static_cast<int>(room.size()), milliseconds_left(until));
    if (count < 0 && errno != EINTR) {
      os::throw_errno("waiting for a wait_set");
    }
    return std::max(count, 0);
  }

  void collect(std::span<const epoll_event> reported, std::vector<id>& ready) {
    const std::scoped_lock lock(mutex_);
    bool gone = false;
    for (const epoll_event& one : reported) {
      const auto found = members_.find(one.data.u64);
      if (found == members_.end()) {
        gone = true;
      } else if (found->second.confirmed()) {
        ready.push_back(found->first);
      }
    }
    if (gone) {
      replace();
    }
  }

  /// Without those that were closed, by a new instance at the old number. Others who wait for the old one are woken by
  /// what is still reported there.
  void replace() {
    const os::file_descriptor fresh = new_epoll();
    for (auto& [which, object] : members_) {
      epoll_event same{.events = static_cast<std::uint32_t>(object.events()), .data = {.u64 = which}};
      // Only what the old one still has by this number: it may have been closed, and be something else by now.
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, object.descriptor(), &same) == 0) {
        control(EPOLL_CTL_ADD, fresh.get(), which, object);
      }
    }
    if (stable_) {
      (void)::epoll_ctl(stable_.get(), EPOLL_CTL_DEL, epoll_.get(), nullptr);  // as long as it has this number
    }
    os::check(::dup3(fresh.get(), epoll_.get(), O_CLOEXEC), "replacing the descriptor of a wait_set");
    if (stable_) {
      watch(stable_.get());
    }
  }

  void watch(int stable) {
    epoll_event readable{.events = EPOLLIN, .data = {}};
    os::check(::epoll_ctl(stable, EPOLL_CTL_ADD, epoll_.get(), &readable), "making a wait_set pollable");
  }

  const os::file_descriptor epoll_;
  const std::uint64_t generation_;
  std::mutex mutex_;            // guards everything below, and changes of the epoll instance
  os::file_descriptor stable_;  // what others poll: an instance of its own that has only epoll_, which may be replaced
  std::unordered_map<id, waitable> members_;
  std::unordered_map<int, id> by_descriptor_;
  id last_id_ = 0;
};

wait_set::wait_set() : state_(std::make_unique<state>()) {}
wait_set::wait_set(wait_set&&) noexcept = default;
wait_set& wait_set::operator=(wait_set&&) noexcept = default;
wait_set::~wait_set() = default;

wait_set::id wait_set::add(const waitable& object) { return state_->add(object); }
bool wait_set::remove(id which) { return state_->remove(which); }
std::size_t wait_set::size() const { return state_->size(); }
int wait_set::native_handle() { return state_->native_handle(); }
std::vector<wait_set::id> wait_set::wait_before(deadline until) { return state_->wait(until); }

}  // namespace shoal
