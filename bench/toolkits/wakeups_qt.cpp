// How soon a handler has an item, in a loop of Qt; see wakeups.hpp.

#include "wakeups.hpp"  // before Qt, one of whose macros is called `forever`

#include <QCoreApplication>
#include <QSocketNotifier>

namespace {

class qt_loop final : public bench::wakeups::event_loop {
 public:
  void watch(int descriptor, std::function<void()> handler) override {
    auto* const notifier = new QSocketNotifier(descriptor, QSocketNotifier::Read, &application_);
    QObject::connect(notifier, &QSocketNotifier::activated, notifier, std::move(handler));
  }

  void run() override { QCoreApplication::exec(); }
  void stop() override { QCoreApplication::quit(); }

 private:
  int argc_ = 0;
  char* argv_ = nullptr;
  QCoreApplication application_{argc_, &argv_};
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<qt_loop>(argc, argv); }
