#!/usr/bin/env python3
"""Draws every panel of the dashboard as a graph in one page, from a running Prometheus.

    draw.py [--prometheus URL] [--minutes N] [--rate-interval 1m] [--png FILE] PAGE.html

It needs python3 alone, and chromium for --png. What Grafana would ask, it asks; it draws no more than lines and numbers.
"""

import argparse
import html
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

COLOURS = ["#73bf69", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#fade2a", "#8ab8ff", "#ca95e5", "#96d98d", "#ffb357"]
WIDTH, HEIGHT, LINES = 300, 92, 6


def ask(base, path, **query):
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def human(value, unit):
    """Writes a value in its unit, as short as Grafana does."""
    if unit == "percentunit":
        return f"{100 * value:.0f}%"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{1000 * value:.3g} ms"
    step, names = (1024, ["", "Ki", "Mi", "Gi", "Ti"]) if unit in ("bytes", "Bps") else (1000, ["", "k", "M", "G", "T"])
    i = 0
    while abs(value) >= step and i < len(names) - 1:
        value, i = value / step, i + 1
    suffix = {"bytes": "B", "Bps": "B/s", "cps": "/s"}.get(unit, "")
    return f"{value:.3g} {names[i]}{suffix}".strip()


def colour(value, steps):
    chosen = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            chosen = step["color"]
    return {"green": COLOURS[0], "yellow": COLOURS[5], "red": COLOURS[3]}[chosen]


def fill(expr, options):
    for name, value in {"$__rate_interval": options.rate_interval, "$job": ".+", "$instance": ".+"}.items():
        expr = expr.replace(name, value)
    return expr


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def stat(panel, options):
    results = ask(options.prometheus, "query", query=fill(panel["targets"][0]["expr"], options))
    if not results:
        return '<div class="stat none">no data</div>'
    value = float(results[0]["value"][1])
    defaults = panel["fieldConfig"]["defaults"]
    return f'<div class="stat" style="color:{colour(value, defaults["thresholds"]["steps"])}">{human(value, defaults["unit"])}</div>'


def graph(panel, options):
    end = time.time()
    start = end - 60 * options.minutes
    lines = []
    for target in panel["targets"]:
        found = ask(options.prometheus, "query_range", query=fill(target["expr"], options), start=start, end=end,
                    step=max(1, (end - start) / 150))
        for series in found:
            points = [(float(t), float(v)) for t, v in series["values"] if v not in ("NaN", "+Inf", "-Inf")]
            lines.append((legend(target, series["metric"]), points))
    lines = [line for line in lines if line[1]]
    if not lines:
        return '<div class="stat none">no data</div>'
    lines.sort(key=lambda line: -max(v for _, v in line[1]))
    top = max(max(v for _, v in points) for _, points in lines) or 1
    unit = panel["fieldConfig"]["defaults"]["unit"]
    svg, names = [], []
    for i, (name, points) in enumerate(lines):
        path = " ".join(f"{WIDTH * (t - start) / (end - start):.1f},{HEIGHT - 2 - (HEIGHT - 16) * max(v, 0) / top:.1f}" for t, v in points)
        svg.append(f'<polyline fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.3" points="{path}"/>')
        if i < LINES:
            names.append(f'<i style="color:{COLOURS[i % len(COLOURS)]}">{html.escape(name)} {human(points[-1][1], unit)}</i>')
    more = f" and {len(lines) - LINES} more" if len(lines) > LINES else ""
    return (f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(svg)}<text x="2" y="10">{human(top, unit)}</text></svg>'
            f'<div class="legend">{" ".join(names)}{more}</div>')


def page(dashboard, options):
    out = ["""<!doctype html><meta charset="utf-8"><title>letterbox</title><style>
body{background:#111217;color:#ccccdc;font:11px sans-serif;margin:10px;width:1280px}h2{font-size:14px;margin:10px 0 4px}
.row{display:flex;flex-wrap:wrap;gap:6px}.panel{background:#181b1f;border:1px solid #2c2f36;padding:4px 5px;width:302px;box-sizing:content-box}
.small{width:125px}.stat{font-size:21px;padding:6px 0}.none{color:#6e7078;font-size:14px}.legend i{font-style:normal;margin-right:7px}
.legend{height:26px;overflow:hidden;font-size:10px}text{fill:#8e8e99;font-size:9px}b{font-weight:600}</style><h1>letterbox</h1>"""]
    is_open = False
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            out.append(("</div>" if is_open else "") + f'<h2>{html.escape(panel["title"])}</h2><div class="row">')
            is_open = True
            continue
        small = panel["type"] == "stat"
        drawn = stat(panel, options) if small else graph(panel, options)
        out.append(f'<div class="panel{" small" if small else ""}" title="{html.escape(panel["description"])}">'
                   f'<b>{html.escape(panel["title"])}</b>{drawn}</div>')
    return "\n".join(out) + "</div>\n" + MEASURE


# Writes into the page how high it is: a picture has to be told before it is taken.
MEASURE = "<script>document.body.dataset.height=Math.ceil(document.body.getBoundingClientRect().bottom)+10</script>\n"


def chromium(source, height, *more):
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                               "--disable-background-networking", "--disable-component-update", "--disable-sync",
                               f"--user-data-dir={profile}", "--hide-scrollbars", f"--window-size=1300,{height}",
                               "--force-device-scale-factor=0.75", *more, source.as_uri()],
                              check=True, timeout=120, stdout=subprocess.PIPE, text=True).stdout


def picture(source, target):
    height = re.search(r'data-height="(\d+)"', chromium(source, 1000, "--dump-dom"))
    chromium(source, height[1], f"--screenshot={target}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://localhost:9090")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate-interval", default="1m")
    parser.add_argument("--png", type=pathlib.Path)
    parser.add_argument("page", type=pathlib.Path)
    options = parser.parse_args()
    dashboard = json.loads((pathlib.Path(__file__).parent / "dashboard.json").read_text())
    options.page.write_text(page(dashboard, options))
    if options.png:
        picture(options.page.resolve(), options.png.resolve())


if __name__ == "__main__":
    main()
