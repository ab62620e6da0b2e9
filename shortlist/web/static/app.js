// The page. Everything that is shown is set as text, never as HTML: passages may contain any.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

const state = (name) => (document.body.dataset.state = name);

let info = null;
let asking = null; // what ends the question that is under way

const defaults = { top_k: 5, depth: 30 };

// --- the address holds the question and the options

function fromAddress() {
  const given = new URLSearchParams(location.search);
  $("q").value = given.get("q") || "";
  $("top_k").value = given.get("top_k") || defaults.top_k;
  $("depth").value = given.get("depth") || defaults.depth;
  $("where").value = given.get("where") || "";
  $("rerank").checked = given.get("rerank") !== "false";
  $("group").checked = given.get("group_by") === "document";
  $("fold").checked = given.get("fold_duplicates") === "true";
  const changed = [...given.keys()].some((key) => key !== "q");
  if (changed) $("more").open = true;
}

function asked() {
  const wanted = new URLSearchParams({ q: $("q").value.trim() });
  if (+$("top_k").value !== defaults.top_k && $("top_k").value) wanted.set("top_k", $("top_k").value);
  if (+$("depth").value !== defaults.depth && $("depth").value) wanted.set("depth", $("depth").value);
  if (!$("rerank").checked) wanted.set("rerank", "false");
  if ($("group").checked) wanted.set("group_by", "document");
  if ($("fold").checked) wanted.set("fold_duplicates", "true");
  if ($("where").value.trim()) wanted.set("where", $("where").value.trim());
  return wanted;
}

// --- asking

async function ask(keepAddress) {
  const wanted = asked();
  if (asking) asking.abort();
  if (!wanted.get("q")) return showEmpty();
  if (!keepAddress) history.pushState(null, "", "/?" + wanted);
  document.title = wanted.get("q") + " – shortlist";
  const mine = (asking = new AbortController());
  $("empty").hidden = $("problem").hidden = $("unsure").hidden = true;
  $("status").textContent = "Searching …";
  state("searching");
  $("hits").classList.add("pending");
  const began = performance.now();
  try {
    const response = await fetch("/api/stream?" + wanted, { headers: headers(), signal: mine.signal });
    if (!response.ok) return problem(await said(response), response.status);
    for await (const [event, data] of events(response.body)) {
      if (event === "problem") return problem(data.error);
      show(data, performance.now() - began);
      if (data.final) return undefined;
    }
    problem("The server ended before the answer was there. Ask again.");
  } catch (error) {
    if (error.name !== "AbortError") {
      problem("The server does not answer. Is it still running? Start shortlist serve, and ask again.");
    }
  }
}

function headers() {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: "Bearer " + token } : {};
}

async function said(response) {
  try {
    const { error } = await response.json();
    return response.status === 503
      ? `Many are asking at the moment. Ask again in ${response.headers.get("retry-after") || 1} s.`
      : error;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      if (field("data")) yield [field("event"), JSON.parse(field("data"))];
    }
  }
}

// --- showing

function problem(message, status) {
  $("status").textContent = "";
  $("unsure").hidden = true;
  $("hits").replaceChildren();
  $("hits").classList.remove("pending");
  $("problem").textContent = message;
  $("problem").hidden = false;
  state("problem");
  if (status === 401) {
    $("token-row").hidden = false;
    $("token").focus();
  }
}

function showEmpty() {
  document.title = "shortlist";
  $("hits").replaceChildren();
  $("status").textContent = "";
  $("problem").hidden = $("unsure").hidden = true;
  $("empty").hidden = false;
  state("empty");
}

