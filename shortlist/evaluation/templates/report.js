"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const byId = (id) => document.getElementById(id);

  /** An element; children are nodes or texts, and a text is never read as HTML. */
  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  const isNumber = (value) => typeof value === "number";
  const figure = (value, digits = 4) =>
    isNumber(value) ? value.toFixed(digits).replace("-", "−") : "–";
  const signed = (value, digits = 2) => (value > 0 ? "+" : "") + figure(value, digits);
  const milliseconds = (value) =>
    isNumber(value) ? value.toLocaleString("en", { maximumSignificantDigits: 3 }) : "–";

  // plotly reads a little HTML in its texts: names from the study are shown as they are
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // tables

  function cellValue(row, column) {
    const value = row.cells[column].dataset.value ?? "";
    return value === "" || value === "None" ? null : isNaN(value) ? value : Number(value);
  }

  function compareCells(a, b) {
    if (a === null || b === null) return 0;
    if (isNumber(a) && isNumber(b)) return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortBy(heading) {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    // numbers begin with the greatest, names with A; choosing the heading again turns it round
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    for (const th of table.tHead.rows[0].cells) {
      if (th.hasAttribute("aria-sort")) th.setAttribute("aria-sort", "none");
    }
    heading.setAttribute("aria-sort", order);
    const rows = [...table.tBodies[0].rows];
    const known = rows.filter((row) => cellValue(row, column) !== null);
    const sign = order === "ascending" ? 1 : -1;
    known.sort((a, b) => sign * compareCells(cellValue(a, column), cellValue(b, column)));
    const unknown = rows.filter((row) => cellValue(row, column) === null);
    table.tBodies[0].append(...known, ...unknown);
  }

  for (const button of document.querySelectorAll(".sortable thead button")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }

  // the command

  async function copy(button) {
    const source = byId(button.dataset.copy);
    const status = button.parentNode.querySelector("[role=status]");
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // some browsers give a file no clipboard: the text is selected, for the user to copy
      getSelection().selectAllChildren(source);
      done = document.execCommand("copy") ? "Copied" : "Selected";
    }
    button.textContent = status.textContent = done;
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button));
  }

  // plots

  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function faded(hex, share) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  }

  const shortened = (name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name);

  const narrow = () => window.innerWidth < 640;

  function axis(title, more) {
    return {
      title: { text: plain(title), standoff: 8 }, gridcolor: colour("rule"), zeroline: false,
      linecolor: colour("soft"), tickcolor: colour("soft"), fixedrange: true, automargin: true, ...more,
    };
  }

  /** Ticks 1, 2, 5, 10 … for what lies between two numbers; only powers of ten for a wide span. */
  function logAxis(title, low, high) {
    const edges = [Math.log10(low) - 0.12, Math.log10(high) + (narrow() ? 0.3 : 0.15)];
    const steps = edges[1] - edges[0] > (narrow() ? 1.6 : 3.6) ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(edges[0]); power <= edges[1]; power++) {
      for (const step of steps) ticks.push(step * 10 ** power);
    }
    const ticktext = ticks.map((value) => milliseconds(value));
    return axis(title, { type: "log", range: edges, tickvals: ticks, ticktext, showgrid: true });
  }

  function layout(more) {
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false,
      margin: { l: 10, r: 14, t: 10, b: 10 },
      hoverlabel: {
        bgcolor: colour("raised"), bordercolor: colour("soft"), font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink") }, align: "left",
      },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
      ...more,
    };
  }

  const settings = { responsive: true, displayModeBar: false };

  function hoverText(system) {
    const lines = [`<b>${plain(system.name)}</b>`];
    for (const [measure, value] of Object.entries(system.mean ?? {})) {
      const ends = system.interval?.[measure];
      const interval = ends ? ` (${figure(ends[0], 3)} to ${figure(ends[1], 3)})` : "";
      lines.push(`${plain(measure)} ${figure(value)}${interval}`);
    }
    lines.push(`${milliseconds(system.ms.p50)} ms, 95 % within ${milliseconds(system.ms.p95)} ms`);
    const stages = ["encode", "retrieve", "rerank"].filter((name) => isNumber(system.ms[name]?.p50));
    const parts = stages.map((name) => `${name} ${milliseconds(system.ms[name].p50)}`);
    if (parts.length) lines.push(parts.join(", "));
    if (isNumber(system.queries_per_second)) {
      lines.push(`${milliseconds(system.queries_per_second)} queries a second`);
    }
    return lines.join("<br>");
  }

  /** Systems of one retriever and cross-encoder, by depth; those not reranked belong to every line. */
  function families(systems) {
    const found = new Map();
    for (const system of systems.filter((s) => s.depth > 0)) {
      const key = JSON.stringify([system.retriever, system.cross_encoder]);
      if (!found.has(key)) {
        const bare = systems.filter((s) => !s.depth && s.retriever === system.retriever);
        found.set(key, bare.slice(0, 1));
      }
      found.get(key).push(system);
    }
    return [...found.values()].map((family) => family.sort((a, b) => a.depth - b.depth));
  }

  function drawPareto(target) {
    const measure = study.primary;
    const systems = study.systems.filter((s) => s.ms?.p50 > 0 && isNumber(s.mean?.[measure]));
    const x = (system) => system.ms.p50;
    const y = (system) => system.mean[measure];
    const retrievers = [...new Set(systems.map((s) => s.retriever))];
    const roomy = !narrow() || systems.length <= 12; // for the depths beside the marks
    const shade = (name) => colour(`series-${(retrievers.indexOf(name) % 8) + 1}`);
    const lines = families(systems).map((family) => ({
      x: family.map(x), y: family.map(y), mode: "lines", hoverinfo: "skip", showlegend: false,
      line: { color: faded(shade(family[0].retriever), 0.35), width: 1.5 },
    }));
    const crossEncoders = [...new Set(systems.map((s) => s.cross_encoder ?? null))].filter(Boolean);
    const shapes = ["circle", "diamond", "square", "triangle-up"];
    const symbol = (s) =>
      s.depth ? shapes[crossEncoders.indexOf(s.cross_encoder) % shapes.length] ?? "circle" : "circle-open";
    const marks = retrievers.map((name) => {
      const own = systems.filter((s) => s.retriever === name);
      const ends = own.map((s) => s.interval?.[measure] ?? [y(s), y(s)]);
      return {
        name: plain(shortened(String(name))), x: own.map(x), y: own.map(y), mode: "markers+text",
        text: own.map((s) => (s.depth && roomy ? String(s.depth) : "")), textposition: "bottom right",
        textfont: { size: 10, color: colour("soft") }, hovertext: own.map(hoverText), hoverinfo: "text",
        marker: { color: shade(name), size: 9, symbol: own.map(symbol), line: { width: 2, color: shade(name) } },
        error_y: {
          type: "data", symmetric: false, color: faded(shade(name), 0.4), thickness: 1, width: 0,
          array: ends.map((end, i) => end[1] - y(own[i])),
          arrayminus: ends.map((end, i) => y(own[i]) - end[0]),
        },
      };
    });
    const frontier = systems.filter((s) => s.pareto).sort((a, b) => x(a) - x(b));
    const front = {
      x: frontier.map(x), y: frontier.map(y), mode: "lines", name: "frontier", hoverinfo: "skip",
      line: { color: colour("ink"), width: 1.5, dash: "dot", shape: "hv" },
    };
    const chosen = systems.find((s) => s.recommended);
    const ring = chosen && {
      x: [x(chosen)], y: [y(chosen)], mode: "markers", hoverinfo: "skip", showlegend: false,
      marker: { symbol: "circle-open", size: 20, color: colour("accent"), line: { width: 2.5 } },
    };
    const times = systems.map(x);
    const timeAxis = logAxis("milliseconds a query (median)", Math.min(...times), Math.max(...times));
    // above and to the left of the frontier there is room, towards the middle there is more
    const [from, to] = timeAxis.range;
    const right = chosen && Math.log10(x(chosen)) > (from + to) / 2;
    const note = chosen && {
      x: Math.log10(x(chosen)), y: y(chosen), text: `<b>${plain(shortened(chosen.name))}</b><br>recommended`,
      font: { color: colour("accent") }, showarrow: true, arrowcolor: colour("accent"), arrowhead: 0,
      standoff: 11, ax: right ? -28 : 28, ay: -34, xanchor: right ? "right" : "left",
      align: right ? "right" : "left", bgcolor: faded(colour("ground"), 0.85),
    };
    const bounds = systems.flatMap((s) => s.interval?.[measure] ?? [y(s)]);
    const [bottom, top] = [Math.min(...bounds), Math.max(...bounds)];
    const height = Math.max(top - bottom, 0.02);
    Plotly.react(
      target,
      [...lines, ...(frontier.length > 1 ? [front] : []), ...marks, ...(ring ? [ring] : [])],
      layout({
        hovermode: "closest",
        xaxis: timeAxis,
        yaxis: axis(measure, { tickformat: ".2f", range: [bottom - 0.05 * height, top + 0.2 * height] }),
        annotations: note ? [note] : [],
      }),
      settings,
    );
  }

  function drawCurve(target) {
    const curve = study.depth_curves[Number(target.dataset.curve)];
    const points = curve.points.filter((p) => p.depth > 0);
    const line = (name, field, style, more = {}) => {
      const own = points.filter((p) => isNumber(p[field]));
      return {
        name, x: own.map((p) => p.depth), y: own.map((p) => p[field]), mode: "lines+markers",
        line: style, marker: { size: 5, color: style.color }, hovertemplate: `${name} %{y:.4f}<extra></extra>`,
        ...more,
      };
    };
    const reached = points.filter((p) => isNumber(p.reached));
    const banded = reached.filter((p) => isNumber(p.low) && isNumber(p.high));
    const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    const depths = banded.map((p) => p.depth);
    const band = [
      { ...edge, x: depths, y: banded.map((p) => p.low) },
      { ...edge, x: depths, y: banded.map((p) => p.high), fill: "tonexty", fillcolor: faded(colour("accent"), 0.16) },
    ];
    const extent = points.map((p) => p.depth);
    const traces = [
      ...(banded.length ? band : []),
      line("recall", "recall", { color: colour("soft"), width: 1.5, dash: "dot" }),
      line("ceiling", "ceiling", { color: colour("ink"), width: 1.5, dash: "dash" }),
      line(`${plain(curve.measure)} reached`, "reached", { color: colour("accent"), width: 2.5 }, {
        customdata: reached.map((p) => (isNumber(p.ms) ? `, ${milliseconds(p.ms)} ms` : "")),
        hovertemplate: "reached %{y:.4f}%{customdata}<extra></extra>",
      }),
    ];
    const knee = isNumber(curve.knee) && curve.knee > 0;
    Plotly.react(
      target,
      traces.filter((trace) => trace.x.length),
      layout({
        hovermode: "x unified",
        xaxis: { ...logAxis("depth", Math.min(...extent), Math.max(...extent)), unifiedhovertitle: { text: "depth %{x}" } },
        yaxis: axis("", { tickformat: ".2f" }),
        shapes: knee
          ? [{ type: "line", x0: curve.knee, x1: curve.knee, yref: "paper", y0: 0, y1: 1, line: { color: colour("accent"), width: 1 } }]
          : [],
        annotations: knee
          ? [{ x: Math.log10(curve.knee), xanchor: "left", yref: "paper", y: 0, yanchor: "bottom", xshift: 4, showarrow: false, text: `knee ${curve.knee}`, font: { color: colour("accent") } }]
          : [],
      }),
      settings,
    );
  }

  function draw() {
    const pareto = byId("pareto-plot");
    if (pareto) drawPareto(pareto);
    for (const target of document.querySelectorAll("[data-curve]")) drawCurve(target);
  }

  function drawFor(mode) {
    if (mode) document.documentElement.dataset.mode = mode;
    else delete document.documentElement.dataset.mode;
    draw();
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("(max-width: 640px)").addEventListener("change", draw);
  addEventListener("beforeprint", () => drawFor("light"));
  addEventListener("afterprint", () => drawFor(null));

  // query by query

  const { systems, measure, passages, queries } = study.inspector;
  const gain = (query) => (query.after ?? 0) - (query.before ?? 0);
  const orders = {
    regressions: (a, b) => gain(a) - gain(b) || (a.after ?? 0) - (b.after ?? 0),
    gains: (a, b) => gain(b) - gain(a) || (a.before ?? 0) - (b.before ?? 0),
    lowest: (a, b) => (a.after ?? 0) - (b.after ?? 0) || gain(a) - gain(b),
  };

  const direction = (change) => (change > 0 ? "up" : change < 0 ? "down" : "");

  function passageTexts(id) {
    const { title, text } = passages[id];
    const heading = title ? element("div", { class: "passage-title", dir: "auto" }, title) : null;
    return [heading, text ? element("p", { class: "passage-text", dir: "auto" }, text) : null];
  }

  function gradeMark(grade) {
    if (!isNumber(grade)) return element("span", {}, "not judged");
    return grade >= 1
      ? element("span", { class: "badge accent" }, `relevant, grade ${grade}`)
      : element("span", { class: "badge" }, `grade ${grade}`);
  }

  /** "8 → 1" for a passage that moved; the words are for those who cannot see the arrow. */
  function moveMark(from, to, missing) {
    const known = isNumber(from) && isNumber(to);
    const text = `${isNumber(from) ? from : missing} → ${isNumber(to) ? to : missing}`;
    if (known && from === to) return element("span", { class: "move" }, "not moved");
    const change = (isNumber(to) ? -to : -Infinity) - (isNumber(from) ? -from : -Infinity);
    return element("span", { class: `move ${direction(change)}` }, text);
  }

  function moreButton(item, redraw) {
    const button = element("button", { type: "button", class: "more", "aria-expanded": "false" }, "more");
    button.addEventListener("click", () => {
      const open = item.classList.toggle("open");
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "less" : "more";
      redraw();
    });
    return button;
  }

  function rankingList(rows, side, moves, redraw) {
    const list = element("ol", { class: "ranking" });
    for (const row of rows) {
      const relevant = isNumber(row.grade) && row.grade >= 1;
      const item = element("li", { class: relevant ? "relevant" : "", "data-passage": row.id });
      const marks = element("div", { class: "marks" }, gradeMark(row.grade), moves(row));
      if (isNumber(row.score)) marks.append(element("span", {}, `score ${figure(row.score, 2)}`));
      if (passages[row.id].text.length > 140) marks.append(moreButton(item, redraw));
      item.append(element("span", { class: "rank" }, String(row.rank)));
      item.append(element("div", {}, ...passageTexts(row.id).filter(Boolean), marks));
      list.append(item);
    }
    if (!rows.length) list.append(element("li", {}, "", "Nothing was retrieved."));
    return element("div", { "data-side": side }, element("h4", {}, systems[side] ?? side), list);
  }

  /** Lines from each passage of the first ranking to itself in the second. */
  function drawLines(stages) {
    const svg = stages.querySelector("svg");
    svg.replaceChildren();
    const frame = stages.getBoundingClientRect();
    const items = (side) => [...stages.querySelectorAll(`[data-side=${side}] [data-passage]`)];
    const after = new Map(items("after").map((item) => [item.dataset.passage, item]));
    for (const from of items("before")) {
      const to = after.get(from.dataset.passage);
      if (!to) continue;
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x0, x1] = [a.right - frame.left + 4, b.left - frame.left - 4];
      const [y0, y1] = [a, b].map((box) => box.top - frame.top + Math.min(22, box.height / 2));
      const middle = (x0 + x1) / 2;
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", `M${x0},${y0} C${middle},${y0} ${middle},${y1} ${x1},${y1}`);
      if (from.classList.contains("relevant")) path.setAttribute("class", "relevant");
      svg.append(path);
    }
  }

  function relevantList(query) {
    const list = element("ol", { class: "ranking" });
    for (const row of query.relevant) {
      const item = element("li", { class: "open relevant" }, element("span", { class: "rank" }, "•"));
      const marks = element("div", { class: "marks" }, gradeMark(row.grade));
      marks.append(moveMark(row.rank_before, row.rank_after, "not retrieved"));
      item.append(element("div", {}, ...passageTexts(row.id).filter(Boolean), marks));
      list.append(item);
    }
    const count = query.relevant.length;
    const summary = count === 1 ? "The relevant passage" : `All ${count} relevant passages`;
    return element("details", { class: "answers" }, element("summary", {}, summary), list);
  }

  function stagesOf(query) {
    const stages = element("div", { class: "stages" });
    const redraw = () => drawLines(stages);
    const known = [...query.ranking_after, ...query.relevant];
    const rankAfter = new Map();
    for (const row of query.relevant) rankAfter.set(row.id, row.rank_after);
    for (const row of query.ranking_after) rankAfter.set(row.id, row.rank);
    const below = `below ${query.ranking_after.length}`;
    const later = (row) =>
      moveMark(row.rank, rankAfter.get(row.id) ?? null, known.length ? below : "not retrieved");
    const earlier = (row) => moveMark(row.rank_before, row.rank, "not retrieved");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    stages.append(
      svg,
      rankingList(query.ranking_before, "before", later, redraw),
      rankingList(query.ranking_after, "after", earlier, redraw),
    );
    new ResizeObserver(redraw).observe(stages);
    return stages;
  }

  function show(query) {
    const change = gain(query);
    const figures = element("p", { class: "quiet story" });
    figures.append(`${measure ?? "score"} ${figure(query.before)} → ${figure(query.after)} `);
    figures.append(element("span", { class: `move ${direction(change)}` }, `(${signed(change, 4)})`));
    const stories = query.stories.map((text) => element("p", { class: "story" }, text));
    const detail = byId("inspect-detail");
    detail.replaceChildren(element("h3", { dir: "auto" }, query.text), figures, ...stories);
    detail.append(stagesOf(query));
    if (query.relevant.length) detail.append(relevantList(query));
  }

  function inspect() {
    const [list, search, order] = ["list", "search", "order"].map((name) => byId(`inspect-${name}`));
    let buttons = [];

    function select(button) {
      for (const other of buttons) {
        const chosen = other === button;
        other.tabIndex = chosen ? 0 : -1;
        other.setAttribute("aria-current", String(chosen));
      }
      show(queries[Number(button.dataset.query)]);
    }

    function rowOf(query) {
      const change = gain(query);
      const delta = element("span", { class: `delta ${direction(change)}` }, signed(change));
      const button = element("button", { type: "button", "data-query": queries.indexOf(query) });
      button.append(delta, element("span", { dir: "auto" }, query.text));
      return button;
    }

    function fill() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const holds = (query) =>
        words.every((word) => `${query.id} ${query.text}`.toLowerCase().includes(word));
      buttons = queries.filter(holds).sort(orders[order.value]).map(rowOf);
      list.replaceChildren(...buttons.map((button) => element("li", {}, button)));
      list.scrollTop = 0;
      const all = queries.length === 1 ? "1 query" : `${queries.length} queries`;
      byId("inspect-count").textContent =
        buttons.length === queries.length ? all : `${buttons.length} of ${all}`;
      if (buttons.length) select(buttons[0]);
      else byId("inspect-detail").replaceChildren();
    }

    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      select(button);
      if (narrow()) byId("inspect-detail").scrollIntoView({ block: "start" });
    });
    list.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(document.activeElement);
      const last = buttons.length - 1;
      const goal = { ArrowDown: Math.min(at + 1, last), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
      if (at < 0 || goal === undefined) return;
      event.preventDefault();
      select(buttons[goal]);
      buttons[goal].focus();
    });
    search.addEventListener("input", fill);
    order.addEventListener("change", fill);
    fill();
  }

  if (byId("inspect")) inspect();
})();
