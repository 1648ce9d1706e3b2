// How soon a coroutine has an item, in a loop of Asio; see wakeups.hpp.

#include "shoal/asio.hpp"

#include <unistd.h>

#include "wakeups.hpp"

namespace {

class asio_loop final : public bench::wakeups::event_loop {
 public:
  void receive(bench::wakeups::channel& from, bench::wakeups::handler on_value) override {
    auto* const queue = dynamic_cast<bench::wakeups::queue_channel*>(&from);
    asio::co_spawn(context_, queue != nullptr ? pop(queue->queue(), on_value) : wait(from, on_value), asio::detached);
  }

  void run() override { context_.run(); }
  void stop() override { context_.stop(); }

 private:
  static asio::awaitable<void> pop(shoal::queue<std::int64_t>& queue, bench::wakeups::handler on_value) {
    for (;;) {
      on_value(co_await queue.async_pop(asio::use_awaitable));
    }
  }

  asio::awaitable<void> wait(bench::wakeups::channel& from, bench::wakeups::handler on_value) {
    asio::posix::stream_descriptor stream(context_, ::dup(from.descriptor()));
    for (;;) {
      co_await stream.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
      if (const std::optional<std::int64_t> value = from.receive()) {
        on_value(*value);
      }
    }
  }

  asio::io_context context_{1};
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<asio_loop>(argc, argv); }
