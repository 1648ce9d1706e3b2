// Money moves between two accounts that processes share, and a process is killed in the middle of it. The next one to
// lock the accounts is told so, puts them right, and goes on.
//
//     killed_holder

#include <shoal/mutex.hpp>
#include <shoal/process.hpp>
#include <shoal/shared_value.hpp>

#include <csignal>
#include <iostream>
#include <mutex>

#include <unistd.h>

namespace {

struct accounts {
  long checking = 1000;
  long savings = 0;
  long in_transit = 0;  // taken from one, not yet in the other
};

/// Both the money and its lock are in memory that the children share.
class bank {
 public:
  void save(long amount, bool gets_killed = false) {
    const std::unique_lock lock = locked();
    accounts& now = *accounts_;
    now.in_transit = amount;
    now.checking -= amount;
    if (gets_killed) {
      ::kill(::getpid(), SIGKILL);
    }
    now.savings += amount;
    now.in_transit = 0;
  }

  [[nodiscard]] accounts look() {
    const std::unique_lock lock = locked();
    return *accounts_;
  }

 private:
  std::unique_lock<shoal::mutex> locked() {
    try {
      mutex_.lock();
    } catch (const shoal::owner_died& death) {
      std::cout << death.what() << '\n';
      accounts& found = *accounts_;
      found.checking = 1000 - found.savings;  // what is not in the one is in the other
      found.in_transit = 0;
      mutex_.consistent();
    }
    return {mutex_, std::adopt_lock};
  }

  shoal::shared_value<accounts> accounts_{accounts{}};
  shoal::mutex mutex_{"accounts"};
};

}  // namespace

int main() {
  bank ours;
  shoal::process careful([&] { ours.save(300); });
  std::cout << "the first child " << to_string(careful.join()) << '\n';
  shoal::process unlucky([&] { ours.save(200, true); });
  std::cout << "the second child " << to_string(unlucky.join()) << '\n';

  const accounts now = ours.look();
  std::cout << "checking " << now.checking << ", savings " << now.savings << '\n';
  return now.checking + now.savings == 1000 ? 0 : 1;
}