function show(answer, waited) {
  const { hits, ms } = answer;
  $("hits").classList.toggle("pending", !answer.final);
  const focused = [...$("hits").children].indexOf(document.activeElement);
  const best = Math.max(...hits.map((hit) => hit.score));
  const least = Math.min(...hits.map((hit) => hit.score), 0);
  $("hits").replaceChildren(...hits.map((hit) => item(hit, answer, best, least)));
  $("unsure").hidden = !(answer.answered === false && hits.length);
  if (!$("unsure").hidden) {
    const probable = Math.round(hits[0].relevance * 100);
    $("unsure").textContent = `No good answer found. The first passage answers with a probability of ${probable} %.`;
  }
  if (focused >= 0) $("hits").children[focused]?.focus();
  const stages = ["wait", "encode", "retrieve", "rerank"]
    .filter((stage) => ms[stage] >= 1 || (stage !== "wait" && stage in ms))
    .map((stage) => `${stage} ${Math.round(ms[stage])} ms`);
  const count = hits.length === 1 ? "1 passage" : `${hits.length} passages`;
  $("status").textContent = !hits.length
    ? nothing(answer)
    : answer.final
      ? `${count} in ${Math.round(waited)} ms (${stages.join(", ")})`
      : `${count} after the first stage; rescoring …`;
  if (answer.final && !answer.reranked && info?.cross_encoder && $("rerank").checked && hits.length) {
    $("status").textContent += ". There was no time for the second stage.";
  }
  state(answer.final ? "done" : "first");
}

function nothing(answer) {
  return answer.q && $("where").value.trim()
    ? "No passage meets the filter. Make it wider, or leave it out."
    : "Nothing was found. The index may be empty.";
}

function item(hit, answer, best, least) {
  const entry = make("li");
  entry.tabIndex = -1;
  entry.dataset.id = hit.id;
  if (hit.rank === 1 && answer.reranked && answer.answered !== false) entry.className = "answer";
  const place = make("div", "place");
  place.append(make("span", "number", `${hit.rank}.`), heading(hit));
  if (answer.reranked) place.append(lift(hit));
  entry.append(place);
  if (hit.section) entry.append(make("div", "section", hit.section));
  entry.append(text(hit));
  if (hit.cut_tokens) {
    entry.append(make("p", "quiet", `${hit.cut_tokens} tokens at its end were not read by the cross-encoder.`));
  }
  if (hit.folded.length) entry.append(make("p", "quiet", "Also: " + hit.folded.join(", ")));
  entry.append(scores(hit, best, least));
  return entry;
}

function heading(hit) {
  const title = make("h2");
  const name = hit.title || hit.document_id || hit.id;
  const link = address(hit);
  if (link) {
    const anchor = make("a", "", name);
    anchor.href = link;
    anchor.rel = "noopener noreferrer";
    title.append(anchor);
  } else {
    title.textContent = name;
  }
  return title;
}

function address(hit) {
  for (const key of ["url", "link", "source_url"]) {
    try {
      const found = new URL(hit.metadata[key]);
      if (["http:", "https:"].includes(found.protocol)) return found.href;
    } catch {
      // not an address
    }
  }
  return null;
}

function lift(hit) {
  const moved = hit.retrieval_rank - hit.rank;
  const words = moved ? `${hit.retrieval_rank} → ${hit.rank}` : `stays ${hit.rank}`;
  const sign = make("span", moved > 0 ? "lift up" : "lift", words);
  sign.title = `The first stage had it at ${hit.retrieval_rank}, both together at ${hit.rank}`;
  return sign;
}

function text(hit) {
  const shown = make("p", "text");
  // positions are counted in characters, not in JavaScript's halves of them
  const characters = Array.from(hit.text);
  const part = (start, end) => characters.slice(start, end).join("");
  const [first, last] = hit.window || [0, characters.length];
  if (first > 0) shown.append("… ");
  if (hit.highlight) {
    const [start, end] = hit.highlight;
    shown.append(part(first, start), make("mark", "", part(start, end)), part(end, last));
  } else {
    shown.append(part(first, last));
  }
  if (last < characters.length) shown.append(" …");
  return shown;
}

