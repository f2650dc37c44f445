"""A benchmark's result as one page that needs nothing else: tables and charts, for wide and narrow windows."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Final

from edge.benchmark_charts import Bar, bars, line
from edge.benchmark_result import Loop, Result, Sustained
from edge.benchmark_text import (
    COMPARISON_HEAD,
    MODEL_HEAD,
    NAMES,
    STAGE_HEAD,
    board_rows,
    compared,
    comparison_row,
    differences,
    loop_rows,
    model_name,
    model_rows,
    stage_rows,
    sustained_rows,
    when,
)

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6875; --paper: #fff; --panel: #f4f6f8; --rule: #d5dce3;
  --bar: #2b6cb0; --whisker: #d97706; --warn: #fff4d6; --warn-rule: #d97706; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #a2aebb; --paper: #14191f; --panel: #1d242c;
  --rule: #36414d; --bar: #63a4e8; --whisker: #f0b354; --warn: #3a2f14; --warn-rule: #f0b354; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5rem; margin: .5rem 0 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 46rem; } .soft { color: var(--soft); }
.warning { background: var(--warn); border-left: 4px solid var(--warn-rule); padding: .5rem .8rem; max-width: none;
  overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
.panel { background: var(--panel); border-radius: 6px; padding: .8rem; min-width: 0; }
.panel h3 { font-size: 1rem; margin: 0 0 .4rem; } .scroll { overflow-x: auto; }
svg { display: block; width: 100%; max-width: 27rem; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .head { font-weight: 600; } svg .label { text-anchor: end; fill: var(--soft); }
svg .tick { text-anchor: middle; fill: var(--soft); } svg .unit { fill: var(--soft); }
.bar { fill: var(--bar); } .whisker { fill: none; stroke: var(--whisker); stroke-width: 2; }
.grid { stroke: var(--rule); } .line { fill: none; stroke: var(--bar); stroke-width: 2; } .dot { fill: var(--bar); }
table { border-collapse: collapse; font-size: .9rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } .facts td { text-align: left; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
@media (max-width: 30rem) { body { padding: .6rem; } .panel { padding: .5rem; } table { font-size: .8rem; }
  th, td { padding: .2rem .25rem; } }
"""


def page(result: Result, other: Result | None = None) -> str:
    """The page as HTML.

    Args:
        result: what was measured.
        other: an earlier result to put beside it.
    """
    title = f"edge-pose {result.version} on {result.board.model}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Benchmark of {escape(when(result))}</p>',
        *_notes(result),
        "<h2>Board</h2>",
        _facts(board_rows(result.board)),
        "<h2>Models by themselves</h2>",
        (
            "<p>One invocation again and again, nothing else. The bar is the median; the whisker reaches the 95th "
            "percentile. CPU is the processor time of all threads together.</p>"
        ),
        _columns(*_model_panels(result)),
    ]
    for loop in result.loops:
        body += [
            f"<h2>The loop on {escape(NAMES[loop.name])}</h2>",
            f"<p>{escape(f'{loop.source}, {loop.details}')}</p>",
        ]
        body.append(_columns(*_loop_panels(loop, result.broker)))
    body += ["<h2>Sustained</h2>", _columns(*_sustained_panels(result.sustained))]
    if other:
        body += _comparison(other, result)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _notes(result: Result) -> list[str]:
    quick = ["A quick run, to see that everything works: its figures mean nothing."] * result.quick
    return [f'<p class="warning">{escape(note)}</p>' for note in (*quick, *result.warnings)]


def _columns(*panels: str) -> str:
    return f'<div class="columns">{"".join(panels)}</div>'


def _panel(title: str, content: str) -> str:
    return f'<div class="panel"><h3>{escape(title)}</h3><div class="scroll">{content}</div></div>'


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{lines}</table>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _model_panels(result: Result) -> list[str]:
    rows: list[Bar] = []
    for name, models in groupby(result.models, model_name):
        rows.append(Bar(name))
        for model in models:
            threads = f"{model.threads} {'thread' if model.threads == 1 else 'threads'}"
            rows.append(Bar(threads, model.invoke_ms.p50, model.invoke_ms.p95))
    chart = bars("Median and 95th percentile of one invocation, by model and number of threads", "ms", rows)
    return [_panel("Time of one invocation", chart), _panel("Milliseconds", _table(MODEL_HEAD, model_rows(result)))]


def _loop_panels(loop: Loop, broker: str) -> list[str]:
    stages = [Bar(stage, times.p50, times.p95) for stage, times in loop.stage_ms.items()]
    waits = (("Capture to message", loop.latency_ms), ("Capture to subscriber", loop.arrival_ms))
    latency: list[Bar] = []
    for name, times in waits:
        if times:
            latency += [Bar(name), Bar("p50", times.p50), Bar("p95", times.p95), Bar("p99", times.p99)]
    panels = [
        _panel("Stages: median, whisker to p95", bars("Median and 95th percentile of each stage", "ms", stages)),
        _panel("Stages", _table(STAGE_HEAD, stage_rows(loop))),
        _panel("From end to end", _facts(loop_rows(loop, broker))),
    ]
    return [*panels, _panel("Latency", bars("Percentiles of the latency", "ms", latency))] if latency else panels


def _sustained_panels(run: Sustained) -> list[str]:
    panels = [_panel("The loop for longer", _facts(sustained_rows(run)))]
    rates = [(moment.time_s, moment.fps) for moment in run.moments]
    warmth = [(moment.time_s, moment.temperature_c) for moment in run.moments if moment.temperature_c is not None]
    if rates:
        chart = line("Frames per second over time", "frames per second", rates, from_zero=True)
        panels.append(_panel("Frames per second over time", chart))
    if warmth:
        chart = line("Temperature over time", "°C", warmth, from_zero=False)
        panels.append(_panel("Temperature over time", chart))
    return panels


def _comparison(other: Result, this: Result) -> list[str]:
    rows = [comparison_row(row) for row in compared(other, this)]
    notes = "".join(f"<li>{escape(note)}</li>" for note in differences(other, this))
    intro = f"edge-pose {other.version} on {other.board.model}, {when(other)}; ~ is within what two runs differ by."
    return [
        "<h2>Compared with an earlier run</h2>",
        f"<p>{escape(intro)}</p><ul>{notes}</ul>",
        f'<div class="scroll">{_table(COMPARISON_HEAD, rows)}</div>',
    ]
