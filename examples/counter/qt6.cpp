// A window of Qt 6 that shows what a worker process counts.
//
//     qt6
//
// The worker's numbers wake Qt's own loop through the queue's descriptor: there is no thread, and nothing is polled.
// The button, Escape or closing the window end the program; the worker is told by a second queue.

#include <QApplication>
#include <QLabel>
#include <QPushButton>
#include <QShortcut>
#include <QSocketNotifier>
#include <QVBoxLayout>
#include <QWidget>
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

}  // namespace

int main(int argc, char** argv) {
  shoal::queue<int> numbers;
  shoal::queue<std::string> commands;
  // Before Qt opens the display, which is not for two processes.
  shoal::process worker({.daemon = true}, count, std::ref(numbers), std::ref(commands));

  const QApplication application(argc, argv);
  QWidget window;
  window.setWindowTitle("Counter");
  window.resize(320, 220);
  QLabel label;
  label.setAlignment(Qt::AlignCenter);
  label.setStyleSheet("font-size: 48pt");
  QPushButton quit("Quit");
  QVBoxLayout layout(&window);
  layout.addWidget(&label, 1);
  layout.addWidget(&quit);
  const QShortcut escape(QKeySequence(Qt::Key_Escape), &window);
  QObject::connect(&quit, &QPushButton::clicked, &window, &QWidget::close);
  QObject::connect(&escape, &QShortcut::activated, &window, &QWidget::close);

  const QSocketNotifier notifier(numbers.native_handle(), QSocketNotifier::Read);
  QObject::connect(&notifier, &QSocketNotifier::activated, [&] {
    // No more than a hundred at a time, so that the window is drawn and its keys are heard however many come.
    const std::vector<int> some = numbers.try_pop_many(100);
    if (!some.empty()) {
      label.setText(QString::number(some.back()));
    }
  });

  window.show();
  const int code = QApplication::exec();  // until the window is closed
  commands.push("quit");
  return worker.join().success() ? code : 1;
}