function scores(hit, best, least) {
  const line = make("div", "scores");
  const certain = hit.relevance !== null;
  const bar = make("meter");
  const bounded = certain || hit.score_kind === "cosine";
  bar.min = bounded ? 0 : least;
  bar.max = bounded ? 1 : Math.max(best, least + 1e-9);
  bar.value = certain ? hit.relevance : hit.score;
  const scale = certain ? "relevance" : hit.score_kind;
  const value = certain ? `${Math.round(hit.relevance * 100)} %` : hit.score.toFixed(3);
  bar.setAttribute("aria-label", `${scale} ${value}`);
  line.append(bar, make("span", "", `${scale} ${value}`));
  if (hit.rerank_score !== null) {
    line.append(make("span", "", `first stage ${hit.retrieval_score.toFixed(3)}`));
  }
  line.append(make("span", "", hit.id));
  return line;
}

// --- the keyboard

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("q").select();
    return;
  }
  if (typing && event.target.id !== "q") return;
  const entries = [...$("hits").children];
  const place = entries.indexOf(document.activeElement);
  if (event.key === "ArrowDown" && place + 1 < entries.length) {
    event.preventDefault();
    entries[place + 1].focus();
  } else if (event.key === "ArrowUp" && place >= 0) {
    event.preventDefault();
    (place ? entries[place - 1] : $("q")).focus();
  } else if (event.key === "Enter" && place >= 0) {
    entries[place].querySelector("h2 a")?.click();
  }
});

// --- the beginning

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("token").value) sessionStorage.setItem("token", $("token").value);
  ask(false);
});
$("home").addEventListener("click", (event) => {
  event.preventDefault();
  history.pushState(null, "", "/");
  fromAddress();
  ask(true);
});
for (const id of ["top_k", "depth", "rerank", "group", "fold"]) {
  $(id).addEventListener("change", () => $("q").value.trim() && ask(false));
}
window.addEventListener("popstate", () => {
  fromAddress();
  ask(true);
});

async function begin() {
  fromAddress(); // at once: whoever types before the server has answered must not lose it
  $("q").focus();
  if ($("q").value) ask(true);
  else showEmpty();
  try {
    const response = await fetch("/api/info", { headers: headers() });
    if (response.ok) info = await response.json();
    else if (response.status === 401) $("token-row").hidden = false;
  } catch {
    // the question below says it
  }
  if (info) introduce();
}

function introduce() {
  $("name").textContent = `${info.name}, ${info.passages.toLocaleString("en")} passages`;
  const word = info.symmetric ? "text" : "question";
  $("q").placeholder = info.symmetric ? "A text; what says the same is found" : "Ask a question";
  $("q-label").textContent = info.symmetric ? "Text" : "Question";
  $("empty-title").textContent = info.symmetric ? "Find similar texts" : "Ask a question";
  $("empty-text").textContent = info.samples.length
    ? `Type a ${word}, or try one of these:`
    : `Type a ${word} and press Enter.`;
  $("samples").replaceChildren(
    ...info.samples.map((sample) => {
      const entry = make("li");
      const link = make("a", "", sample);
      link.href = "/?" + new URLSearchParams({ q: sample });
      link.addEventListener("click", (event) => {
        event.preventDefault();
        $("q").value = sample;
        ask(false);
      });
      entry.append(link);
      return entry;
    }),
  );
  if (!info.cross_encoder) $("depth-label").hidden = $("rerank-label").hidden = true;
  $("fields").textContent = info.fields.length
    ? "Fields: id, title, section, " + info.fields.join(", ")
    : "Fields: id, title, section";
  $("engine").textContent =
    `First stage: ${info.bi_encoder}, ${info.engine}. ` +
    (info.cross_encoder ? `Second stage: ${info.cross_encoder}.` : "No second stage.");
  for (const id of ["top_k", "depth"]) $(id).max = info.limits[id];
}

begin();
