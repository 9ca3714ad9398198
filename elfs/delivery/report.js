"use strict";
// Looks around in the images of a selection. All data stands in the element "data"; nothing is fetched.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const KINDS = ["kept", "hard", "easy", "rest", "broken"];
  const WORDS = ["selected", "left out: too hard", "left out: too easy", "not selected", "unreadable"];
  const BROKEN = 4;
  const PAGE = 60;
  const el = (id) => document.getElementById(id);
  const broken = data.broken.map(([id, problem]) => ({ id, problem, kind: BROKEN, scores: [], ranks: [] }));
  const items = [...data.items, ...broken].map((item, number) => ({ ...item, number, score: item.scores[0] ?? null }));
  data.groups.forEach((group, name) => group.items.forEach((number) => { items[number].group = name; }));
  const cloud = (data.points.at || []).map((at, i) => ({
    at, kind: data.points.kind[i], cluster: data.points.cluster?.[i], score: data.points.score?.[i] ?? null,
  }));
  const hasMap = items.some((item) => item.at);
  const state = { kind: "0", cluster: "", text: "", sort: "rank", colour: "kind", shown: PAGE, lasso: null, bar: null };
  let found = [];
  let open = -1;

  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const number = (value) => (value === null || value === undefined ? "-" : value.toLocaleString("en", { maximumSignificantDigits: 4 }));
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // --- which images are meant -------------------------------------------------------------------------------------
  const scores = [...items, ...cloud].map((item) => item.score).filter((score) => score !== null);
  const [low, high] = scores.length ? bounds(scores) : [0, 1];
  function bounds(values) { return values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]); }
  const BARS = 40;
  const barOf = (score) => (score === null ? -1 : Math.min(BARS - 1, Math.floor(((score - low) / (high - low || 1)) * BARS)));

  function inside(point, polygon) {
    let odd = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
      if (yi > point[1] !== yj > point[1] && point[0] < ((xj - xi) * (point[1] - yi)) / (yj - yi) + xi) odd = !odd;
    }
    return odd;
  }
  const meant = (item) =>
    (state.cluster === "" || String(item.cluster) === state.cluster) &&
    (state.lasso === null || (item.at && inside(item.at, state.lasso))) &&
    (state.bar === null || barOf(item.score) === state.bar);
  const wanted = (item) =>
    meant(item) &&
    (state.kind === "" ? item.kind !== BROKEN
      : state.kind === "copy" ? item.copy
      : state.kind === "near" ? item.group !== undefined
      : String(item.kind) === state.kind) &&
    (state.text === "" || item.id.toLowerCase().includes(state.text));

  function sorted(list) {
    if (state.sort === "rank") return list.sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.number - b.number);
    if (state.sort === "id") return list.sort((a, b) => (a.id < b.id ? -1 : 1));
    const [key, direction] = state.sort.split("/");
    const sign = direction === "easy" ? -1 : 1;
    return list.sort((a, b) => sign * ((a.ranks[key] ?? 0) - (b.ranks[key] ?? 0)) || a.number - b.number);
  }

  const called = (cluster) => data.names[cluster] ?? `cluster ${cluster}`;

  // --- the sheet --------------------------------------------------------------------------------------------------
  function picture(item) {
    const frame = make("div", { className: "frame" });
    if (item.picture) frame.append(make("img", { src: item.picture, alt: item.id, className: item.tiny ? "tiny" : "" }));
    else frame.append(item.problem || "no image");
    return frame;
  }
  function tile(item) {
    const caption = make("div", { className: "caption" });
    if (item.cluster !== undefined) caption.append(make("span", { textContent: called(item.cluster) }));
    if (item.score !== null) caption.append(make("span", { textContent: number(item.score) }));
    const name = make("div", { className: "id" }, make("bdi", { textContent: item.id }));
    const button = make("button", { type: "button", className: `tile ${KINDS[item.kind]}` }, picture(item), caption, name);
    button.dataset.item = item.number;
    button.setAttribute("aria-label", `${item.id}, ${WORDS[item.kind]}`);
    button.addEventListener("click", () => show(item.number));
    return button;
  }
  function elsewhere(image) {
    const name = make("div", { className: "id" }, make("bdi", { textContent: image.id }));
    const caption = make("div", { className: "caption" }, make("span", { textContent: "not sampled" }));
    return make("div", { className: "tile elsewhere" }, picture(image), caption, name);
  }
  function update() {
    found = sorted(items.filter(wanted));
    el("grid").replaceChildren(...found.slice(0, state.shown).map(tile));
    el("more").hidden = found.length <= state.shown;
    const shown = Math.min(state.shown, found.length);
    const sampled = data.items.length < data.total && state.kind !== String(BROKEN) ? `, of ${data.items.length.toLocaleString("en")} sampled out of ${data.total.toLocaleString("en")}` : "";
    el("count").textContent = `${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")} images${sampled}`;
    el("clear").hidden = state.lasso === null && state.bar === null;
    draw();
  }

  // --- one image, large -------------------------------------------------------------------------------------------
  const SVG = "http://www.w3.org/2000/svg";
  function curve(values) {
    const real = values.filter((value) => value !== null);
    if (real.length < 2) return "";
    const [least, most] = [Math.min(0, ...real), Math.max(0, ...real)];
    const x = (i) => 4 + (i * 292) / (values.length - 1);
    const y = (value) => 84 - ((value - least) * 76) / (most - least || 1);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 300 92");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Margin by epoch, from ${number(real[0])} to ${number(real.at(-1))}`);
    for (const [tag, facts] of [
      ["line", { x1: 4, x2: 296, y1: y(0), y2: y(0), class: "zero" }],
      ["polyline", { points: values.map((v, i) => (v === null ? "" : `${x(i)},${y(v)}`)).join(" "), class: "curve" }],
    ]) {
      const node = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(facts)) node.setAttribute(name, value);
      svg.append(node);
    }
    return svg;
  }
  function show(which) {
    open = which;
    const item = items[which];
    const facts = [["status", WORDS[item.kind]]];
    if (item.rank !== undefined) facts.push(["picked as", `number ${item.rank.toLocaleString("en")}: ${item.why}`]);
    if (item.cluster !== undefined) {
      const sure = item.confidence === undefined || item.confidence === null ? "" : `, confidence ${number(item.confidence)}`;
      facts.push(["pseudo-label", `${called(item.cluster)}${sure}`]);
    }
    if (item.copy) facts.push(["copies", "another image has the same pixels"]);
    if (item.group !== undefined) facts.push(["near copies", `one of ${data.groups[item.group].images.toLocaleString("en")}`]);
    if (item.kind === BROKEN) facts.push(["reason", item.problem]);
    const list = make("dl");
    for (const [name, value] of facts) list.append(make("dt", { textContent: name }), make("dd", { textContent: value }));
    const beside = make("div", {}, list);
    if (item.curve?.length > 1) {
      beside.append(make("h4", { textContent: "Margin while the proxy learned" }), make("div", { className: "margin" }, curve(item.curve)),
        make("p", { className: "about", textContent: "Above the line the network agrees with the pseudo-label." }));
    }
    const body = [make("h3", { id: "view-title", textContent: item.id }), make("div", { className: "large" }, picture(item), beside)];
    if (item.near?.length) {
      const inside = (other) => typeof other === "number" && other >= 0;
      const near = item.near.map((other) => (inside(other) ? tile(items[other])
        : elsewhere(typeof other === "number" ? data.outside[-1 - other] : { id: other, problem: "no picture here" })));
      body.push(make("h4", { textContent: "Nearest neighbours" }), make("div", { className: "sheet" }, ...near));
      if (!item.near.every(inside)) body.push(make("p", { className: "about", textContent: "Not sampled: this page holds only some images of the pool, and of this one no more than is shown here." }));
    }
    if (item.ranks.length) {
      const rows = data.keys.map((key, i) =>
        make("tr", {}, make("th", { scope: "row", textContent: key }), make("td", { textContent: number(item.scores[i]) }),
          make("td", { textContent: item.ranks[i].toLocaleString("en") })));
      const head = make("tr", {}, ...["score", "value", `rank of ${data.total.toLocaleString("en")}, 1 hardest`].map((text) => make("th", { scope: "col", textContent: text })));
      body.push(make("h4", { textContent: "Scores" }), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
    }
    el("view-body").replaceChildren(...body);
    if (!el("view").open) el("view").showModal();
    el("view").scrollTop = 0;
    draw();
  }
  function step(by) {
    const place = found.findIndex((item) => item.number === open);
    const next = found[place < 0 ? 0 : place + by];
    if (next) show(next.number);
  }

  // --- clusters and groups of near copies -------------------------------------------------------------------------
  const CARDS = 12;
  let cards = CARDS;
  const sheet = (name, numbers) => make("div", { className: name }, ...numbers.map((which) => tile(items[which])));
  function clusterCard(facts) {
    const go = make("button", { type: "button", className: "button", textContent: "Show its images" });
    go.setAttribute("aria-label", `Show the images of ${called(facts.cluster)}`);
    go.addEventListener("click", () => {
      for (const [name, value] of [["kind", ""], ["cluster", String(facts.cluster)]]) state[name] = el(name).value = value;
      state.shown = PAGE;
      update();
      el("explore").scrollIntoView();
    });
    const part = (share, name) => {
      const bar = make("i", { className: name });
      bar.style.width = `${100 * share}%`;
      return bar;
    };
    const most = Math.max(...data.clusters.flatMap((each) => [each.images / data.total, each.selected / data.selected]));
    const [pool, picked] = [facts.images / data.total, facts.selected / data.selected];
    const percent = (share) => `${(100 * share).toFixed(1)}%`;
    const card = make("div", { className: "card" }, make("h3", { textContent: called(facts.cluster) }),
      make("div", { className: "share" },
        make("span", { textContent: `pool ${percent(pool)}` }), part(pool / most, ""),
        make("span", { textContent: `picks ${percent(picked)}` }), part(picked / most, "picked")));
    card.querySelector("h3").append(go);
    const list = make("dl");
    const said = [["images", facts.images.toLocaleString("en")], ["selected", facts.selected.toLocaleString("en")],
      ...facts.means.map(([name, value]) => [name, number(value)])];
    for (const [name, value] of said) list.append(make("dt", { textContent: name }), make("dd", { textContent: value }));
    card.append(list);
    if (facts.typical.length) card.append(make("h4", { textContent: "Most typical" }), sheet("sheet", facts.typical));
    if (facts.odd.length) card.append(make("h4", { textContent: "Least typical" }), sheet("sheet", facts.odd));
    return card;
  }
  function groupCard(group) {
    const text = `${group.images.toLocaleString("en")} images, ${group.selected.toLocaleString("en")} selected`;
    return make("div", { className: "card" }, make("h3", { textContent: text }), sheet("sheet group", group.items));
  }
  function showClusters() {
    el("clusters-cards").replaceChildren(...data.clusters.slice(0, cards).map(clusterCard));
    el("clusters-more").hidden = data.clusters.length <= cards;
  }
  el("clusters").hidden = data.clusters.length === 0;
  el("clusters-count").textContent = data.clusters.length.toLocaleString("en");
  el("clusters-more").addEventListener("click", () => { cards += CARDS; showClusters(); });
  el("groups").hidden = data.groups.length === 0;
  el("groups-count").textContent = data.grouped.toLocaleString("en") + (data.groups.length < data.grouped ? `, the largest ${data.groups.length} shown` : "");

  // --- the map and the bars ---------------------------------------------------------------------------------------
  const map = el("map");
  const bars = el("bars");
  function fit(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = canvas.getBoundingClientRect();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return [context, width, height];
  }
  const EDGE = 12;
  function colourOf(item) {
    if (state.colour === "cluster") return item.cluster === undefined ? css("--easy") : `hsl(${(item.cluster * 137.5) % 360} 60% 52%)`;
    if (state.colour === "score") return item.score === null ? css("--easy") : `hsl(${20 + 190 * ((item.score - low) / (high - low || 1))} 70% 50%)`;
    return css(["--kept", "--hard", "--easy", "--easy"][item.kind]);
  }
  function draw() {
    if (hasMap) {
      const [context, width, height] = fit(map);
      const place = ([x, y]) => [EDGE + x * (width - 2 * EDGE), EDGE + y * (height - 2 * EDGE)];
      const narrowed = state.lasso !== null || state.bar !== null || state.cluster !== "";
      const dot = (item, size) => {
        const [x, y] = place(item.at);
        context.globalAlpha = narrowed && !meant(item) ? 0.12 : size > 2 ? 0.95 : 0.5;
        context.fillStyle = colourOf(item);
        context.beginPath();
        context.arc(x, y, size, 0, 7);
        context.fill();
      };
      cloud.forEach((item) => dot(item, 1.6));
      items.filter((item) => item.at && item.kind !== 0).forEach((item) => dot(item, 2));
      items.filter((item) => item.at && item.kind === 0).forEach((item) => dot(item, 3.2));
      context.globalAlpha = 1;
      const current = open >= 0 && el("view").open ? items[open] : null;
      if (current?.at) {
        context.strokeStyle = css("--ink");
        context.lineWidth = 2;
        context.beginPath();
        context.arc(...place(current.at), 8, 0, 7);
        context.stroke();
      }
      if (state.lasso) {
        context.strokeStyle = css("--ink");
        context.setLineDash([5, 4]);
        context.beginPath();
        state.lasso.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...place(point)));
        context.closePath();
        context.stroke();
      }
    }
    if (scores.length) {
      const [context, width, height] = fit(bars);
      const counts = Array.from({ length: BARS }, () => [0, 0]);
      for (const item of [...items, ...cloud]) if (item.score !== null) counts[barOf(item.score)][item.kind === 0 ? 0 : 1] += 1;
      const most = Math.max(...counts.map(([a, b]) => a + b));
      const tall = (count) => height * Math.sqrt(count / most);
      counts.forEach(([kept, left], i) => {
        const [x, w] = [(i * width) / BARS, width / BARS - 1];
        context.globalAlpha = state.bar === null || state.bar === i ? 1 : 0.25;
        context.fillStyle = css("--easy");
        context.fillRect(x, height - tall(kept + left), w, tall(kept + left));
        context.fillStyle = css("--kept");
        context.fillRect(x, height - tall(kept), w, tall(kept));
      });
    }
  }
  function pointOf(event) {
    const box = map.getBoundingClientRect();
    return [(event.clientX - box.left - EDGE) / (box.width - 2 * EDGE), (event.clientY - box.top - EDGE) / (box.height - 2 * EDGE)];
  }
  let drawn = null;
  map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); drawn = [pointOf(event)]; });
  map.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    drawn.push(pointOf(event));
    state.lasso = drawn;
    draw();
  });
  map.addEventListener("pointerup", (event) => {
    const [first, last] = [drawn?.[0], pointOf(event)];
    const path = drawn;
    drawn = null;
    const isTap = !path || path.length < 4 || Math.max(...path.map(([x, y]) => Math.hypot(x - first[0], y - first[1]))) < 0.015;
    if (!isTap) { state.lasso = path; state.shown = PAGE; update(); return; }
    state.lasso = null;
    const near = items.filter((item) => item.at).map((item) => [Math.hypot(item.at[0] - last[0], item.at[1] - last[1]), item.number]);
    const [distance, which] = near.reduce((a, b) => (b[0] < a[0] ? b : a), [Infinity, -1]);
    update();
    if (distance < 0.03) show(which);
  });
  function light(bar) {
    state.bar = bar === null ? null : Math.max(0, Math.min(BARS - 1, bar));
    state.shown = PAGE;
    update();
    describe();
  }
  function describe() {
    const [from, to] = [state.bar, (state.bar ?? 0) + 1].map((edge) => number(low + ((edge ?? 0) * (high - low)) / BARS));
    const said = { valuemin: 0, valuemax: BARS - 1, valuenow: state.bar ?? 0, valuetext: state.bar === null ? "no bar" : `${from} to ${to}` };
    for (const [name, value] of Object.entries(said)) bars.setAttribute(`aria-${name}`, value);
  }
  bars.addEventListener("click", (event) => {
    const box = bars.getBoundingClientRect();
    const bar = Math.min(BARS - 1, Math.floor(((event.clientX - box.left) / box.width) * BARS));
    light(state.bar === bar ? null : bar);
  });
  bars.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") light(state.bar === null ? 0 : state.bar + 1);
    else if (event.key === "ArrowLeft") light(state.bar === null ? BARS - 1 : state.bar - 1);
    else if (event.key === "Escape") light(null);
    else return;
    event.preventDefault();
  });

  // --- controls ---------------------------------------------------------------------------------------------------
  const option = (value, text) => make("option", { value, textContent: text });
  const kinds = [...new Set(items.map((item) => item.kind))].sort();
  el("kind").append(...kinds.map((kind) => option(String(kind), WORDS[kind])));
  if (items.some((item) => item.copy)) el("kind").append(option("copy", "copies of others"));
  if (data.groups.length) el("kind").append(option("near", "near copies"));
  el("kind").append(option("", broken.length ? "all that can be read" : "all"));
  const clusters = [...new Set(items.map((item) => item.cluster).filter((cluster) => cluster !== undefined))].sort((a, b) => a - b);
  el("cluster").append(option("", "all"), ...clusters.map((cluster) => option(String(cluster), data.names[cluster] ?? String(cluster))));
  if (data.names.length) el("cluster").parentElement.firstChild.textContent = "Class ";
  el("cluster").parentElement.hidden = clusters.length === 0;
  el("sort").append(option("rank", "rank"), option("id", "name"),
    ...data.keys.flatMap((key, i) => [option(`${i}/hard`, `${key}, hardest first`), option(`${i}/easy`, `${key}, easiest first`)]));
  if (clusters.length) el("colour").append(option("cluster", data.names.length ? "class" : "cluster"));
  if (scores.length) el("colour").append(option("score", data.keys[0]));
  el("bars-range").textContent = `from ${number(low)} to ${number(high)}`;
  el("map-part").hidden = el("colour-part").hidden = !hasMap;
  el("bars-part").hidden = scores.length === 0;
  for (const name of ["kind", "cluster", "sort"]) {
    el(name).addEventListener("change", () => { state[name] = el(name).value; state.shown = PAGE; update(); });
  }
  el("colour").addEventListener("change", () => { state.colour = el("colour").value; draw(); });
  el("text").addEventListener("input", () => { state.text = el("text").value.toLowerCase(); state.shown = PAGE; update(); });
  el("more").addEventListener("click", () => { state.shown += PAGE; update(); });
  el("clear").addEventListener("click", () => { state.lasso = null; light(null); });
  el("previous").addEventListener("click", () => step(-1));
  el("next").addEventListener("click", () => step(1));
  el("close").addEventListener("click", () => el("view").close());
  el("view").addEventListener("close", () => {
    draw();
    document.querySelector(`#grid [data-item="${open}"]`)?.focus();
  });
  el("view").addEventListener("click", (event) => { if (event.target === el("view")) el("view").close(); });
  document.addEventListener("keydown", (event) => {
    if (!el("view").open) return;
    if (event.key === "ArrowLeft") { event.preventDefault(); step(-1); }
    if (event.key === "ArrowRight") { event.preventDefault(); step(1); }
  });
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.classList.add("live");
  el("explore").hidden = false;
  showClusters();
  el("groups-cards").replaceChildren(...data.groups.map(groupCard));
  light(null);
})();
