// How soon a handler has an item, in a loop of GLib; see wakeups.hpp.

#include <glib-unix.h>

#include <deque>

#include "wakeups.hpp"

namespace {

class glib_loop final : public bench::wakeups::watching_loop {
 public:
  void run() override { g_main_loop_run(loop_.get()); }
  void stop() override { g_main_loop_quit(loop_.get()); }

 private:
  void watch(int descriptor, std::function<void()> on_readable) override {
    handlers_.push_back(std::move(on_readable));
    const auto call = [](int, GIOCondition, void* data) -> int {
      (*static_cast<std::function<void()>*>(data))();
      return G_SOURCE_CONTINUE;
    };
    g_unix_fd_add(descriptor, G_IO_IN, call, &handlers_.back());
  }

  std::unique_ptr<GMainLoop, void (*)(GMainLoop*)> loop_{g_main_loop_new(nullptr, 0), &g_main_loop_unref};
  std::deque<std::function<void()>> handlers_;
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<glib_loop>(argc, argv); }
