"""A Tk window that shows what a worker process counts.

    python examples/counter/tk.py

The worker's numbers wake Tk's own loop through the queue's descriptor: there is no thread, and nothing is polled. The
button, Escape or closing the window end the program; the worker is told by a second queue.
"""

import itertools
import signal
import tkinter
from tkinter import ttk

import shoal


def count(numbers, commands):
    """What the worker does: put a number a hundred times a second, until a command comes."""
    for number in itertools.count(1):
        numbers.put(number)
        if commands.get_many(1, timeout=0.01):
            return


def show(root, numbers):
    root.title("Counter")
    root.geometry("320x220")
    label = ttk.Label(root, font=("DejaVu Sans", 48), anchor="center")
    label.pack(expand=True, fill="both")
    ttk.Button(root, text="Quit", command=root.destroy).pack(fill="x", padx=18, pady=18)
    root.bind("<Escape>", lambda event: root.destroy())

    def on_numbers(descriptor, condition):
        # No more than a hundred at a time, so that the window is drawn and its keys are heard however many come.
        for number in numbers.get_many(100, timeout=0)[-1:]:
            label["text"] = number

    root.createfilehandler(numbers.fileno(), tkinter.READABLE, on_numbers)
    label.bind("<Destroy>", lambda event: root.deletefilehandler(numbers.fileno()))


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends both processes at once
    numbers, commands = shoal.Queue(), shoal.Queue()
    worker = shoal.Process(target=count, args=(numbers, commands), daemon=True)
    worker.start()  # before Tk opens the display, which is not for two processes
    root = tkinter.Tk()
    show(root, numbers)
    root.mainloop()  # until the window is closed
    commands.put("quit")
    worker.join()


if __name__ == "__main__":
    main()
