"""What `live` has found: as tables, as raw figures, and beside what the project wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .live_browser import DROPS, Kept, Weight
from .live_servers import BARE, MEMORY, NICEGUI, POWER
from .report import Table, Verdict, microseconds, times
from .timing import Samples, median, percentile

FLAT_OUT = 50
"""Sessions that click flat out."""
SEEN_BY = 100
"""Sessions that see what is shared."""


@dataclass
class Found:
    """What was seen of one contender, over all rounds."""

    taken: dict[int, list[float]] = field(default_factory=dict)
    """Seconds a click, by sessions."""
    overloaded: set[int] = field(default_factory=set)
    empty: list[int] = field(default_factory=list)
    """Bytes before the sessions came."""
    each: list[float] = field(default_factory=list)
    """Bytes a session."""
    rate: list[float] = field(default_factory=list)
    """Clicks a second, flat out."""
    cpu: list[float] = field(default_factory=list)
    """The server's CPU seconds of a click, flat out."""
    busy: list[float] = field(default_factory=list)
    """The client's share of its CPU meanwhile."""
    seen: list[float] = field(default_factory=list)
    """Seconds until a session has seen what is shared."""
    last: list[float] = field(default_factory=list)
    """Seconds until the last one has."""


Everything = dict[str, Found]
"""By contender."""


# --- What is printed --------------------------------------------------------------------------------------------------


def tables(
    found: Everything, weights: dict[str, Weight], kept: dict[str, Kept], levels: Sequence[int], where: str
) -> list[Table]:
    return [
        _latency_table(found, levels, where),
        _rate_table(found),
        _shared_table(found),
        _page_table(weights),
        _kept_table(kept),
    ]


def _latency_table(found: Everything, levels: Sequence[int], where: str) -> Table:
    columns = ["milliseconds"]
    for level in levels:
        columns += [f"{level}: p50", "p99"]
    rows = []
    for name, one in found.items():
        row = [name]
        for level in levels:
            taken = one.taken.get(level)
            late = " (overloaded)" if level in one.overloaded else ""
            row += [_ms(taken, 0.5) + late, _ms(taken, 0.99)] if taken else ["-", "-"]
        rows.append(row)
    note = "A session clicks once a second. Overloaded: less than half of the clicks were answered meanwhile."
    return Table(f"click to update by sessions; {where}", columns, rows, note)


def _rate_table(found: Everything) -> Table:
    columns = [
        f"flat out, {FLAT_OUT} sessions",
        "clicks a second",
        "of NiceGUI's",
        "of the floor's",
        "server's CPU us a click",
        "of NiceGUI's",
        "client busy",
        "server at first, MB",
        "KB a session",
        "above the floor",
    ]
    seconds = Samples({name: [1 / rate for rate in one.rate] for name, one in found.items()})
    cpu = Samples({name: one.cpu for name, one in found.items()})
    floor = median(found[BARE.name].each)
    rows = [
        [
            name,
            f"{median(one.rate):,.0f}",
            times(seconds.lead(name, NICEGUI.name)),
            times(seconds.lead(name, BARE.name)),
            microseconds(median(one.cpu)),
            f"{1 / cpu.lead(name, NICEGUI.name):.2f}",
            f"{median(one.busy):.0%}",
            f"{median(one.empty) / 1e6:.1f}",
            f"{median(one.each) / 1024:.1f}",
            f"{(median(one.each) - floor) / 1024:+.1f}",
        ]
        for name, one in found.items()
    ]
    return Table("clicks a second, and memory", columns, rows)


def _shared_table(found: Everything) -> Table:
    columns = [f"milliseconds until {SEEN_BY} sessions see it", "each: p50", "p99", "the last: p50", "p99"]
    rows = [
        [name, *(_ms(taken, share) for taken in (one.seen, one.last) for share in (0.5, 0.99))]
        for name, one in found.items()
    ]
    return Table("a shared label changes", columns, rows)


def _page_table(weights: dict[str, Weight]) -> Table:
    columns = ["cold Chromium", "KB used", "KB sent", "files", "ms to the label"]
    rows = [
        [
            "Sojourn" if name == MEMORY.name else name,
            f"{one.size / 1000:,.1f}",
            f"{one.sent / 1000:,.1f}",
            str(one.files),
            f"{median(one.seconds) * 1e3:.0f}",
        ]
        for name, one in weights.items()
    ]
    note = "Used: uncompressed bodies, with what the page loads by itself later on. Sent: with their heads."
    return Table("the page, with its scripts and styles", columns, rows, note)


