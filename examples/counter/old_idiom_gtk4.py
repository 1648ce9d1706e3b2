"""A program for multiprocessing as they were written in 2008: GTK's loop watches the pipe inside a queue.

    python examples/counter/old_idiom_gtk4.py             # with the standard library's multiprocessing
    python -m shoal examples/counter/old_idiom_gtk4.py    # the same on Shoal

Only what GTK itself has changed since then is new. `_reader` was never public, but there was no other way.
"""

import multiprocessing
import signal
import time

import gi

gi.require_version("Gtk", "4.0")
from gi.repository import GLib as gobject  # noqa: E402, N813
from gi.repository import Gtk as gtk  # noqa: E402, N813


class Worker(multiprocessing.Process):
    def __init__(self, inq, outq):
        multiprocessing.Process.__init__(self)
        self.inq = inq
        self.outq = outq

    def run(self):
        number = 0
        while self.inq.empty():
            number += 1
            self.outq.put(number)
            time.sleep(0.01)
        self.inq.get()


class Counter:
    def __init__(self):
        self.outq = multiprocessing.Queue()
        self.inq = multiprocessing.Queue()
        self.worker = Worker(self.outq, self.inq)
        self.worker.daemon = True
        self.worker.start()

        gtk.init()
        self.label = gtk.Label(vexpand=True)
        button = gtk.Button(label="Quit")
        button.connect("clicked", self.on_quit)
        box = gtk.Box(orientation=gtk.Orientation.VERTICAL, margin_bottom=18, margin_start=18, margin_end=18)
        box.append(self.label)
        box.append(button)
        self.window = gtk.Window(title="Counter", child=box, default_width=320, default_height=220)
        self.window.connect("close-request", self.on_quit)
        keys = gtk.EventControllerKey()
        keys.connect("key-pressed", self.on_key)
        self.window.add_controller(keys)
        self.window.present()

        gobject.io_add_watch(self.inq._reader.fileno(), gobject.IO_IN, self.on_number)
        self.loop = gobject.MainLoop()

    def on_number(self, source, condition):
        number = self.inq.get()
        self.label.set_markup("<span size='48pt'>%d</span>" % number)  # noqa: UP031
        return True

    def on_key(self, controller, key, code, state):
        if key == 0xFF1B:  # Escape
            self.on_quit()

    def on_quit(self, *arguments):
        self.loop.quit()

    def main(self):
        self.loop.run()
        self.outq.put("quit")
        while self.worker.is_alive():  # it ends when all that it has put was taken
            while self.inq._reader.poll(0.01):
                self.inq.get()
        self.worker.join()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Counter().main()
