// How soon a handler has an item, in a loop of epoll; see wakeups.hpp.

#include "wakeups.hpp"

#include <sys/epoll.h>

#include <deque>

namespace {

class epoll_loop final : public bench::wakeups::watching_loop {
 public:
  epoll_loop() : descriptor_(::epoll_create1(EPOLL_CLOEXEC)) {}
  epoll_loop(const epoll_loop&) = delete;
  epoll_loop& operator=(const epoll_loop&) = delete;
  ~epoll_loop() override { ::close(descriptor_); }

  void run() override {
    std::array<epoll_event, 16> events{};
    while (running_) {
      const int ready = ::epoll_wait(descriptor_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < ready; ++i) {
        (*static_cast<std::function<void()>*>(events[static_cast<std::size_t>(i)].data.ptr))();
      }
    }
  }

  void stop() override { running_ = false; }

 private:
  void watch(int descriptor, std::function<void()> on_readable) override {
    handlers_.push_back(std::move(on_readable));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &handlers_.back();
    if (::epoll_ctl(descriptor_, EPOLL_CTL_ADD, descriptor, &event) != 0) {
      throw std::system_error(errno, std::system_category(), "adding to an epoll instance");
    }
  }

  int descriptor_;
  std::deque<std::function<void()>> handlers_;
  bool running_ = true;
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<epoll_loop>(argc, argv); }
