"""A Qt 6 window that takes 100,000 items a second from a worker process and stays responsive.

    python examples/counter/flood_qt6.py [ITEMS [ITEMS_PER_SECOND]]

Items are taken with a budget, after which Qt does what else is to be done. In the end it prints how many came, and how
late ticks of 10 ms were.
"""

import signal
import sys

import shoal
from flood import TICK, Flood
from PyQt6.QtCore import QSocketNotifier, Qt, QTimer
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QApplication, QLabel, QPushButton, QVBoxLayout, QWidget


class Window(QWidget):
    def __init__(self, flood):
        super().__init__(windowTitle="Flood")
        self.resize(400, 220)
        self.flood = flood
        self.label = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, styleSheet="font-size: 48pt")
        layout = QVBoxLayout(self)
        layout.addWidget(self.label, 1)
        layout.addWidget(QPushButton("Quit", clicked=self.close))
        QShortcut(QKeySequence("Escape"), self, self.close)
        self.notifier = QSocketNotifier(flood.queue.fileno(), QSocketNotifier.Type.Read, self)
        self.notifier.activated.connect(self.on_items)
        ticks = QTimer(self, interval=round(1000 * TICK), timerType=Qt.TimerType.PreciseTimer, timeout=flood.tick)
        ticks.start()

    def on_items(self):
        try:
            self.flood.take()
        except shoal.ShutDown:
            self.notifier.setEnabled(False)
            self.close()
            return
        self.label.setText(str(self.flood.count))  # drawn later, once for many


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends both processes at once
    flood = Flood()
    app = QApplication(sys.argv)
    window = Window(flood)
    window.show()
    app.exec()
    flood.end()


if __name__ == "__main__":
    main()
