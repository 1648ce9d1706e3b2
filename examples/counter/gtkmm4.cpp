// A window of gtkmm that shows what a worker process counts.
//
//     gtkmm4
//
// The worker's numbers wake GTK's own loop through the queue's descriptor: there is no thread, and nothing is polled.
// The button, Escape or closing the window end the program; the worker is told by a second queue.

#include <glibmm/main.h>
#include <gtkmm/application.h>
#include <gtkmm/box.h>
#include <gtkmm/button.h>
#include <gtkmm/label.h>
#include <gtkmm/window.h>

#include <chrono>
#include <functional>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <string>
#include <vector>

namespace {

/// What the worker does: push a number a hundred times a second, until a command comes.
void count(shoal::queue<int>& numbers, shoal::queue<std::string>& commands) {
  for (int number = 1; !commands.pop_for(std::chrono::milliseconds(10)); ++number) {
    numbers.push(number);
  }
}

class counter_window : public Gtk::Window {
 public:
  explicit counter_window(shoal::queue<int>& numbers) : numbers_(numbers) {
    set_title("Counter");
    set_default_size(320, 220);
    label_.set_vexpand();
    quit_.set_action_name("window.close");
    box_.set_margin(18);
    box_.append(label_);
    box_.append(quit_);
    set_child(box_);
    Glib::signal_io().connect(sigc::mem_fun(*this, &counter_window::on_numbers), numbers_.native_handle(),
                              Glib::IOCondition::IO_IN, Glib::PRIORITY_DEFAULT_IDLE);
  }

 private:
  bool on_numbers(Glib::IOCondition) {
    // No more than a hundred at a time, so that the window is drawn and its keys are heard however many come.
    const std::vector<int> some = numbers_.try_pop_many(100);
    if (!some.empty()) {
      label_.set_markup("<span size='48pt'>" + std::to_string(some.back()) + "</span>");
    }
    return true;  // go on listening
  }

  shoal::queue<int>& numbers_;
  Gtk::Box box_{Gtk::Orientation::VERTICAL};
  Gtk::Label label_;
  Gtk::Button quit_{"Quit"};
};

}  // namespace

int main(int argc, char** argv) {
  shoal::queue<int> numbers;
  shoal::queue<std::string> commands;
  // Before GTK opens the display, which is not for two processes.
  shoal::process worker({.daemon = true}, count, std::ref(numbers), std::ref(commands));
  const auto application = Gtk::Application::create();
  application->signal_startup().connect([&] { application->set_accel_for_action("window.close", "Escape"); });
  const int code = application->make_window_and_run<counter_window>(argc, argv, numbers);  // until it is closed
  commands.push("quit");
  return worker.join().success() ? code : 1;
}
