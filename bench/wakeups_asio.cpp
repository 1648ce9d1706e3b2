// How soon a handler has an item, in a loop of Asio; see wakeups.hpp.

#include <asio.hpp>

#include "wakeups.hpp"

namespace {

class asio_loop final : public bench::wakeups::event_loop {
 public:
  void watch(int descriptor, std::function<void()> handler) override {
    auto stream = std::make_shared<asio::posix::stream_descriptor>(context_, ::dup(descriptor));
    wait(*stream, [stream, handler = std::move(handler)] { handler(); });
  }

  void run() override { context_.run(); }
  void stop() override { context_.stop(); }

 private:
  static void wait(asio::posix::stream_descriptor& stream, std::function<void()> handler) {
    stream.async_wait(asio::posix::stream_descriptor::wait_read,
                      [&stream, handler = std::move(handler)](std::error_code failure) mutable {
                        if (!failure) {
                          handler();
                          wait(stream, std::move(handler));
                        }
                      });
  }

  asio::io_context context_{1};
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<asio_loop>(argc, argv); }
