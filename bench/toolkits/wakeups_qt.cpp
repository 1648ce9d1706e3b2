// How soon a handler has an item, in a loop of Qt; see wakeups.hpp.

#include <QCoreApplication>
#include <QSocketNotifier>

#include "wakeups.hpp"

namespace {

class qt_loop final : public bench::wakeups::watching_loop {
 public:
  void run() override { QCoreApplication::exec(); }
  void stop() override { QCoreApplication::quit(); }

 private:
  void watch(int descriptor, std::function<void()> on_readable) override {
    auto* const notifier = new QSocketNotifier(descriptor, QSocketNotifier::Read, &application_);
    QObject::connect(notifier, &QSocketNotifier::activated, notifier, std::move(on_readable));
  }

  int argc_ = 0;
  char* argv_ = nullptr;
  QCoreApplication application_{argc_, &argv_};
};

}  // namespace

int main(int argc, char** argv) { return bench::wakeups::run<qt_loop>(argc, argv); }