def _kept_table(kept: dict[str, Kept]) -> Table:
    words = {True: "kept", False: "lost"}
    columns = ["the count", "refresh", f"2 s without socket, {DROPS} times", "a click meanwhile, done once", "kill -9"]
    rows = [
        [name, words[one.refresh], _counted(one.drops, words), _counted(one.clicks, {True: "yes"}), words[one.kill]]
        for name, one in kept.items()
    ]
    return Table("kept or lost, in Chromium", columns, rows, "Not taken: the page took no click meanwhile.")


def _counted(seen: Sequence[bool | None], words: dict[bool, str]) -> str:
    """One word, if it was the same each time."""
    said = [words.get(one, "lost") if one is not None else "not taken" for one in seen]
    return said[0] if len({*said}) == 1 else ", ".join(said)


def _ms(taken: Sequence[float], share: float) -> str:
    value = percentile(sorted(taken), share) * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figures(found: Everything, weights: dict[str, Weight], kept: dict[str, Kept]) -> dict[str, Any]:
    contenders: dict[str, Any] = {}
    for name, one in found.items():
        contenders[name] = {
            "latency_seconds": {
                level: {f"p{round(share * 100)}": percentile(sorted(taken), share) for share in (0.5, 0.99)}
                | {"clicks": len(taken), "overloaded": level in one.overloaded}
                for level, taken in one.taken.items()
            },
            "clicks_a_second": one.rate,
            "server_cpu_seconds_a_click": one.cpu,
            "client_busy": one.busy,
            "bytes_at_first": one.empty,
            "bytes_a_session": one.each,
            "shared_seconds": {"each": percentile(sorted(one.seen), 0.5), "last": percentile(sorted(one.last), 0.5)},
        }
    pages = {name: {"used": w.size, "sent": w.sent, "seconds": w.seconds} for name, w in weights.items()}
    told = {
        name: {"refresh": k.refresh, "drops": k.drops, "clicks_meanwhile": k.clicks, "kill": k.kill}
        for name, k in kept.items()
    }
    return {"contenders": contenders, "page": pages, "kept": told}


# --- What the project wants -------------------------------------------------------------------------------------------


def verdicts(
    found: Everything, weights: dict[str, Weight], kept: dict[str, Kept], levels: Sequence[int]
) -> list[Verdict]:
    own, theirs = found[MEMORY.name], found[NICEGUI.name]
    found_out = []
    for level in levels:
        mine, other = (percentile(sorted(one.taken.get(level, [float("inf")])), 0.5) for one in (own, theirs))
        wanted = f"{level} session{'s' * (level > 1)}: click to update ahead of NiceGUI"
        found_out.append(Verdict(wanted, f"p50 {mine * 1e3:.2f} ms, NiceGUI {other * 1e3:.2f}", mine < other))
    seconds = Samples({name: [1 / rate for rate in one.rate] for name, one in found.items()})
    cpu = Samples({name: one.cpu for name, one in found.items()})
    for name, least in ((MEMORY.name, 2), (POWER.name, 1)):
        lead = seconds.lead(name, NICEGUI.name)
        rates = f"{times(lead)} ({times(cpu.lead(name, NICEGUI.name))} by the server's CPU time)"
        found_out.append(Verdict(f"{name}: at least x{least} of NiceGUI's clicks a second", rates, lead >= least))
    above = (median(own.each) - median(found[BARE.name].each)) / 1024
    found_out.append(Verdict("at most 25 KB a session above a bare socket", f"{above:.1f} KB", above <= 25))
    last = percentile(sorted(own.last), 0.5) * 1e3
    found_out.append(
        Verdict(f"a shared label seen by {SEEN_BY} under 10 ms p50", f"{last:.1f} ms by the last", last < 10)
    )
    page = weights[MEMORY.name]
    found_out.append(Verdict("the page at most 60 KB", f"{page.size / 1000:.1f} KB", page.size <= 60_000))
    cold = median(page.seconds) * 1e3
    found_out.append(Verdict("cold load to the label under 200 ms", f"{cold:.0f} ms", cold < 200))
    for name, one in kept.items():
        if name.startswith("Sojourn") and name != MEMORY.name:
            well = {
                "refresh": one.refresh,
                "drop": all(one.drops),
                "click meanwhile": all(one.clicks),
                "kill": one.kill,
            }
            lost = [what for what, kept_it in well.items() if not kept_it]
            found_out.append(
                Verdict(f"{name}: the count is kept", f"lost: {', '.join(lost)}" if lost else "kept", not lost)
            )
    return found_out
