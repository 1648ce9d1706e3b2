"""A Qt 6 window that shows what a worker process counts.

    python examples/counter/qt6.py

The worker's numbers wake Qt's own loop through the queue's descriptor: there is no thread, and nothing is polled. The
button, Escape or closing the window end the program; the worker is told by a second queue.
"""

import itertools
import signal
import sys

import shoal
from PyQt6.QtCore import QSocketNotifier, Qt
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QApplication, QLabel, QPushButton, QVBoxLayout, QWidget


def count(numbers, commands):
    """What the worker does: put a number a hundred times a second, until a command comes."""
    for number in itertools.count(1):
        numbers.put(number)
        if commands.get_many(1, timeout=0.01):
            return


class Counter(QWidget):
    def __init__(self, numbers):
        super().__init__(windowTitle="Counter")
        self.resize(320, 220)
        self.numbers = numbers
        self.label = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, styleSheet="font-size: 48pt")
        layout = QVBoxLayout(self)
        layout.addWidget(self.label, 1)
        layout.addWidget(QPushButton("Quit", clicked=self.close))
        QShortcut(QKeySequence("Escape"), self, self.close)
        notifier = QSocketNotifier(numbers.fileno(), QSocketNotifier.Type.Read, self)
        notifier.activated.connect(self.on_numbers)

    def on_numbers(self):
        # No more than a hundred at a time, so that the window is drawn and its keys are heard however many come.
        for number in self.numbers.get_many(100, timeout=0)[-1:]:
            self.label.setText(str(number))


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends both processes at once
    numbers, commands = shoal.Queue(), shoal.Queue()
    worker = shoal.Process(target=count, args=(numbers, commands), daemon=True)
    worker.start()  # before Qt opens the display, which is not for two processes
    app = QApplication(sys.argv)
    window = Counter(numbers)
    window.show()
    app.exec()  # until the window is closed
    commands.put("quit")
    worker.join()


if __name__ == "__main__":
    main()
