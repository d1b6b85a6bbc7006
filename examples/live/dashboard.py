"""A weather station. A thread measures once a second, and what it assigns is pushed to every open page.

pip install 'sojourn[live]'
python examples/live/dashboard.py        # or: uvicorn dashboard:app
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque

from sojourn.live import App

EVERY = 1.0  # seconds
MOST = 60  # measurements that are shown

app = App(title="Weather station")

app.title("Weather station")
alarm = app.alert("", "warning", visible=False)
left, middle, right = app.columns(3)
figures = {
    "Valley": left.metric("Valley, °C", 18.0, better="neutral"),
    "Ridge": middle.metric("Ridge, °C", 12.0, better="neutral"),
    "Summit": right.metric("Summit, °C", 5.0, better="neutral"),
}
course, now, data = app.tabs(["Course", "Now", "Data"])
lines = course.line_chart([], title="Temperature in °C")
bars = now.bar_chart([], title="Temperature in °C")
table = data.dataframe([], height=320)
limit = app.number_input("Warn everybody above 20 °C", 20.0, step=0.5)


@limit.on_change
def set_limit(session, value):
    if value is not None:
        app.shared["limit"] = value  # for the threads of all processes
        limit.label = f"Warn everybody above {value:g} °C"  # the label is everybody's, the value each visitor's own


def measure():
    measured = deque(maxlen=MOST)
    latest = {name: figure.value for name, figure in figures.items()}
    while True:
        latest = {name: round(random.gauss(value, 0.3), 1) for name, value in latest.items()}
        measured.append({"Time": time.strftime("%H:%M:%S"), **latest})
        show(list(measured))
        time.sleep(EVERY)


def show(measured):
    before, latest = measured[-2:][0], measured[-1]
    for name, figure in figures.items():
        figure.value, figure.delta = latest[name], round(latest[name] - before[name], 1)
    lines.data = measured
    bars.data = {"Place": list(figures), "°C": [latest[name] for name in figures]}
    table.data = measured[::-1]
    highest, at_most = max(latest[name] for name in figures), app.shared.get("limit", 20.0)
    alarm.text = f"It is {highest} °C, which is above {at_most:g} °C."
    alarm.visible = highest > at_most


threading.Thread(target=measure, daemon=True).start()

if __name__ == "__main__":
    app.run()
