"""What was measured of several servers, as rows: medians of the rounds, and goals beside them."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.plot import Bars
from bench.report import Cell, Table, least, percentile
from bench.servers import LLAMA_CPP_SERVER, LLAMA_SERVER, RBEE
from bench.trials import RUNNING, Beside, Chat, Streams

NAMES = (RBEE, LLAMA_SERVER, LLAMA_CPP_SERVER)
COLUMNS = ("machine", "", *NAMES, f"{RBEE} : {LLAMA_SERVER}", "goal")
OF_LLAMA_SERVER = {1: 0.97, 8: 0.95}
OF_LLAMA_CPP_SERVER = {8: 3.0}
SECOND_TURN = 10.0


@dataclass(slots=True)
class Found:
    """What was found of one server, a round after the other. ``prompt_s`` and ``prompt_tokens`` are a long prompt's."""

    streams: dict[int, list[Streams]] = field(default_factory=dict)
    prompt_s: list[float] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    chat: list[Chat] = field(default_factory=list)
    rss_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class _Rows:
    machine: str
    found: Mapping[str, Found]

    def row(self, what: str, value: Callable[[Found], float | None], goals: str = "") -> list[Cell]:
        """Return one number of each server, and ours against llama-server's."""
        known = {name: value(each) for name, each in self.found.items()}
        cells: list[Cell] = [_cell(known.get(name)) for name in NAMES]
        ours, theirs = known.get(RBEE), known.get(LLAMA_SERVER)
        ratio: Cell = ours / theirs if ours and theirs else ""
        return [self.machine, what, *cells, ratio, goals]

    def speed(self, count: int) -> list[Cell]:
        """Return tokens/s; here the ratio is the median of what it was in each round."""
        against = {name: self._ratio(count, name) for name in (LLAMA_SERVER, LLAMA_CPP_SERVER)}
        wanted = {LLAMA_SERVER: OF_LLAMA_SERVER.get(count), LLAMA_CPP_SERVER: OF_LLAMA_CPP_SERVER.get(count)}
        goals = "; ".join(
            least(ratio, wanted[name] or 0.0, f"× {name}")
            for name, ratio in against.items()
            if ratio is not None and wanted[name] is not None
        )
        row = self.row(
            f"tokens/s, {_streams(count)}", lambda each: _median(s.tokens_s for s in each.streams[count]), goals
        )
        row[COLUMNS.index(f"{RBEE} : {LLAMA_SERVER}")] = _cell(against[LLAMA_SERVER])
        return row

    def _ratio(self, count: int, name: str) -> float | None:
        if name not in self.found:
            return None
        pairs = zip(self.found[RBEE].streams[count], self.found[name].streams[count], strict=True)
        return statistics.median(ours.tokens_s / theirs.tokens_s for ours, theirs in pairs)

    def first(self, count: int, share: float) -> list[Cell]:
        """Return the time to first token; of all rounds together, for a share of few would be their longest."""
        return self.row(
            f"first token, {_streams(count)}, p{share * 100:g} ms",
            lambda each: percentile([ms for s in each.streams[count] for ms in s.first_ms], share),
        )

    def prompt(self) -> list[Cell]:
        tokens = next((each.prompt_tokens for each in self.found.values() if all(each.prompt_tokens)), [])
        return self.row(
            f"prompt read, tokens/s ({_median(tokens) or 0:,.0f} tokens)",
            lambda each: _median(count / took_s for count, took_s in zip(tokens, each.prompt_s, strict=False)),
        )

    def beside(self) -> list[list[Cell]]:
        def gaps(each: Found) -> list[float]:
            return [gap for one in each.beside for gap in one.gaps_ms]

        meanwhile = f"{RUNNING} streams while that prompt arrives"
        return [
            self.row(f"{meanwhile}: gap p50 ms", lambda each: percentile(gaps(each), 0.5) if each.beside else None),
            self.row(f"{meanwhile}: gap p99 ms", lambda each: percentile(gaps(each), 0.99) if each.beside else None),
            self.row(
                "that prompt among them: its first token, ms", lambda each: _median(one.first_ms for one in each.beside)
            ),
        ]

    def chat(self, tokens: int) -> list[list[Cell]]:
        ours = _median(each.first_ms / each.second_ms for each in self.found[RBEE].chat) or 0.0
        return [
            self.row(
                f"chat of {tokens:,} tokens: first turn's first token, ms",
                lambda each: _median(c.first_ms for c in each.chat),
            ),
            self.row("the second turn's, ms", lambda each: _median(c.second_ms for c in each.chat)),
            self.row(
                "first turn : second turn",
                lambda each: _median(c.first_ms / c.second_ms for c in each.chat),
                least(ours, SECOND_TURN),
            ),
        ]

    def cpu(self, count: int) -> list[list[Cell]]:
        return [
            self.row(f"CPU µs a token, {_streams(count)}", lambda each: _median(s.cpu_us for s in each.streams[count])),
            self.row(
                f"Python's part of that, {_streams(count)}",
                lambda each: _median(s.python_us for s in each.streams[count] if s.python_us is not None),
            ),
        ]


def table(
    found: Mapping[str, Found], *, name: str, ran: str, machine: str, counts: Sequence[int], chat_tokens: int
) -> Table:
    rows = _Rows(machine, found)
    return Table(
        name=name,
        ran=ran,
        columns=COLUMNS,
        rows=[
            *(rows.speed(count) for count in counts),
            *(rows.first(count, share) for count in counts for share in (0.5, 0.99)),
            rows.prompt(),
            *rows.beside(),
            *rows.chat(chat_tokens),
            *(
                row
                for count in sorted({counts[0], max(count for count in counts if count <= 8)})
                for row in rows.cpu(count)
            ),
            rows.row("RSS MB", lambda each: each.rss_mb),
        ],
    )


def bars(table: Table) -> Bars | None:
    """Return the picture of a table's tokens/s; None where it has none."""
    begin = "tokens/s, "
    rows = [row for row in table.plain()["rows"] if str(row.get("", "")).startswith(begin)]
    shown = [name for name in NAMES if all(isinstance(row.get(name), float) for row in rows)]
    if not rows or not shown:
        return None
    return Bars(
        title=f"tokens/s, {rows[0]['machine']}",
        groups=[row[""].removeprefix(begin) for row in rows],
        series={name: [row[name] for row in rows] for name in shown},
    )


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(statistics.median(known)) if known else None


def _cell(value: float | None) -> Cell:
    return "" if value is None else value
